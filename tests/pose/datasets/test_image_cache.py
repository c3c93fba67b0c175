"""Decoded images come back as they were, within a bound."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from supernet.pose.datasets.image_cache import ImageCache
from supernet.pose.datasets.images import ImageError, read_image


def images(folder: Path, count: int) -> list[Path]:
    """PNG files of random pixels, 3 × (10 + number) × 20 bytes each."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), rng.integers(0, 255, (10 + number, 20, 3), np.uint8))
    return paths


def test_a_second_reading_decodes_nothing(tmp_path: Path) -> None:
    decoded: list[Path] = []

    def read(path: Path, size_wh: tuple[int, int] | None) -> np.ndarray:
        decoded.append(path)
        return read_image(path, size_wh)

    cache, paths = ImageCache(read=read), images(tmp_path, 3)
    for _ in range(3):
        for path in paths:
            assert np.array_equal(cache(path), read_image(path))
    assert decoded == paths and len(cache) == 3


def test_no_more_is_kept_than_the_limit(tmp_path: Path) -> None:
    paths = images(tmp_path, 3)
    cache = ImageCache(limit=1300)  # of 600, 660 and 720 bytes
    for path in paths * 2:
        assert np.array_equal(cache(path), read_image(path))
    assert len(cache) == 2


def test_a_full_disk_ends_the_keeping_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    cache, (path,) = ImageCache(), images(tmp_path, 1)
    monkeypatch.setattr(os, "pwrite", full)
    assert np.array_equal(cache(path), read_image(path)) and len(cache) == 0


def test_what_cannot_be_read_is_said_each_time(tmp_path: Path) -> None:
    cache = ImageCache()
    for _ in range(2):
        with pytest.raises(ImageError, match="cannot be read"):
            cache(tmp_path / "none.png")
