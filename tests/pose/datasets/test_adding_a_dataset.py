"""CONTRIBUTING's example: a dataset kind is one file and one line, for every program, both approaches and the report."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from search_spaces import hrnet, litepose
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.pipeline.data import Data
from supernet.pipeline.run import Run
from supernet.pose.datasets.coco_kind import CocoKind
from supernet.pose.datasets.kind import Files
from supernet.pose.datasets.kinds import KINDS, kind_of
from supernet.pose.keypoints import Skeleton
from supernet.pose.metrics.score import Score
from supernet.pose.protocols import KeypointDataset
from tests.paths import ROOT

# ------------------------------------------------------------------------------ the file: datasets/infants.py


class Infants(CocoKind):
    """``<split>.json`` in COCO's format, and ``photos``."""

    name = "infants"
    approaches = {"infants_kpt": "bottom-up", "infants": "top-down"}
    skeleton = Skeleton(
        name="infants",
        joints=("head", "left_hand", "right_hand", "left_foot", "right_foot"),
        limbs=((0, 1), (0, 2), (0, 3), (0, 4)),
        sigmas=(0.08, 0.06, 0.06, 0.09, 0.09),
    )

    def files(self, root: Path, split: str) -> Files:
        """Where a split lies."""
        return Files(root / f"{split}.json", root / "photos")


# ------------------------------------------------------------------------------------------------------ the line


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supernet.pose.datasets.kinds.KINDS", [*KINDS, Infants()])


# --------------------------------------------------------------------------------------------------------- tests


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight images of one to two infants; the category's id is 7."""
    rng, images, people = np.random.default_rng(0), [], []
    (tmp_path / "photos").mkdir()
    for number in range(8):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), rng.integers(0, 255, (96, 128, 3), np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": 128, "height": 96})
        for side in range(1 + number % 2):
            xy = rng.integers(10, 55, (5, 2)) + [60 * side, 20]
            keypoints = np.column_stack([xy, np.full(5, 2)]).ravel().tolist()
            (x, y), (w, h) = xy.min(0).tolist(), np.ptp(xy, axis=0).tolist()
            people.append(
                {"id": len(people), "image_id": number, "category_id": 7, "keypoints": keypoints, "num_keypoints": 5,
                 "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
            )  # fmt: skip
    categories = [{"id": 7, "name": "infant", "keypoints": list(Infants.skeleton.joints)}]
    content = json.dumps({"images": images, "annotations": people, "categories": categories})
    for split in ("train", "val"):
        (tmp_path / f"{split}.json").write_text(content)
    return tmp_path


def run_of(root: Path, name: str, *overrides: str) -> Run:
    data = ["DATASET.DATASET", name, "DATASET.ROOT", str(root), "DATASET.TRAIN", "train", "DATASET.TEST", "val"]
    more = ["MODEL.NUM_JOINTS", "5", "DATASET.SEARCH_IMAGES", "2", "TEST.USE_GT_BBOX", "true", "DEVICE", "cpu"]
    family = "hrnet" if kind_of(name).approaches[name] == "top-down" else "litepose"
    given = [*data, *more, "DATASET.SYNTHETIC.TRAIN", "0", "WORKERS", "0", *overrides]
    return Run(load_config(ROOT / "experiments" / "synthetic" / f"{family}.yaml", given), root / "own.yaml")


@pytest.mark.parametrize(("name", "unit"), [("infants_kpt", "images"), ("infants", "people")])
def test_its_images_and_people_are_read_split_and_evaluated(root: Path, name: str, unit: str) -> None:
    run = run_of(root, name)
    assert run.task.unit == unit and run.score == "AP"
    assert len(run.test) == {"images": 8, "people": 12}[unit]
    assert not set(run.train.image_ids) & set(run.search.image_ids) and len(run.search.image_ids) == 2
    assert [image.path.name for image in run.test.images()] == [f"{number}.png" for number in range(8)]
    assert not run.data.withheld
    results = [
        {"image_id": entry["image_id"], "category_id": 7, "keypoints": entry["keypoints"], "score": 0.9}
        for entry in run.test.ground_truth()["annotations"]
    ]
    assert run.evaluator(run.test).evaluate(results)["AP"] == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["infants_kpt", "infants"])
def test_networks_are_built_trained_and_evaluated_for_it(root: Path, name: str) -> None:
    run = run_of(root, name)
    arch = (
        replace(hrnet.SMALL.smallest, resolution=(96, 64)) if name == "infants" else litepose.SPACES["small"].smallest
    )
    network = run.build(arch)
    metrics = run.metrics(network, run.test, arch)
    assert 0 <= metrics["AP"] <= 1
    results = run.task.detect_all(network, run.test[:3], arch.input_hw)
    assert all(result["category_id"] == 7 and len(result["keypoints"]) == 15 for result in results)


def test_a_submission_is_cocos(root: Path, tmp_path: Path) -> None:
    kind = kind_of("infants")
    results = [{"image_id": 0, "category_id": 7, "keypoints": [0.0] * 15, "score": 0.5}]
    kind.write_submission(tmp_path / f"found{kind.submission_suffix}", results)
    assert json.loads((tmp_path / "found.json").read_text()) == results


def test_what_it_has_not_is_said_in_one_line(root: Path) -> None:
    with pytest.raises(
        UserError, match="synthetic dataset has no annotations of infants, only coco, crowdpose, mpii: set"
    ):
        run_of(root, "infants", "DATASET.SYNTHETIC.TRAIN", "5").test  # noqa: B018
    with pytest.raises(UserError, match="crowdposetools evaluates CrowdPose only"):
        run = run_of(root, "infants", "TEST.METRIC_BACKEND", "crowdposetools")
        run.evaluator(run.test)
    with pytest.raises(
        UserError, match=r"'infant' is not known; there are coco_kpt, .*, mpii, lsp, infants_kpt, infants$"
    ):
        Data(load_config(None, ["DATASET.DATASET", "infant"])).kind  # noqa: B018
    with pytest.raises(UserError, match="TEST.COCO_BBOX_FILE is empty; set it to a detector's boxes"):
        run_of(root, "infants", "TEST.USE_GT_BBOX", "false").test  # noqa: B018


# ------------------------------------------------------------------------------------- a metric of one's own


class Found:
    """How many people of 100 were found at all."""

    def __init__(self, dataset: KeypointDataset[Any]) -> None:
        self.people = sum(len(image.keypoints_PK3) for image in dataset.images())

    def evaluate(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        return {"Found": 100 * min(1.0, len(results) / self.people), "results": len(results)}


class InfantsInPercent(Infants):
    """The same with a metric in percent, one result for each person."""

    approaches = {"infants_percent": "top-down"}
    score = Score("Found", percent=True)
    annotated_crops = one_result_each = True

    def evaluator(self, dataset: KeypointDataset[Any], **_: Any) -> Found:
        return Found(dataset)


def test_a_score_in_percent_is_known_as_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supernet.pose.datasets.kinds.KINDS", [InfantsInPercent()])
    run = run_of(root, "infants_percent", "TEST.USE_GT_BBOX", "false")  # own crops need no boxes
    arch = replace(hrnet.SMALL.smallest, resolution=(96, 64))
    assert (run.score, run.percent) == ("Found", True)
    assert run.metrics(run.build(arch), run.test, arch)["Found"] == 100  # of everybody, also where two are alike


def test_a_wrong_unit_is_refused() -> None:
    metrics = {"Mean": 63.4, "Head": 90.0}
    assert Score("Mean", percent=True).checked(metrics) == metrics
    assert Score("AP").checked({"AP": 0.5}) == {"AP": 0.5}
    assert np.isnan(Score("AP").checked({"AP": float("nan")})["AP"])
    with pytest.raises(UserError, match="the metric's Mean is 63.4, not between 0 and 1: correct the unit"):
        Score("Mean").checked(metrics)
    with pytest.raises(UserError, match="the metric has no 'AP', it has Mean: correct the dataset's score"):
        Score("AP").checked({"Mean": 0.5})


def test_contributing_shows_the_example() -> None:
    assert f"```python\n{inspect.getsource(Infants)}```" in (ROOT / "CONTRIBUTING.md").read_text()
