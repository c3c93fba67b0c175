"""Decoded images on the disk, for a training that reads them by itself, epoch after epoch.

Decoding a JPEG of 250×250 takes about 1 ms, reading its pixels from a file that the system keeps in memory a thirtieth of that.
Worker processes decode while the network computes, so the cache is for trainings without them.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .images import read_image

LIMIT = 2**30  # bytes

Image = NDArray[np.uint8]  # (H, W, 3), RGB
Key = tuple[Path, tuple[int, int] | None]  # what an image depends on


class ImageCache:
    """Reads images as :func:`.images.read_image` does, and keeps their pixels in a nameless temporary file.

    The file is gone with the process. When ``limit`` is reached or the disk is full, further images are decoded each time.
    Pictures from the cache cannot be written to.

    Args:
        limit: bytes of pixels that are kept.
        read: decodes an image.
    """

    def __init__(self, limit: int = LIMIT, read: Callable[..., Image] = read_image) -> None:
        self._read, self._left, self._end = read, limit, 0
        self._places: dict[Key, tuple[int, tuple[int, ...]]] = {}
        self._file = tempfile.TemporaryFile(prefix="decoded-images-")
        weakref.finalize(self, self._file.close)

    def __call__(self, path: Path, size_wh: tuple[int, int] | None = None) -> Image:
        """The image, uint8 RGB (H, W, 3); arguments and errors are those of ``read_image``."""
        key = path, size_wh
        if key in self._places:
            first, shape = self._places[key]
            size = int(np.prod(shape))
            data = os.pread(self._file.fileno(), size, first)
            if len(data) == size:
                return np.frombuffer(data, np.uint8).reshape(shape)
        image = self._read(path, size_wh)
        if image.nbytes <= self._left:
            self._keep(key, image)
        return image

    def __len__(self) -> int:
        """Number of images that are kept."""
        return len(self._places)

    def _keep(self, key: Key, image: Image) -> None:
        try:
            written = os.pwrite(self._file.fileno(), np.ascontiguousarray(image).data, self._end)
        except OSError:  # the disk is full: what is there stays
            self._left = 0
            return
        if written < image.nbytes:
            self._left = 0
            return
        self._places[key] = self._end, image.shape
        self._end += image.nbytes
        self._left -= image.nbytes
