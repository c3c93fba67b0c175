"""How large an image may be, seen in the head of its file before anything is decoded.

A few kilobytes can stand for gigabytes of pixels (a PNG of one colour), and an image of 20000 × 1, whose short side is made to
fit a network, becomes thousands of times larger. The limits hold for the process that sets them and for all that it starts.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from dataclasses import astuple, dataclass
from functools import lru_cache

import PIL.Image

from .image_header import image_header

_VARIABLE = "POSE_SUPERNET_IMAGE_LIMITS"  # of the environment, which worker processes have from their parent
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class ImageLimits:
    """What an image may have at most.

    Attributes:
        pixels: width times height; at three bytes each, decoded.
        side: width or height; OpenCV warps no larger ones.
        aspect: the longer side over the shorter one.
    """

    pixels: int = 100_000_000
    side: int = 32_766
    aspect: int = 20

    def use(self) -> None:
        """Make them the limits of this process and of those that it starts from now on."""
        os.environ[_VARIABLE] = ",".join(map(str, astuple(self)))

    def fault(self, size_wh: tuple[int, int]) -> str:
        """What is too large about an image of this width and height, and the key to raise; "" where nothing is."""
        width, height = size_wh
        if min(size_wh) < 1:
            return "it has no pixels: fetch it again, or remove it"
        named = f"{width} x {height} pixels"
        if width * height > self.pixels:
            return f"{named} are more than the {self.pixels:,} of DATASET.IMAGE_LIMITS.PIXELS: raise it, or shrink the image"
        if max(size_wh) > self.side:
            return f"{named}: a side is above the {self.side:,} of DATASET.IMAGE_LIMITS.SIDE: cut or shrink the image"
        if max(size_wh) > self.aspect * min(size_wh):
            return (
                f"{named}: one side is more than {self.aspect} times the other, DATASET.IMAGE_LIMITS.ASPECT: "
                "raise it, or cut the image"
            )
        return ""


def limits_in_use() -> ImageLimits:
    """The limits that this process, or the one that started it, has set; else the defaults."""
    return _parsed(os.environ.get(_VARIABLE, ""))


@lru_cache(maxsize=8)
def _parsed(text: str) -> ImageLimits:
    try:
        return ImageLimits(*map(int, text.split(",")))
    except (ValueError, TypeError):
        return ImageLimits()


def _has_its_chunks(data: bytes) -> bool:
    """Whether the chunks of a PNG lie within the file: OpenCV takes as many bytes as a chunk claims before it reads them."""
    position = len(_PNG)
    while position + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if data[position + 4 : position + 8] == b"IEND":
            return True
        position += 12 + int(length)
    return False


def stored_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that the head of an image file says, as stored; None where it is of no known format, or is cut off."""
    if data[:8] == _PNG and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return (width, height) if _has_its_chunks(data) else None
    header = image_header(data)
    if header is not None:
        return header.size_wh
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is too large is said by the limits above
            with PIL.Image.open(io.BytesIO(data)) as image:
                return image.size
    except PIL.Image.DecompressionBombError:
        return 2**31, 2**31
    except Exception:  # noqa: BLE001  # a stranger's file leads Pillow's readers to any of them
        return None
