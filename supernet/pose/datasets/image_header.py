"""Size and orientation of an image from the head of its file, without decoding it: JPEG and PNG.

Sources: ITU-T T.81 (JPEG markers), Exif 2.3 (orientation, tag 0x0112), PNG specification (IHDR).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_ORIENTATION = 0x0112
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame; the rest are tables
_BARE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length


@dataclass(frozen=True)
class ImageHeader:
    """Width and height as stored, and the EXIF orientation: 1 to 8, 0 where there is none."""

    size_wh: tuple[int, int]
    orientation: int


def image_header(data: bytes) -> ImageHeader | None:
    """The header of a JPEG or PNG file; None where it is of another format, or ends before its size."""
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and b"eXIf" not in data:
            return ImageHeader(struct.unpack(">II", data[16:24]), 0)
    except (struct.error, IndexError, ValueError):
        pass
    return None


def _jpeg(data: bytes) -> ImageHeader | None:
    position, orientation = 2, 0
    while True:
        position = data.index(b"\xff", position)  # decoders pass over what stands between two segments
        marker = data[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        if marker in _BARE:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if length < 2 or marker in (0xD9, 0xDA):  # the end, or pixels before any size
            return None
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return ImageHeader((width, height), orientation)
        segment = data[position + 4 : position + 2 + length]
        if marker == 0xE1 and segment[:6] == b"Exif\0\0":
            orientation = _orientation(segment[6:])
        position += 2 + length


def _orientation(tiff: bytes) -> int:
    """The orientation in an EXIF block; 0 where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 0
    try:
        (offset,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, offset)
        for number in range(count):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, offset + 2 + 12 * number)
            if tag == _ORIENTATION:
                return value if 1 <= value <= 8 else 0
    except struct.error:
        pass
    return 0
