"""The official metrics against numbers made by the original evaluation programs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.io

from supernet.errors import UserError
from supernet.pose.keypoints import COCO, CROWDPOSE, MPII, Skeleton
from supernet.pose.metrics.oks import CROWDPOSE_RULES, OksEvaluator, coco_ap, crowdpose_ap
from supernet.pose.metrics.pckh import pckh
from tests import reference
from tests.paths import REFERENCE

EVALUATORS: dict[str, Callable[..., dict[str, float]]] = {"coco": coco_ap, "crowdpose": crowdpose_ap}


def golden(name: str, kind: str) -> Any:
    return reference.load_json(f"evaluation/{name}_{kind}")


@pytest.fixture(scope="module")
def coco() -> tuple[Any, Any]:
    return golden("coco", "gt"), golden("coco", "dt")


@pytest.fixture(scope="module")
def crowdpose() -> tuple[Any, Any]:
    return golden("crowdpose", "gt"), golden("crowdpose", "dt")


def person(joints: int, offset: float = 0.0, **entries: Any) -> dict[str, Any]:
    """Someone 200 pixels high on image 7; ``entries`` override."""
    keypoints = [value for joint in range(joints) for value in (50.0 + 7 * joint + offset, 20.0 + 12 * joint, 2)]
    known = {"image_id": 7, "category_id": 1, "keypoints": keypoints, "num_keypoints": joints, "iscrowd": 0}
    return {**known, "bbox": [50.0, 20.0, 112.0, 192.0], "area": 12000.0, "id": 1, "score": 0.9, **entries}


def one_person(name: str, **entries: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "crowdIndex": 0.1}, {"id": 9, "crowdIndex": 0.9}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [person({"coco": 17, "crowdpose": 14}[name], **entries)],
    }


class TestGoldens:
    names = {"APm": "APM", "APl": "APL", "ARm": "ARM", "ARl": "ARL"} | {
        f"AP_{crowd}": f"AP{crowd}" for crowd in ("easy", "medium", "hard")
    }

    @pytest.mark.parametrize("name", ["coco", "crowdpose"])
    @pytest.mark.parametrize("backend", ["pycocotools", "faster"])
    def test_every_number_equals_the_official_programs(self, name: str, backend: str) -> None:
        if backend == "faster":
            pytest.importorskip("faster_coco_eval")
        scores = EVALUATORS[name](golden(name, "gt"), golden(name, "dt"), backend=backend)
        expected = {self.names.get(key, key): value for key, value in golden(name, "expected")["stats"].items()}
        assert scores == expected

    @pytest.mark.parametrize("backend", ["pycocotools", "faster"])
    def test_crowd_classes_before_rounding(self, crowdpose: tuple[Any, Any], backend: str) -> None:
        if backend == "faster":
            pytest.importorskip("faster_coco_eval")
        evaluator = OksEvaluator(crowdpose[0], CROWDPOSE, rules=CROWDPOSE_RULES, backend=backend)
        scores = evaluator.evaluate(crowdpose[1], rounded=False)
        expected = golden("crowdpose", "expected")["unrounded_easy_medium_hard"]
        assert [scores[key] for key in ("APeasy", "APmedium", "APhard")] == expected

    def test_a_evaluate_can_be_used_again(self, coco: tuple[Any, Any]) -> None:
        evaluator = OksEvaluator(coco[0], COCO)
        first = evaluator.evaluate(coco[1])
        evaluator.evaluate(coco[1][:100])
        assert evaluator.evaluate(coco[1]) == first

    def test_nothing_is_printed_and_nothing_changed(
        self, crowdpose: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = copy.deepcopy(crowdpose)
        crowdpose_ap(*crowdpose)
        assert crowdpose == before
        captured = capsys.readouterr()
        assert captured.out + captured.err == ""

    def test_a_selection_equals_a_smaller_file(self, coco: tuple[Any, Any]) -> None:
        truth, results = coco
        ids = [image["id"] for image in truth["images"][::5]]
        smaller = {
            "images": [image for image in truth["images"] if image["id"] in ids],
            "annotations": [someone for someone in truth["annotations"] if someone["image_id"] in ids],
            "categories": truth["categories"],
        }
        kept = [result for result in results if result["image_id"] in ids]
        assert coco_ap(truth, results, ids) == coco_ap(smaller, kept)
        assert coco_ap(truth, results, ids) != coco_ap(truth, results)


class TestSmallSets:
    @pytest.mark.parametrize("name", ["coco", "crowdpose"])
    @pytest.mark.parametrize("backend", ["pycocotools", "faster"])
    def test_no_result_scores_zero(self, name: str, backend: str) -> None:
        if backend == "faster":
            pytest.importorskip("faster_coco_eval")
        scores = EVALUATORS[name](golden(name, "gt"), [], backend=backend)
        assert len(scores) in (9, 10)
        assert set(scores.values()) == {0.0}

    @pytest.mark.parametrize("backend", ["pycocotools", "faster"])
    def test_a_kind_nobody_belongs_to_is_nan(self, backend: str) -> None:
        if backend == "faster":
            pytest.importorskip("faster_coco_eval")
        scores = coco_ap(one_person("coco"), [person(17)], backend=backend)
        assert [scores[key] for key in ("AP", "APL", "AR")] == pytest.approx([1.0] * 3)
        assert math.isnan(scores["APM"]) and math.isnan(scores["ARM"])
        scores = crowdpose_ap(one_person("crowdpose"), [person(14)], backend=backend)
        assert [scores[key] for key in ("AP", "APeasy")] == pytest.approx([1.0] * 2)
        assert math.isnan(scores["APmedium"])  # no image of that class
        assert math.isnan(scores["APhard"])  # an image without people

    def test_a_person_with_id_zero_can_be_found(self) -> None:
        assert coco_ap(one_person("coco", id=0), [person(17)])["AP"] == pytest.approx(1.0)

    def test_oks_of_a_shifted_person(self) -> None:
        """Two images, one found exactly, one by an OKS of 0.62: right at 0.50, 0.55, 0.60 and wrong above."""
        skeleton = Skeleton("own", ("a", "b"), ((0, 1),), sigmas=(0.05, 0.05))
        truth = one_person("coco")
        truth["annotations"] = [person(2, id=1), person(2, id=2, image_id=9)]
        shift = math.sqrt(-math.log(0.62) * 2 * 12000 * 0.1**2)
        found = [person(2), person(2, offset=shift, image_id=9, score=0.5)]
        scores = OksEvaluator(truth, skeleton).evaluate(found)
        assert scores["AR"] == pytest.approx((3 * 1.0 + 7 * 0.5) / 10)
        assert (scores["AR50"], scores["AR75"]) == (1.0, 0.5)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"image_id": 8}, r"result 1 is for image 8, which is not in the ground truth"),
            ({"keypoints": [1.0] * 42}, r"result 1 \(image 7\) has 14 joints, skeleton 'coco' has 17"),
            ({"keypoints": [math.nan] * 51}, r"result 1 \(image 7\) has a number that is not finite"),
            ({"score": math.inf}, r"result 1 \(image 7\) has a number that is not finite"),
            ({"score": None}, r"result 1 has no 'score'"),
        ],
    )
    def test_a_bad_result_is_refused_in_one_line(self, change: dict[str, Any], message: str) -> None:
        bad = person(17) | change
        bad = {key: value for key, value in bad.items() if value is not None}
        with pytest.raises(UserError, match=message) as caught:
            coco_ap(one_person("coco"), [person(17), bad])
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda truth: OksEvaluator(truth, CROWDPOSE), "annotation 1 has 17 joints, skeleton 'crowdpose' has 14"),
            (lambda truth: OksEvaluator(truth, MPII), "skeleton 'mpii' has no OKS sigmas"),
            (lambda truth: OksEvaluator(truth, COCO, backend="fast"), "backend 'fast' is not known"),
            (lambda truth: OksEvaluator(truth, COCO, [7, 10]), "image id 10 to evaluate is not among"),
            (lambda truth: OksEvaluator(truth | {"images": []}, COCO), "has no image to evaluate"),
            (lambda truth: OksEvaluator({"images": []}, COCO), "has no 'annotations'"),
        ],
    )
    def test_a_bad_ground_truth_is_refused(self, call: Callable[[Any], object], message: str) -> None:
        with pytest.raises(UserError, match=message):
            call(one_person("coco"))

    def test_missing_entries_of_the_ground_truth_are_named(self) -> None:
        truth = one_person("coco")
        del truth["annotations"][0]["area"]
        with pytest.raises(UserError, match="annotation 1 has no 'area'"):
            OksEvaluator(truth, COCO)
        truth = one_person("crowdpose")
        del truth["annotations"][0]["area"], truth["images"][1]["crowdIndex"]
        with pytest.raises(UserError, match="image 9 has no 'crowdIndex'"):
            OksEvaluator(truth, CROWDPOSE, rules=CROWDPOSE_RULES)


class TestPckh:
    @pytest.fixture
    def mpii(self) -> tuple[Any, Any]:
        truth = scipy.io.loadmat(REFERENCE / "evaluation" / "mpii_gt_val.mat")
        return reference.load_arrays("evaluation/mpii_preds")["preds"], truth

    def test_the_golden_set(self, mpii: tuple[Any, Any]) -> None:
        """Planted ties and NaN included."""
        expected = golden("mpii", "expected")
        scores = pckh(*mpii)
        groups = ("Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
        assert {name: scores[name] for name in groups} == {name: expected["hrnet"][name] for name in groups}
        assert scores["Mean"] == expected["mean_pckh"]["0.5"]
        assert scores["Mean@0.1"] == expected["mean_pckh"]["0.1"]
        assert scores["Mean@0.1"] != pytest.approx(expected["hrnet"]["Mean@0.1"], abs=1)  # that one is at 0.11

    def test_joint_names_as_a_character_array(self, mpii: tuple[Any, Any]) -> None:
        predictions, truth = mpii
        names = np.array([list(str(np.ravel(name)[0]).ljust(6)) for name in truth["dataset_joints"][0]])
        for shape in (names, np.array(["".join(letters) for letters in names])):
            assert pckh(predictions, truth | {"dataset_joints": shape}) == pckh(predictions, truth)

    def test_a_joint_nobody_shows_is_nan_and_does_not_spoil_the_mean(self, mpii: tuple[Any, Any]) -> None:
        predictions, truth = mpii
        missing = truth["jnt_missing"].copy()
        missing[9] = 1
        scores = pckh(predictions, truth | {"jnt_missing": missing})
        assert math.isnan(scores["Head"])
        assert scores["Mean"] == pytest.approx(pckh(predictions, truth)["Mean"], abs=1)

    def test_bad_input_is_refused(self, mpii: tuple[Any, Any]) -> None:
        predictions, truth = mpii
        with pytest.raises(UserError, match=r"shape \(5, 16, 3\), the ground truth is of 240 people with 16 joints"):
            pckh(predictions[:5], truth)
        with pytest.raises(UserError, match="has no 'headboxes_src'"):
            pckh(predictions, {key: truth[key] for key in truth if key != "headboxes_src"})
