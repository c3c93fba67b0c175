"""Drawings: on a copy, only where the limbs are, in the colour of the person's side; images written whole."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from supernet.errors import UserError
from supernet.pose.keypoints import COCO, CROWDPOSE, MPII, Skeleton
from supernet.pose.visualisation import contact_sheet, draw_poses, save_image

GREY = 128


def image(height: int = 240, width: int = 320) -> np.ndarray:
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def one_limb(skeleton: Skeleton, start: int, end: int) -> np.ndarray:
    """A person with two joints, from (40, 60) to (200, 60)."""
    keypoints = np.zeros((1, skeleton.num_joints, 3))
    keypoints[0, start] = (40, 60, 1)
    keypoints[0, end] = (200, 60, 1)
    return keypoints


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.any(before != after, axis=2)


class TestDrawPoses:
    def test_changes_pixels_only_near_the_limb_and_not_the_input(self) -> None:
        before = image()
        after = draw_poses(before, one_limb(COCO, 5, 7), COCO)
        assert (before == GREY).all()
        rows, columns = np.nonzero(changed(before, after))
        assert set(range(40, 201)) <= set(columns)
        assert rows.min() >= 54 and rows.max() <= 66
        assert columns.min() >= 34 and columns.max() <= 206

    @pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE, MPII], ids=lambda skeleton: skeleton.name)
    def test_left_is_warm_right_is_cool_middle_is_green(self, skeleton: Skeleton) -> None:
        for start, end in skeleton.limbs:
            red, green, blue = draw_poses(image(), one_limb(skeleton, start, end), skeleton)[60, 120].astype(int)
            sides = {skeleton.joints[joint].split("_")[0] for joint in (start, end)}
            if "left" in sides and "right" not in sides:
                assert red > green > blue
            elif "right" in sides and "left" not in sides:
                assert blue > green > red
            else:
                assert green > max(red, blue)

    def test_people_have_their_own_shades(self) -> None:
        people = np.concatenate([one_limb(COCO, 5, 7), one_limb(COCO, 5, 7)])
        people[1, :, 1] += 80
        drawn = draw_poses(image(), people, COCO)
        assert (drawn[60, 120] != drawn[140, 120]).any()

    @pytest.mark.parametrize("value", [(200, 60, 0.05), (np.nan, 60, 1), (1e12, 60, 1), (200, 60, np.nan)])
    def test_a_joint_that_cannot_be_drawn_takes_its_limb_along(self, value: tuple[float, ...]) -> None:
        keypoints = one_limb(COCO, 5, 7)
        keypoints[0, 7] = value
        marks = changed(image(), draw_poses(image(), keypoints, COCO, threshold=0.05))
        assert marks[60, 40]
        assert not marks[:, 60:].any()

    def test_lines_grow_with_the_image(self) -> None:
        small = changed(image(), draw_poses(image(), one_limb(COCO, 5, 7), COCO))
        large = changed(image(2000, 3000), draw_poses(image(2000, 3000), one_limb(COCO, 5, 7), COCO))
        assert large[:, 120].sum() > 2 * small[:, 120].sum()

    def test_scale_enlarges_image_and_coordinates(self) -> None:
        drawn = draw_poses(image(), one_limb(COCO, 5, 7), COCO, scale=2)
        assert drawn.shape == (480, 640, 3)
        ink = np.abs(drawn.astype(float) - GREY).sum(axis=2)
        rows, columns = np.mgrid[:480, :640]
        centre = (np.average(columns, weights=ink), np.average(rows, weights=ink))
        assert centre == pytest.approx((120.5 * 2 - 0.5, 60.5 * 2 - 0.5), abs=0.25)

    @pytest.mark.parametrize("nobody", [np.zeros((0, 17, 3)), np.zeros((0,)), np.zeros((1, 17, 3))])
    def test_nobody(self, nobody: np.ndarray) -> None:
        drawn = draw_poses(image(), nobody, COCO)
        assert (drawn == image()).all()

    def test_bad_input_is_refused(self) -> None:
        with pytest.raises(
            UserError, match=r"keypoints have shape \(1, 14, 3\), skeleton 'coco' needs \(people, 17, 3\)"
        ):
            draw_poses(image(), np.zeros((1, 14, 3)), COCO)
        with pytest.raises(UserError, match="image of float64 with shape"):
            draw_poses(image().astype(np.float64), np.zeros((1, 17, 3)), COCO)  # type: ignore[arg-type]


class TestContactSheet:
    def test_images_lie_in_reading_order_and_keep_their_shape(self) -> None:
        images = [np.full((50, 100, 3), value, dtype=np.uint8) for value in (10, 20, 30)]
        sheet = contact_sheet(images, columns=2, cell=60)
        assert sheet.shape == (120, 120, 3)
        assert [sheet[30, 30, 0], sheet[30, 90, 0], sheet[90, 30, 0], sheet[90, 90, 0]] == [10, 20, 30, 255]
        assert (sheet[:60, :60] == 10).all(axis=2).sum() == 60 * 30

    def test_captions_stay_under_their_image(self) -> None:
        images = [image(), image()]
        plain = contact_sheet(images, 2, 100, ["", ""])
        sheet = contact_sheet(images, 2, 100, ["a caption far too long for so small a cell" * 3, ""])
        rows, columns = np.nonzero(changed(plain, sheet))
        assert rows.min() >= 100 and columns.max() < 100

    def test_bad_input_is_refused(self) -> None:
        with pytest.raises(UserError, match="images is empty"):
            contact_sheet([], 2, 100)
        with pytest.raises(UserError, match="1 captions for 2 images"):
            contact_sheet([image(), image()], 2, 100, ["a"])
        with pytest.raises(UserError, match="0 columns of 100 pixels"):
            contact_sheet([image()], 0, 100)


class TestSaveImage:
    def test_reads_back_as_written(self, tmp_path: Path) -> None:
        image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        save_image(tmp_path / "a.png", image)
        save_image(tmp_path / "a.png", image)
        read = cv2.imread(str(tmp_path / "a.png"))
        assert read is not None
        assert (read[..., ::-1] == image).all()
        assert [path.name for path in tmp_path.iterdir()] == ["a.png"]

    @pytest.mark.parametrize("name", ["missing/a.png", "a.nothing", "a", "folder.png"])
    def test_what_cannot_be_written_is_said_in_one_line(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "folder.png").mkdir()
        with pytest.raises(UserError, match=name) as caught:
            save_image(tmp_path / name, image())
        assert "\n" not in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]
