"""Mean OKS and PCK of single people, against the definitions written out and against the official evaluator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from supernet.errors import UserError
from supernet.pose.datasets.people import PersonInstance
from supernet.pose.keypoints import COCO, CROWDPOSE, MPII
from supernet.pose.metrics.oks import OksEvaluator
from supernet.pose.metrics.one_person import person_oks, person_pck

K = 14


def someone(number: int = 0, labelled: int = K) -> PersonInstance:
    rng = np.random.default_rng(number)
    joints_K3 = np.concatenate([rng.uniform(20, 180, (K, 2)), np.full((K, 1), 2.0)], axis=1).astype(np.float32)
    joints_K3[labelled:] = 0
    return PersonInstance(Path("x.jpg"), number, number, (10, 10, 190, 180), None, None, joints_K3, 1.0, 18126.0)


def moved(person: PersonInstance, *offsets: float) -> np.ndarray:
    """The truth, with the joints moved to the right."""
    joints_K3 = person.keypoints_K3.copy()
    joints_K3[: len(offsets), 0] += offsets
    return joints_K3


def test_a_perfect_prediction() -> None:
    people = [someone(0), someone(1, labelled=8)]
    predicted = np.stack([person.keypoints_K3 for person in people])
    assert person_oks(predicted, people, CROWDPOSE).tolist() == [1.0, 1.0]
    assert person_pck(predicted, people, CROWDPOSE).tolist() == [1.0, 1.0]


def test_oks_is_that_of_the_official_evaluator() -> None:
    """Whoever scores s counts as found at all thresholds up to s."""
    person = someone(3)
    for shift in (2.0, 5.0, 9.0):
        predicted_K3 = moved(person, *[shift] * K)
        oks = float(person_oks(predicted_K3[None], [person], CROWDPOSE)[0])
        truth = {
            "images": [{"id": 3, "crowdIndex": 0.0}],
            "categories": [{"id": 1, "name": "person"}],
            "annotations": [
                {
                    "id": 1,
                    "image_id": 3,
                    "category_id": 1,
                    "iscrowd": 0,
                    "num_keypoints": K,
                    "bbox": list(person.bbox or ()),
                    "keypoints": person.keypoints_K3.ravel().tolist(),
                }
            ],
        }
        result = {"image_id": 3, "category_id": 1, "keypoints": predicted_K3.ravel().tolist(), "score": 1.0}
        ap = OksEvaluator(truth, CROWDPOSE).evaluate([result])["AP"]
        assert ap == pytest.approx((np.arange(0.5, 1.0, 0.05) <= oks).mean())


def test_pck_counts_joints_near_their_place() -> None:
    """Two of fourteen joints lie beyond a fifth of the torso."""
    person = someone(4)
    torso = float(np.hypot(*(person.keypoints_K3[0, :2] - person.keypoints_K3[7, :2])))
    predicted = moved(person, 0, 0.19 * torso, 0.21 * torso, 0.5 * torso)[None]
    assert person_pck(predicted, [person], CROWDPOSE)[0] == pytest.approx(12 / 14)
    assert person_pck(predicted, [person], CROWDPOSE, threshold=0.6)[0] == 1.0


def test_who_cannot_be_scored_is_not_a_number() -> None:
    nobody, without_torso = someone(5, labelled=0), someone(6)
    without_torso.keypoints_K3[[7, 6]] = 0
    predicted = np.zeros((2, K, 3), np.float32)
    assert np.isnan(person_oks(predicted, [nobody, without_torso], CROWDPOSE)).tolist() == [True, False]
    assert np.isnan(person_pck(predicted, [nobody, without_torso], CROWDPOSE)).tolist() == [True, True]


def test_coco_has_the_annotated_area_and_mpii_no_oks() -> None:
    joints_K3 = np.zeros((17, 3), np.float32)
    joints_K3[0] = 10, 10, 2
    person = replace(someone(7), keypoints_K3=joints_K3, area=100.0)
    predicted = joints_K3 + np.array([3, 0, 0], np.float32)
    expected = np.exp(-9 / (2 * (2 * COCO.sigmas[0]) ** 2 * 100))
    assert person_oks(predicted[None], [person], COCO)[0] == pytest.approx(expected)
    with pytest.raises(UserError, match="has no OKS sigmas"):
        person_oks(predicted[None], [person], MPII)
