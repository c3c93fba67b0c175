"""Weights that come with the package: they are there, small, described, and what is used when nothing is given."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from supernet import PoseEstimator
from supernet.cli import demo
from supernet.errors import UserError
from supernet.pipeline import shipped as module
from supernet.pipeline.shipped import FOLDER, shipped, weights_of

LARGEST, ALL_TOGETHER = 3e6, 8e6  # bytes
SIZE_WH = (80, 120)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A file that a camera was turned for: stored lying, 120 x 80, to be seen standing, 80 x 120."""
    pixels = np.random.default_rng(0).integers(0, 255, (SIZE_WH[0], SIZE_WH[1], 3), np.uint8)
    image, exif = PIL.Image.fromarray(pixels), PIL.Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "photo.jpg", exif=exif)
    return tmp_path / "photo.jpg"


def test_they_are_few_small_and_on_the_card() -> None:
    files = shipped()
    assert 2 <= len(files) <= 3
    sizes = [path.stat().st_size for path in files.values()]
    assert max(sizes) <= LARGEST and sum(sizes) <= ALL_TOGETHER and sizes == sorted(sizes)
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in card for name in files)


@pytest.mark.parametrize("name", [None, *shipped()])
def test_each_finds_somebody_who_fills_the_picture(name: str | None, photograph: Path) -> None:
    """By its name, and the largest without one; joints lie in the upright photograph's pixels."""
    estimator = PoseEstimator(name, device="cpu")
    (person,) = estimator.predict(photograph)
    assert estimator.approach == "top-down" and person.keypoints.shape == (estimator.skeleton.num_joints, 3)
    assert person.box[2:] == pytest.approx(SIZE_WH)


def test_the_demo_takes_a_photograph_and_nothing_else(photograph: Path, tmp_path: Path) -> None:
    demo.main(
        [
            "--input",
            str(photograph),
            "--out",
            str(tmp_path / "poses"),
            "--score",
            "0",
            "--sheet",
            str(tmp_path / "sheet.png"),
            "DEVICE",
            "cpu",
        ]
    )
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (256, 256, 3)
    (record,) = json.loads((tmp_path / "poses" / "poses.json").read_text())["images"]
    assert (record["width"], record["height"]) == SIZE_WH and len(record["people"]) == 1
    drawn = cv2.imread(str(tmp_path / "poses" / "photo.jpg"))
    assert drawn is not None and drawn.shape[1::-1] == SIZE_WH


def test_a_file_is_meant_where_there_is_no_such_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights_of("my.pt") == Path("my.pt") and weights_of(next(iter(shipped()))).parent == FOLDER
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    with pytest.raises(UserError, match=r"no weights in .*: install pose-supernet again, or give a file of weights"):
        weights_of(None)
