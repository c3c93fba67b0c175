"""Images that are turned, of another size, or named with the separators of Windows."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest

from supernet.errors import UserError
from supernet.pipeline.check import check_data
from supernet.pose.datasets.images import read_image
from tests.robust.test_quirks import QUIRKS, WAYS, content, run_of, written


@pytest.mark.parametrize("way", WAYS)
def test_images_are_turned_where_the_turned_size_is_the_annotations(
    way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(way, QUIRKS / "04-exif-orientation.json", images=QUIRKS / "images-turned")
    check_data(run)
    assert "turned by their EXIF orientation, as annotated" in capsys.readouterr().out
    sample = run.test[0]
    upright, turned = read_image(QUIRKS / "images" / sample.path.name), read_image(sample.path, sample.size_wh)
    assert read_image(sample.path).shape == (200, 160, 3) and turned.shape == upright.shape == (160, 200, 3)
    assert abs(turned.astype(int) - upright).mean() < 6  # which compression leaves
    batch = next(iter(run.task.calibration_batches(run.test, (128, 96) if way == "td" else (128, 128), 1)))
    straight = run_of(way, QUIRKS / "04-exif-orientation.json")
    assert (
        next(iter(straight.task.calibration_batches(straight.test, tuple(batch.shape[2:]), 1))) - batch
    ).abs().mean() < 0.15


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mark", [False, True])
def test_images_of_another_size_are_refused(way: str, mark: bool, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(QUIRKS / ("images-turned" if mark else "images"), folder)
    if not mark:
        for path in folder.iterdir():
            cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (100, 80)))
    raw = content()
    if mark:
        for image in raw["images"]:
            image["width"] = 201
    stored, said = ("160 x 200", "EXIF orientation [68]") if mark else ("100 x 80", "no EXIF orientation")
    run = run_of(way, written(tmp_path, raw), images=folder)
    with pytest.raises(
        UserError, match=rf"000001\.jpg is {stored} pixels \({said}\), its annotations are for 20[01] x 160"
    ):
        check_data(run)
    with pytest.raises(UserError, match="its annotations are for"):
        next(iter(run.task.calibration_batches(run.test, (128, 96), 1)))


def test_names_may_have_the_separators_of_windows(tmp_path: Path) -> None:
    raw = content()
    (tmp_path / "images").mkdir()
    shutil.copytree(QUIRKS / "images", tmp_path / "images" / "day one")
    for image in raw["images"]:
        image["file_name"] = f"day one\\{image['file_name']}"
    run = run_of("td", written(tmp_path, raw), images=tmp_path / "images")
    check_data(run)
    assert read_image(run.test[0].path).shape == (160, 200, 3)
