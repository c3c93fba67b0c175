"""Drawn corners, hands and animals: their joints lie where they are drawn, and equal arguments give equal files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from supernet.errors import UserError
from supernet.pose.synthetic.dataset import is_made, make_synthetic
from supernet.pose.synthetic.objects import sample_things
from supernet.pose.synthetic.subjects import ANIMAL, CORNERS, HAND, SUBJECTS, Drawing
from tools import make_synthetic as program


@pytest.mark.parametrize(("subject", "joints"), [("corners", 4), ("hands", 21), ("animals", 17)])
def test_joints_and_masks(subject: str, joints: int) -> None:
    """Visible joints lie on their own thing, or beside it by a pixel; hidden ones on others or behind it."""
    skeleton = SUBJECTS[subject][0]
    assert skeleton.num_joints == joints and len(set(skeleton.joints)) == joints
    seen = 0
    for seed in range(20):
        scene = sample_things(np.random.default_rng(seed), subject, 96, 80, 2)
        assert scene.image.shape == (80, 96, 3) and 1 <= len(scene.things) <= 2
        for thing in scene.things:
            near = cv2.dilate(thing.mask.astype(np.uint8), np.ones((5, 5), np.uint8))
            for x, y, v in thing.keypoints:
                assert v or (x, y) == (0, 0)
                if v == 2:
                    assert near[y, x]
                    seen += 1
    assert seen > 20 * joints / 2


def test_corners_are_those_of_the_image() -> None:
    for seed in range(10):
        (thing,) = sample_things(np.random.default_rng(seed), "corners", 128, 128, 1).things
        top_left, top_right, bottom_right, bottom_left = np.array(thing.keypoints)
        if min(joint[2] for joint in thing.keypoints):
            assert top_left[0] < top_right[0] and top_left[1] < bottom_left[1] and bottom_right[1] > top_right[1]
    assert CORNERS.flip_index == (1, 0, 3, 2)


def drawn_from(sample: Callable[[np.random.Generator], Drawing]) -> list[Drawing]:
    return [sample(np.random.default_rng(seed)) for seed in range(12)]


def test_an_animal_shows_its_left_side_where_it_faces_left() -> None:
    """So that a mirrored animal, its sides exchanged, is one that could have been drawn."""
    facing = set()
    for drawing in drawn_from(SUBJECTS["animals"][1]):
        left = drawing.joints["nose"][0] < drawing.joints["root_of_tail"][0]
        facing.add(bool(left))
        assert drawing.hidden == {f"{'right' if left else 'left'}_{part}" for part in ("eye", "shoulder", "hip")}
    assert facing == {True, False} and len(ANIMAL.flip_pairs) == 7


def test_hands_are_left_and_right_ones() -> None:
    sides = {
        bool(drawing.joints["thumb4"][0] < drawing.joints["pinky_finger4"][0])
        for drawing in drawn_from(SUBJECTS["hands"][1])
    }
    assert sides == {True, False} and HAND.flip_pairs == ()


def test_the_program_writes_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--subject", "hands", "--train", "3", "--val", "1", "--size", "64x64", "--max-people", "2"]
    for name in ("first", "second"):
        program.main(["--root", str(tmp_path / name), *given])
    first, second = (
        sorted(file for file in (tmp_path / name).rglob("*.*") if file.is_file()) for name in ("first", "second")
    )
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second] and len(first) == 7
    content = json.loads((tmp_path / "first/keypoints/annotations/train2017.json").read_text())
    assert content["categories"][0]["keypoints"] == list(HAND.joints) and len(content["images"]) == 3
    for entry in content["annotations"]:
        assert entry["num_keypoints"] == sum(v > 0 for v in entry["keypoints"][2::3]) and entry["area"] > 0
    program.main(["--root", str(tmp_path / "first"), *given])
    assert "already made" in capsys.readouterr().out
    size = {"train": 3, "val": 1, "width": 64, "height": 64, "max_people": 2}
    assert is_made(tmp_path / "first", **size, subject="hands") and not is_made(tmp_path / "first", **size)
    with pytest.raises(UserError, match="there is no subject 'cars', give people, corners, hands, animals"):
        make_synthetic(tmp_path / "third", **size, subject="cars")
