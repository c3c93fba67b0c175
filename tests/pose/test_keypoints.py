"""Skeletons: what names of joints tell about left and right, and what they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from supernet.pose.keypoints import COCO, CROWDPOSE, MPII, Skeleton, mirrored_pairs, spelled_alike


@pytest.mark.parametrize(
    "joints",
    [
        ("left_eye", "right_eye"), ("Left Eye", "right eye"), ("LEFT_EYE", "RIGHT_EYE"), ("eye_left", "eye_right"),
        ("L_Eye", "R_Eye"), ("l-eye", "r-eye"), ("eye_l", "eye_r"), ("eye.L", "eye.R"), ("LEye", "REye"), ("eyeL", "eyeR"),
        ("lefteye", "righteye"), ("EyeLeft", "EyeRight"), ("L1", "R1"), ("left", "right"), ("L_F_Paw", "R_F_Paw"),
        ("top_left", "top_right"),
    ],
)  # fmt: skip
def test_left_and_right_are_read_in_every_spelling(joints: tuple[str, str]) -> None:
    assert mirrored_pairs(joints) == ((0, 1),)
    assert mirrored_pairs(joints[::-1]) == ((1, 0),)  # the left one is always named first
    skeleton = Skeleton("own", ("nose", *joints), ())
    assert skeleton.flip_index == (0, 2, 1)
    assert skeleton.sides == ("middle", "left", "right")


@pytest.mark.parametrize(
    "joints", [("lip", "rip"), ("left_eye", "nose"), ("bright", "blight"), ("ankle", "rankle"), ("L",)]
)
def test_other_names_are_no_pair(joints: tuple[str, ...]) -> None:
    assert mirrored_pairs(joints) == ()


def test_an_animal_with_three_words_a_joint() -> None:
    """AP-10K's and Animal-Pose's names: a front paw is never exchanged with a back paw."""
    joints = ("L_F_Paw", "R_F_Paw", "L_B_Paw", "R_B_Paw", "TailBase")
    assert Skeleton("cat", joints, ()).flip_index == (1, 0, 3, 2, 4)


def test_what_is_set_is_not_guessed() -> None:
    skeleton = replace(COCO, pairs=((1, 2),), upper=(0, 1))
    assert skeleton.flip_index[:4] == (0, 2, 1, 3) and skeleton.upper_body == (0, 1)
    assert replace(COCO, pairs=()).flip_index == tuple(range(17))


def test_the_datasets_have_the_pairs_and_halves_that_they_always_had() -> None:
    assert COCO.flip_index == (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
    assert CROWDPOSE.flip_index == (1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 12, 13)
    assert MPII.flip_index == (5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10)
    assert COCO.upper_body == tuple(range(11))
    assert MPII.upper_body == (7, 8, 9, 10, 11, 12, 13, 14, 15)
    assert COCO.joint_weights[5:17] == (1, 1, 1.2, 1.2, 1.5, 1.5, 1, 1, 1.2, 1.2, 1.5, 1.5)


def test_spelling() -> None:
    assert spelled_alike("Left Eye", "left_eye") and not spelled_alike("left_eye", "left_ear")
