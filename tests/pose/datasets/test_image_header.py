"""Sizes and orientations from the heads of files agree with what decodes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from supernet.errors import UserError
from supernet.pose.datasets.image_header import ImageHeader, image_header
from supernet.pose.datasets.images import check_size, orientation, read_image

ORIENTATION = 0x0112


def saved(path: Path, mark: int = 0, **options: object) -> Path:
    exif = Image.Exif()
    if mark:
        exif[ORIENTATION] = mark
    pixels = np.random.default_rng(0).integers(0, 255, (30, 50, 3), np.uint8)
    Image.fromarray(pixels).save(path, exif=exif, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("mark", range(9))
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30, "subsampling": 2}])
def test_jpeg(mark: int, options: dict[str, object], tmp_path: Path) -> None:
    path = saved(tmp_path / "x.jpg", mark, **options)
    assert image_header(path.read_bytes()) == ImageHeader((50, 30), mark) and orientation(path) == mark
    assert not check_size(path, (50, 30))
    turned = mark >= 5
    if turned:
        assert check_size(path, (30, 50)) and read_image(path, (30, 50)).shape == (50, 30, 3)
    for refuse in (check_size, read_image):
        with pytest.raises(UserError, match=rf"is 50 x 30 pixels \({'EXIF' if mark else 'no EXIF'} orientation"):
            refuse(path, (31, 50) if turned else (30, 50))


@pytest.mark.parametrize("ending", ["png", "bmp", "webp"])
def test_other_formats(ending: str, tmp_path: Path) -> None:
    path = saved(tmp_path / f"x.{ending}")
    assert image_header(path.read_bytes()) == (ImageHeader((50, 30), 0) if ending == "png" else None)
    assert not check_size(path, (50, 30)) and orientation(path) == 0
    with pytest.raises(UserError, match="is 50 x 30 pixels"):
        check_size(path, (30, 50))


def test_heads_that_are_spoilt_are_none_or_another_size(tmp_path: Path) -> None:
    data, rng = saved(tmp_path / "x.jpg", 6).read_bytes(), np.random.default_rng(0)
    for length in range(0, 400, 3):
        image_header(data[:length])
    for _ in range(300):
        spoiled = bytearray(data)
        for place in rng.integers(0, 200, 5):
            spoiled[place] = rng.integers(0, 256)
        header = image_header(bytes(spoiled))
        assert header is None or 0 <= header.orientation <= 8
