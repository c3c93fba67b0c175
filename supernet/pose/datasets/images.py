"""Images from folders and from zip archives, as uint8 RGB.

An image in an archive is named as HRNet's configurations name it: ``images/val2017.zip@/000000000139.jpg`` is the
member ``000000000139.jpg`` of ``images/val2017.zip``. Nothing is unpacked to the disk.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.io.reading import read_bytes
from supernet.pose.datasets.image_header import ImageHeader, image_header
from supernet.pose.datasets.image_limits import limits_in_use, stored_size

_MARK = ".zip@"  # the end of an archive's name within a path
_TURNED = 5  # the first of the EXIF orientations (5 to 8) that exchange width and height
_LARGEST_IMAGE = 2**28  # bytes of a file, or of an archive's member, unpacked


class ImageError(UserError):
    """An image that cannot be read."""


def find_images(*places: Path) -> Path:
    """The first of some folders that exists, as a folder or as an archive: ``images/val2017`` or ``images/val2017.zip``.

    Args:
        places: Folders, or archives named in full, with HRNet's ``@`` or without it. Where none of them exists, the last
            is returned for an error to name.
    """
    for place in places:
        named = place.with_name(place.name.removesuffix("@"))
        for candidate in (named, named.with_name(f"{named.name}.zip")):
            if candidate.is_dir() or _is_archive(candidate):
                return candidate
    return places[-1]


def image_path(place: Path, name: str) -> Path:
    """Where an image lies that an annotation file calls ``name``: in a folder, or in an archive (``….zip@/name``).

    Raises:
        UserError: The name is absolute or leads out of the folder, also by a symbolic link, or has characters that no
            file's name has.
    """
    if not name.isprintable():
        raise UserError(f"image name {name!r} has unprintable characters: give names of files in {place}")
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0].endswith(("/", ":")):
        raise UserError(f"image name {name!r} leads out of {place}: give names of files inside it")
    if _is_archive(place):
        return place.with_name(f"{place.name}@").joinpath(*parts)
    path = place.joinpath(*parts)
    if _has_link(place, parts) and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(place)):
        raise UserError(f"image name {name!r} is a link that leads out of {place}: put the file there, or a hard link")
    return path


def _has_link(place: Path, parts: tuple[str, ...]) -> bool:
    """Whether a name passes a symbolic link below a folder, which may itself be one."""
    return any(part in _links(str(place.joinpath(*parts[:depth]))) for depth, part in enumerate(parts))


@lru_cache(maxsize=1024)
def _links(folder: str) -> frozenset[str]:
    """Names of the symbolic links in a folder, listed once."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:
        return frozenset()


def _is_archive(place: Path) -> bool:
    return place.suffix == ".zip" and place.is_file()


def read_image(path: Path, size_wh: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """The pixels of an image: uint8 RGB (H, W, 3), as stored; ``path`` may lie in an archive.

    Grey images have three equal channels, of 16 bits the upper 8 remain, transparency is dropped and CMYK becomes RGB.
    A camera's orientation mark is not applied, since COCO's annotations are for the stored image; but where they are for
    the size of the turned one, it is.

    Args:
        path: The file.
        size_wh: Width and height that the annotations are for; None where they do not say it.

    Raises:
        ImageError: The file is missing, or is not one whole image.
        UserError: The image has another size than the annotations.
    """
    data = _bytes(path)
    image = _decoded(data, path, cv2.IMREAD_IGNORE_ORIENTATION)
    if size_wh is None or image.shape[1::-1] == tuple(size_wh):
        return image
    turned = _decoded(data, path, 0)
    if turned.shape[1::-1] == tuple(size_wh):
        return turned
    raise _other_size(path, (image.shape[1], image.shape[0]), size_wh, image_header(data))


def read_upright(path: Path) -> NDArray[np.uint8]:
    """The pixels of a photograph as it is looked at: as :func:`read_image`, and turned by the camera's orientation mark.

    Raises:
        ImageError: The file is missing, or is not one whole image.
    """
    return _decoded(_bytes(path), path, 0)


def check_size(path: Path, size_wh: tuple[int, int]) -> bool:
    """Whether an image has to be turned by its mark to fit its annotations; of JPEG and PNG only the head is looked at.

    Raises:
        ImageError: The file is missing, or is not an image.
        UserError: The image has another size than the annotations, turned or not.
    """
    data = _bytes(path)
    header = image_header(data)
    if header is None:
        height, width = read_image(path, size_wh).shape[:2]
        return (width, height) != size_wh  # never: it has been read
    if header.size_wh == tuple(size_wh):
        return False
    if header.orientation >= _TURNED and header.size_wh[::-1] == tuple(size_wh):
        return True
    raise _other_size(path, header.size_wh, size_wh, header)


def orientation(path: Path) -> int:
    """The EXIF orientation of a JPEG image, 1 to 8; 0 where it has none, or has another format.

    Raises:
        ImageError: The file is missing.
    """
    header = image_header(_bytes(path))
    return header.orientation if header else 0


def _other_size(path: Path, stored: tuple[int, int], wanted: tuple[int, int], header: ImageHeader | None) -> UserError:
    mark = f"EXIF orientation {header.orientation}" if header and header.orientation else "no EXIF orientation"
    return UserError(
        f"image {path} is {stored[0]} x {stored[1]} pixels ({mark}), its annotations are for {wanted[0]} x {wanted[1]}: "
        "use the images that were annotated, or scale joints, boxes, width and height to these"
    )


def _decoded(data: bytes, path: Path, orientation: int) -> NDArray[np.uint8]:
    size = stored_size(data)
    if size is not None and (fault := limits_in_use().fault(size)):
        raise ImageError(f"image {path} is too large, {fault}")
    try:
        image = (
            None if size is None else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | orientation)
        )
    except (cv2.error, MemoryError):
        image = None
    if image is None:
        raise ImageError(f"image {path} cannot be decoded (truncated, or not an image): fetch the file again")
    return image.astype(np.uint8, copy=False)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image as stored; only its header is decoded.

    Raises:
        ImageError: The file is missing, or is no image.
    """
    size = stored_size(_bytes(path))
    if size is None:
        raise ImageError(f"image {path} cannot be decoded (truncated, or not an image): fetch the file again")
    return size


def _bytes(path: Path) -> bytes:
    """The content of a file, or of an archive's member."""
    archive, mark, member = path.as_posix().partition(f"{_MARK}/")
    try:
        return _member(Path(archive + _MARK[:-1]), member) if mark else read_bytes(path, _LARGEST_IMAGE)
    except OSError as error:
        raise ImageError(f"image {path} cannot be read ({error.strerror}): complete the image folder") from error


def _check_size(path: Path | str, size: int) -> None:
    if size > _LARGEST_IMAGE:
        raise ImageError(f"image {path} has {size / 2**20:.0f} MiB, no image has: fetch it again, or remove it")


def _member(archive: Path, name: str) -> bytes:
    """One file of an archive; official archives hold ``val2017/x.jpg``, where annotations say ``x.jpg``."""
    try:
        # Reading moves a file position that processes forked later would share, so each opens the archive for itself.
        opened = _opened(archive, os.getpid())
        for candidate in (name, f"{archive.stem}/{name}"):
            try:
                info = opened.getinfo(candidate)
            except KeyError:
                continue
            _check_size(f"{archive}@/{name}", info.file_size)
            with opened.open(info) as packed:
                return packed.read(info.file_size)  # without a number, a lying size unpacks whole before it is seen
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ImageError(f"archive {archive} is corrupt at {name} ({error}): fetch it again") from error
    except (NotImplementedError, RuntimeError) as error:  # an unknown compression, or a password
        raise ImageError(f"archive {archive} cannot be read at {name} ({error}): pack it with plain zip") from error
    raise ImageError(f"archive {archive} holds no {name}: complete it, or give the folder of the images")


@lru_cache(maxsize=16)
def _opened(archive: Path, process: int) -> zipfile.ZipFile:
    """An archive with its directory read, once for each process."""
    return zipfile.ZipFile(archive)
