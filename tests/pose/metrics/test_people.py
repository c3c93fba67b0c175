"""Mean OKS and PCK of people: by hand, and against a plain loop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from supernet.pose.datasets.kinds import kind_of
from supernet.pose.keypoints import COCO, CROWDPOSE, MPII, Skeleton
from supernet.pose.metrics.people import (
    BOX_PCK,
    HEAD_PCK,
    MEAN_OKS,
    TORSO_PCK,
    AnnotatedPeople,
    PeopleEvaluator,
    WithPeople,
    box_of_joints,
    person_metrics,
    sigmas_of,
)
from tests import reference

#: Two hips and shoulders of a torso of 50 pixels from left shoulder to right hip (30, 40), a head of 10 pixels.
UPRIGHT = Skeleton(
    "upright",
    ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "neck", "head_top"),
    ((0, 2),),
    sigmas=(0.05, 0.1, 0.05, 0.1, 0.05, 0.1),
)
PLACES = ((30.0, 0.0), (0.0, 0.0), (30.0, 40.0), (0.0, 40.0), (15.0, 0.0), (15.0, -10.0))


def person(id: int, image_id: int = 1, shift: float = 0.0, **entries: Any) -> dict[str, Any]:
    """A person of UPRIGHT, as the annotation or, moved to the right, as a result."""
    keypoints = [value for x, y in PLACES for value in (x + shift, y, 2)]
    known = {"id": id, "image_id": image_id, "category_id": 1, "keypoints": keypoints, "num_keypoints": 6, "score": 1.0}
    return {**known, "bbox": [0, -10, 30, 60], "area": 1000.0, "iscrowd": 0, **entries}


def result(image_id: int = 1, shift: float = 0.0, **entries: Any) -> dict[str, Any]:
    """A prediction with every joint ``shift`` pixels to the right."""
    return {key: person(0, image_id, shift)[key] for key in ("image_id", "category_id", "keypoints", "score")} | entries


def evaluated(
    people: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]], skeleton: Skeleton = UPRIGHT
) -> dict[str, float]:
    return PeopleEvaluator(AnnotatedPeople.of_coco({"annotations": people}, skeleton)).evaluate(results)


def oks(shift: float) -> float:
    """By hand: three joints with a sigma of 0.05 and three with 0.1, so k = 0.1 and 0.2, and an area of 1000."""
    return (3 * math.exp(-(shift**2) / (2 * 1000 * 0.01)) + 3 * math.exp(-(shift**2) / (2 * 1000 * 0.04))) / 6


def test_one_person_by_hand() -> None:
    assert evaluated([person(7)], [result()]) == {MEAN_OKS: 1.0, TORSO_PCK: 1.0, BOX_PCK: 1.0, HEAD_PCK: 1.0}
    # torso 50, box 60, head 10: the limits are 10, 12 and 5 pixels
    for shift, right in (
        (5.0, (1, 1, 1)),
        (5.01, (1, 1, 0)),
        (10.0, (1, 1, 0)),
        (10.01, (0, 1, 0)),
        (12.01, (0, 0, 0)),
    ):
        scores = evaluated([person(7)], [result(shift=shift)])
        assert scores[MEAN_OKS] == pytest.approx(oks(shift), rel=1e-12)
        assert tuple(scores[name] for name in (TORSO_PCK, BOX_PCK, HEAD_PCK)) == right


def test_hidden_joints_count_and_unlabelled_ones_do_not() -> None:
    hidden = person(7)
    hidden["keypoints"] = [*hidden["keypoints"][:12], 15.0, 0.0, 1, 900.0, 900.0, 0]
    scores = evaluated([hidden], [result(shift=8.0)])
    assert scores[MEAN_OKS] == pytest.approx((3 * math.exp(-64 / 20) + 2 * math.exp(-64 / 80)) / 5)
    assert scores[TORSO_PCK] == 1.0
    assert math.isnan(scores[HEAD_PCK])  # nobody has both ends of it


def test_the_torso_is_that_of_the_other_side_where_a_joint_is_missing() -> None:
    keypoints = [25.0, 0.0, 0, 0.0, 0.0, 2, 30.0, 40.0, 2, 0.0, 40.0, 2, 15.0, 0.0, 0, 15.0, -10.0, 0]
    scores = evaluated([person(7, keypoints=keypoints)], [result(shift=9.9)])
    assert scores[TORSO_PCK] == 1.0
    without = person(8, keypoints=[*keypoints[:3], 0.0, 0.0, 0, *keypoints[6:]])  # no shoulder at all
    scores = evaluated(
        [person(7, keypoints=keypoints), without], [result(annotation_id=7), result(shift=99, annotation_id=8)]
    )
    assert scores[TORSO_PCK] == 1.0  # who has no torso does not count
    assert scores[BOX_PCK] == 3 / 5


def test_everybody_has_the_prediction_made_for_them() -> None:
    people = [person(7), person(9, shift=6.0)]
    own = [result(shift=4.0, annotation_id=9), result(shift=8.0, annotation_id=7)]  # nearer to the other one's
    assert evaluated(people, own)[MEAN_OKS] == pytest.approx((oks(8) + oks(2)) / 2)
    best = [{key: value for key, value in one.items() if key != "annotation_id"} for one in own]
    assert evaluated(people, best)[MEAN_OKS] == pytest.approx((oks(4) + oks(2)) / 2)
    # 7 was dropped as a repetition of 9: the prediction of 9 is the best there is
    assert evaluated(people, own[:1])[MEAN_OKS] == pytest.approx((oks(4) + oks(2)) / 2)


def test_who_is_not_found_has_nothing_right() -> None:
    people = [person(1, 1), person(2, 2)]
    half = {MEAN_OKS: 0.5, TORSO_PCK: 0.5, BOX_PCK: 0.5, HEAD_PCK: 0.5}
    assert evaluated(people, [result(1), result(3)]) == half
    assert evaluated(people, []) == dict.fromkeys(half, 0.0)
    assert evaluated(people, [result(1), result(2, keypoints=[math.nan] * 18)]) == half


def test_scores_of_each_person() -> None:
    without = person(2, 2, num_keypoints=2, keypoints=[30.0, 0.0, 2, *[0.0, 0.0, 0] * 4, 15.0, -10.0, 2])  # no torso
    evaluator = PeopleEvaluator(AnnotatedPeople.of_coco({"annotations": [person(1), without, person(3, 3)]}, UPRIGHT))
    each = evaluator.by_person([result(1, shift=8.0), result(2)])
    assert each[MEAN_OKS] == pytest.approx([oks(8.0), 1.0, 0.0])
    np.testing.assert_array_equal(each[TORSO_PCK], [1.0, np.nan, 0.0])
    np.testing.assert_array_equal(each[BOX_PCK], [1.0, 1.0, 0.0])
    together = evaluator.evaluate([result(1, shift=8.0), result(2)])
    assert together[MEAN_OKS] == pytest.approx(each[MEAN_OKS].mean()) and together[BOX_PCK] == 8 / 14
    nobody = PeopleEvaluator(AnnotatedPeople.of_coco({"annotations": []}, UPRIGHT))
    assert [len(values) for values in nobody.by_person([result()]).values()] == [0] * 4


def test_crowds_and_people_without_joints_do_not_count() -> None:
    nobody = person(3, keypoints=[0.0] * 18, num_keypoints=0)
    people = [person(1), person(2, iscrowd=1), nobody, person(4, num_keypoints=0)]
    assert evaluated(people, [result(annotation_id=1)])[MEAN_OKS] == 1.0
    assert all(math.isnan(value) for value in evaluated(people[1:], [result()]).values())


def test_a_skeleton_without_torso_takes_the_box() -> None:
    corners = Skeleton("corners", ("a", "b", "c", "d", "e", "f"), ((0, 1),), sigmas=(0.05,) * 6)
    scores = evaluated([person(7)], [result(shift=11.0)], corners)
    assert scores == {MEAN_OKS: pytest.approx(math.exp(-121 / 20)), TORSO_PCK: 1.0, BOX_PCK: 1.0}


def test_boxes_and_areas_of_joints_alone() -> None:
    assert box_of_joints(np.array([[10, 20, 2], [30, 120, 1], [999, 999, 0]])) == (-5.0, 5.0, 50.0, 130.0)
    people = AnnotatedPeople.of_joints(
        MPII, [(1, 5, np.array([[10, 20, 1], [30, 120, 1], *[[0, 0, 0]] * 14])), (1, 6, np.zeros((16, 3)))]
    )
    assert list(people.ids) == [5]
    assert people.sides_P.tolist() == [130.0] and people.areas_P.tolist() == [pytest.approx(0.53 * 50 * 130)]


def test_sigmas_of_a_skeleton_that_has_none() -> None:
    named = dict(zip(MPII.joints, sigmas_of(MPII), strict=True))
    expected = (0.089, 0.107, 0.079, 0.079)
    assert tuple(named[name] for name in ("left_ankle", "right_hip", "head_top", "pelvis")) == pytest.approx(expected)
    assert sigmas_of(COCO) == COCO.oks_sigmas


# -------------------------------------------------------------------------------------------------- against a plain loop


def plain(
    truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], skeleton: Skeleton, box_share: float | None
) -> dict[str, float]:
    """The definition, person by person and joint by joint."""
    similarities, counts = [], {name: [0, 0] for name in person_metrics(skeleton)[1:]}
    joints = skeleton.joints
    for entry in truth["annotations"]:
        if entry["iscrowd"] or not entry["num_keypoints"]:
            continue
        marks = [entry["keypoints"][3 * k : 3 * k + 3] for k in range(len(joints))]
        labelled = [k for k, (_, _, v) in enumerate(marks) if v > 0]
        if not labelled:
            continue
        width, height = entry["bbox"][2:]
        area = entry["area"] if box_share is None else box_share * width * height

        def apart(found: Sequence[float], k: int, marks: Any = marks) -> float:
            return math.hypot(found[3 * k] - marks[k][0], found[3 * k + 1] - marks[k][1])

        best, chosen = 0.0, None
        for one in results:
            if one["image_id"] == entry["image_id"]:
                terms = [
                    math.exp(-(apart(one["keypoints"], k) ** 2) / (2 * area * (2 * skeleton.sigmas[k]) ** 2))
                    for k in labelled
                ]
                similarity = sum(terms) / len(terms)
                if chosen is None or similarity > best:
                    best, chosen = similarity, one["keypoints"]
        similarities.append(best)
        limits = {BOX_PCK: 0.2 * max(width, height)}
        for name, share, pairs in (
            (TORSO_PCK, 0.2, [("left_shoulder", "right_hip"), ("right_shoulder", "left_hip")]),
            (HEAD_PCK, 0.5, [("neck", "head")]),
        ):
            for pair in pairs:
                if set(pair) <= set(joints):
                    a, b = (joints.index(joint) for joint in pair)
                    if {a, b} <= set(labelled) and name not in limits:
                        limits[name] = share * math.hypot(marks[a][0] - marks[b][0], marks[a][1] - marks[b][1])
        for name, limit in limits.items():
            if limit > 0:
                counts[name][0] += sum(chosen is not None and apart(chosen, k) <= limit for k in labelled)
                counts[name][1] += len(labelled)
    return {MEAN_OKS: sum(similarities) / len(similarities)} | {
        name: right / of for name, (right, of) in counts.items()
    }


@pytest.mark.parametrize(("name", "skeleton"), [("coco", COCO), ("crowdpose", CROWDPOSE)])
def test_the_same_as_a_plain_loop_and_nothing_official_changes(name: str, skeleton: Skeleton) -> None:
    truth, results = (reference.load_json(f"evaluation/{name}_{kind}") for kind in ("gt", "dt"))
    rules = kind_of(name).rules  # type: ignore[attr-defined]
    official = kind_of(name).official(truth, skeleton, "pycocotools")  # type: ignore[attr-defined]
    evaluator = WithPeople(official, PeopleEvaluator(AnnotatedPeople.of_coco(truth, skeleton, rules.box_share)))
    scores, alone = evaluator.evaluate(results), official.evaluate(results)
    assert {key: scores[key] for key in alone} == alone
    expected = plain(truth, results, skeleton, rules.box_share)
    assert {key: scores[key] for key in scores if key not in alone} == pytest.approx(expected, rel=1e-9)
    assert set(scores) == set(kind_of(name).metrics(skeleton))
    assert 0.2 < scores[MEAN_OKS] < 1 and 0.2 < scores[TORSO_PCK] < 1


def test_numbers_beside_percent_are_in_percent() -> None:
    class Official:
        def evaluate(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
            return {"Mean": 63.0}

    people = PeopleEvaluator(AnnotatedPeople.of_coco({"annotations": [person(1)]}, UPRIGHT), head=False)
    scores = WithPeople(Official(), people, percent=True).evaluate([result()])
    assert scores == {"Mean": 63.0, MEAN_OKS: 100.0, TORSO_PCK: 100.0, BOX_PCK: 100.0}


def test_many_pairs_are_worked_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    people = [person(number, number % 3) for number in range(9)]
    results = [result(number % 3, shift=float(number)) for number in range(12)]
    whole = evaluated(people, results)
    monkeypatch.setattr("supernet.pose.metrics.people._AT_ONCE", 5)
    assert evaluated(people, results) == whole
