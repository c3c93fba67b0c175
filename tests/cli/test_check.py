"""check_data as a program: what it says, and the page that it writes."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from supernet.cli import check
from supernet.errors import UserError
from tests.robust.test_quirks import GOOD, QUIRKS, WAYS, arguments


def pictures(page: str) -> list[np.ndarray]:
    """The images of a page."""
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR) for text in found]


@pytest.mark.parametrize("way", WAYS)
def test_the_page_shows_every_sample_in_four_ways(way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    check.main(arguments(way, QUIRKS / f"{GOOD}.json", "--out", page))
    text = page.read_text()
    assert page.stat().st_size < 3_000_000 and "Bokeh.set_log_level" not in text
    images = pictures(text)
    assert len(images) == 4 * 5 and all(image is not None for image in images)  # 8 images, 3 of them are searched on
    assert all(max(image.shape) == 380 for image in images[::4]) and all(
        max(image.shape) == 200 for image in images[1::4]
    )
    assert "left_shoulder" in text and "warning: 5 images are trained on and evaluated on" in capsys.readouterr().out


@pytest.mark.parametrize("pixels", [True, False])
def test_turned_images_are_told_and_drawn_upright(
    pixels: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, page = QUIRKS / "04-exif-orientation.json", tmp_path / "page.html"
    more = () if pixels else ("--no-pixels",)
    check.main(arguments("td", file, "--out", page, *more, images=QUIRKS / "images-turned"))
    assert "note: all 8 images are turned by their EXIF orientation" in capsys.readouterr().out
    assert pictures(page.read_text())[0].shape == (304, 380, 3)


def test_errors_of_one_part_leave_the_other_on_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    with pytest.raises(UserError, match="all labelled joints of all 8 people lie between"):
        check.main(arguments("td", QUIRKS / f"{GOOD}.json", "--out", page, test=QUIRKS / "12-coordinates-0-to-1.json"))
    assert "error: " in capsys.readouterr().out and "they are shares of the image" in page.read_text()
    assert len(pictures(page.read_text())) == 20


def test_nothing_that_can_be_read_still_gives_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    with pytest.raises(UserError, match="all labelled joints of all 8 people lie between"):
        check.main(arguments("td", QUIRKS / "12-coordinates-0-to-1.json", "--no-pixels", "--out", page))
    assert "they are shares of the image" in page.read_text() and not pictures(page.read_text())


def test_images_that_cannot_be_read_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for path in sorted((QUIRKS / "images").iterdir())[:6]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "000001.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"3 of 8 images cannot be read, the first: .*000001\.jpg"):
        check.main(arguments("bu", QUIRKS / f"{GOOD}.json", "--out", tmp_path / "page.html", images=folder))
    assert "3 of 8 images" in (tmp_path / "page.html").read_text()


def test_wrong_options_are_refused() -> None:
    for number in ("-1", "101"):
        with pytest.raises(UserError, match="--samples"):
            check.main(arguments("td", QUIRKS / f"{GOOD}.json", "--samples", number))
    with pytest.raises(UserError, match="cannot be written"):
        check.main(arguments("td", QUIRKS / f"{GOOD}.json", "--samples", "0", "--out", "/proc/x.html"))
