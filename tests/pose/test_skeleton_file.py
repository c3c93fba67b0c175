"""Skeleton files: what they say, what the category says, and what is wrong with them in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supernet.errors import UserError
from supernet.pose.skeleton_file import SIGMA, skeleton_of, summary, to_json

CATEGORY = {"name": "cat", "keypoints": ["nose", "L_ear", "R_ear", "tail"], "skeleton": [[1, 2], [1, 3]]}


def test_the_category_alone_is_enough() -> None:
    skeleton = skeleton_of({}, "cats.json", CATEGORY)
    assert skeleton.joints == ("nose", "L_ear", "R_ear", "tail") and skeleton.limbs == ((0, 1), (0, 2))
    assert (
        skeleton.flip_index == (0, 2, 1, 3) and skeleton.sigmas == (SIGMA,) * 4 and skeleton.upper_body == (0, 1, 2, 3)
    )
    assert summary(skeleton, "cats.json") == (
        "skeleton: cat, 4 joints of cats.json; mirroring exchanges by their names L_ear/R_ear; OKS sigma 0.05 for all "
        "(DATASET.SKELETON sets others)"
    )


def test_a_file_sets_what_it_names() -> None:
    values = {
        "name": "feline", "limbs": [["nose", "tail"]], "flip_pairs": [["L_ear", "R_ear"], ["nose", "tail"]],
        "sigmas": {"tail": 0.1}, "upper_body": ["nose"],
    }  # fmt: skip
    skeleton = skeleton_of(values, "cat.json", CATEGORY)
    assert skeleton.name == "feline" and skeleton.limbs == ((0, 3),) and skeleton.flip_index == (3, 2, 1, 0)
    assert skeleton.sigmas == (SIGMA, SIGMA, SIGMA, 0.1) and skeleton.upper_body == (0,)
    assert skeleton_of({"sigmas": 0.03}, "cat.json", CATEGORY).sigmas == (0.03,) * 4
    assert skeleton_of({"sigmas": [0.1, 0.2, 0.3, 0.4]}, "cat.json", CATEGORY).sigmas == (0.1, 0.2, 0.3, 0.4)
    assert "OKS sigma 0.05 to 0.1 (" in summary(skeleton, "x") and "by their names" not in summary(skeleton, "x")


def test_the_line_names_who_has_no_partner_and_stays_short() -> None:
    joints = ["left_eye", "right_ear", "tail"]
    assert "by their names no joints (left_eye, right_ear: no partner); " in summary(
        skeleton_of({"joints": joints}, "x"), "x"
    )
    many = [f"{side}_{number}" for side in ("left", "right") for number in range(50)]
    assert "left_19/right_19 and 30 more pairs; OKS" in summary(skeleton_of({"joints": many}, "x"), "x")


def test_what_is_written_is_read_back_whole() -> None:
    skeleton = skeleton_of({}, "cats.json", CATEGORY)
    again = skeleton_of(json.loads(json.dumps(to_json(skeleton))), "weights")
    assert again.joints == skeleton.joints and again.limbs == skeleton.limbs and again.sigmas == skeleton.sigmas
    assert again.flip_pairs == skeleton.flip_pairs and again.upper_body == skeleton.upper_body
    assert to_json(again) == to_json(skeleton)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"flip_pair": []}, r"unknown key 'flip_pair'; did you mean flip_pairs\?"),
        ({"flip_pairs": [["L_ear", "R_eer"]]}, r"flip_pairs has 'R_eer', which is no joint; did you mean 'R_ear'\?"),
        ({"flip_pairs": [["L_ear", "R_ear"], ["nose", "L_ear"]]}, "flip_pairs has a joint twice"),
        ({"flip_pairs": [["L_ear", "L_ear"]]}, "give pairs of two different joints"),
        ({"flip_pairs": [[1, 2]]}, "flip_pairs has 1, which is no joint; there are nose, L_ear, R_ear, tail"),
        ({"flip_pairs": "L_ear"}, "give a list of pairs of joints"),
        ({"limbs": [["nose"]]}, "limbs has .*; give pairs of two different joints"),
        ({"sigmas": [0.1]}, r"sigmas is \[0.1\]; give one number above 0 and up to 1, or one for each of the 4 joints"),
        ({"sigmas": 0}, "sigmas is 0; give one number above 0"),
        ({"sigmas": float("nan")}, "sigmas is nan"),
        ({"sigmas": {"tale": 0.1}}, r"sigmas has 'tale', which is no joint; did you mean 'tail'\?"),
        ({"upper_body": ["head"]}, "upper_body has 'head', which is no joint"),
        ({"joints": ["a", "a"]}, "two joints are called 'a'"),
        ({"joints": "nose"}, "its joints are 'nose'; give a list"),
        ({"joints": [1]}, "joint 1 is 1; give names"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^cat.json: .*{message}") as raised:
        skeleton_of(values, "cat.json", CATEGORY)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("limbs", [[[0, 1]], [[1, 5]], [[1]], [["nose", "tail"]], [3]])
def test_limbs_of_a_category_count_from_one(limbs: Any) -> None:
    with pytest.raises(
        UserError, match="no two numbers of joints from 1 to 4; correct it, or give limbs in DATASET.SKELETON"
    ):
        skeleton_of({}, "cats.json", CATEGORY | {"skeleton": limbs})
    assert skeleton_of({"limbs": []}, "cats.json", CATEGORY | {"skeleton": limbs}).limbs == ()


def test_no_joints_at_all() -> None:
    with pytest.raises(UserError, match="^DATASET.SKELETON: has no joints; give them as a list of names"):
        skeleton_of({}, "DATASET.SKELETON")
