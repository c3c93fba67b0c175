"""What both approaches promise: the same people by datasets and by images, values that are JSON, samples without augmentation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from supernet.errors import UserError
from supernet.pose.bottom_up.augmentation import Augmentation
from supernet.pose.bottom_up.grouping import GroupingSettings
from supernet.pose.bottom_up.inference_settings import InferenceSettings
from supernet.pose.bottom_up.losses import BottomUpLoss
from supernet.pose.bottom_up.targets import TargetSettings
from supernet.pose.bottom_up.task import BottomUpTask
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.images import read_image
from supernet.pose.datasets.people_of_images import annotated_people
from supernet.pose.keypoints import COCO
from supernet.pose.synthetic.dataset import make_synthetic
from supernet.pose.task import DetectedPerson, keypoints_by_image
from tests.pose.top_down.test_task import Oracle, Step, task_of
from tools.bench.decoding_bound import perfect_outputs

INPUT_HW = (128, 96)


def bottom_up_task(**changes: Any) -> BottomUpTask:
    plain = BottomUpTask(
        skeleton=COCO,
        loss=BottomUpLoss(num_joints=17),
        augmentation=Augmentation(),
        targets=TargetSettings(),
        inference=InferenceSettings(128, GroupingSettings(17), COCO.flip_index),
        device=torch.device("cpu"),
        channels_last=False,
        workers=0,
        seed=0,
    )
    return replace(plain, **changes)


class CrowdOracle(nn.Module):
    """Outputs the true maps of each image, whatever the batch: it knows images again by their pixels."""

    def __init__(self, task: BottomUpTask, dataset: PoseDataset) -> None:
        super().__init__()
        self.known: list[tuple[Tensor, list[Tensor]]] = []
        for image in dataset:
            network = _Seen()
            task.predict(network, [read_image(image.path)], (128, 128))
            self.known.append((network.seen[0][0], perfect_outputs(image, 128)))

    def forward(self, images: Tensor) -> list[Tensor]:
        answers = [next(maps for seen, maps in self.known if torch.equal(seen, image)) for image in images]
        return [torch.cat(maps) for maps in zip(*answers, strict=True)]


class _Seen(nn.Module):
    """Keeps what it is shown and finds nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> list[Tensor]:
        self.seen.append(images)
        batch, _, height, width = images.shape
        return [torch.zeros(batch, 34, height // 4, width // 4), torch.zeros(batch, 17, height // 2, width // 2)]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> PoseDataset:
    root = tmp_path_factory.mktemp("task") / "data"
    make_synthetic(root, train=6, val=1, width=128, height=128, max_people=3, seed=1)
    folder = root / "coco"
    return PoseDataset(
        folder / "annotations" / "person_keypoints_train2017.json", folder / "images" / "train2017", COCO
    )


def pixels(dataset: PoseDataset) -> list[Any]:
    return [read_image(image.path) for image in dataset]


def by_image(results: Sequence[Any], dataset: PoseDataset) -> list[Any]:
    return list(keypoints_by_image(results, dataset.image_ids, 17, -1).values())


class TestBottomUp:
    def test_predict_finds_what_is_evaluated(self, crowd: PoseDataset) -> None:
        task = bottom_up_task()
        network = CrowdOracle(task, crowd)
        results = task.detect_all(network, crowd, (128, 128), batch=4)
        people = task.predict(network, pixels(crowd), (128, 128), batch=2)
        assert sum(map(len, people)) == len(results) >= 6
        for found, expected in zip(people, by_image(results, crowd), strict=True):
            np.testing.assert_array_equal([person.keypoints for person in found], expected)
        scores = [person.score for found in people for person in found]
        assert scores == [result["score"] for result in results]
        for person in (person for found in people for person in found):
            joints = person.keypoints[person.keypoints[:, 2] > 0, :2]
            x, y, width, height = person.box
            np.testing.assert_allclose([x, y, x + width, y + height], [*joints.min(0), *joints.max(0)], rtol=1e-5)

    def test_images_of_different_sizes_go_together(self, crowd: PoseDataset) -> None:
        wide, narrow = np.zeros((100, 260, 3), np.uint8), np.zeros((260, 100, 3), np.uint8)
        network = _Seen()
        assert bottom_up_task().predict(network, [wide, narrow, wide], (128, 128)) == [[], [], []]
        assert [tuple(seen.shape) for seen in network.seen] == [(2, 3, 128, 384), (1, 3, 384, 128)]
        assert not network.training

    def test_boxes_are_refused(self) -> None:
        with pytest.raises(UserError, match="boxes are for top-down networks; this one is bottom-up"):
            bottom_up_task().predict(_Seen(), [np.zeros((9, 9, 3), np.uint8)], (128, 128), [[(0, 0, 9, 9)]])

    def test_without_augmentation_a_sample_is_what_testing_sees(self, crowd: PoseDataset) -> None:
        task = bottom_up_task(workers=2)
        plain = task.without_augmentation()
        assert (task.workers, plain.workers) == (2, 0)
        step = Step(3, (0, 1), (128, 128), (None,))  # type: ignore[arg-type]
        (batch,) = plain.batches(crowd, iter([step]))
        (calibration,) = plain.calibration_batches(crowd[:2], (128, 128), 2)
        torch.testing.assert_close(plain.prepare(batch)["inputs"], calibration)
        (other,) = bottom_up_task().batches(crowd, iter([step]))
        assert not torch.equal(other["images"], batch["images"])


class TestTopDown:
    def test_predict_finds_what_is_evaluated(self, crowd: PoseDataset) -> None:
        people = annotated_people(crowd)
        task = task_of(COCO)
        results = task.detect_all(Oracle(people, INPUT_HW), people, INPUT_HW)
        boxes = [[person.bbox for person in people if person.image_id == image.id] for image in crowd]
        found = task.predict(Oracle(people, INPUT_HW), pixels(crowd), INPUT_HW, boxes, batch=4)  # type: ignore[arg-type]
        assert sum(map(len, found)) == len(results)
        for image, expected in zip(found, by_image(results, crowd), strict=True):
            np.testing.assert_array_equal([person.keypoints for person in image], expected)
        assert {person.box for image in found for person in image} <= {person.bbox for person in people}

    def test_a_boxes_score_counts_and_is_1_otherwise(self, crowd: PoseDataset) -> None:
        people = annotated_people(crowd)[:1]
        (image,) = pixels(crowd.subset(people.image_ids))
        assert people[0].bbox is not None
        found = [
            task_of(COCO).predict(Oracle(people, INPUT_HW), [image], INPUT_HW, [[row]])
            for row in (people[0].bbox, (*people[0].bbox, 0.5))
        ]
        ((whole,),), ((half,),) = found
        assert half.score == pytest.approx(whole.score / 2) and whole.score > 0.5

    def test_without_boxes_the_image_is_one(self) -> None:
        network = nn.Conv2d(3, 17, 1, stride=4)
        images = [np.zeros((50, 40, 3), np.uint8), np.zeros((30, 90, 3), np.uint8)]
        (first,), (second,) = task_of(COCO).predict(network, images, INPUT_HW)
        assert first.box == (0, 0, 40, 50) and second.box == (0, 0, 90, 30)
        assert first.keypoints.shape == (17, 3) and first.keypoints.dtype == np.float32
        assert task_of(COCO).predict(network, images, INPUT_HW, [[], []]) == [[], []]
        assert task_of(COCO).predict(network, [], INPUT_HW) == []

    @pytest.mark.parametrize(
        ("boxes", "message"),
        [
            ([], "boxes are for 0 images, there are 1: give a list of boxes for each image"),
            ([[(1, 2, 3)]], r"image 0 has the box \[1.0, 2.0, 3.0\]: give x, y, width and height above 0"),
            ([[(1, 2, 3, 0)]], "give x, y, width and height above 0"),
            ([[(1, 2, float("nan"), 4)]], "give x, y, width and height above 0"),
        ],
    )
    def test_boxes_that_cannot_be_used_are_refused(self, boxes: Any, message: str) -> None:
        with pytest.raises(UserError, match=message):
            task_of(COCO).predict(nn.Identity(), [np.zeros((9, 9, 3), np.uint8)], INPUT_HW, boxes)

    def test_without_augmentation_a_sample_is_what_testing_sees(self, crowd: PoseDataset) -> None:
        people = annotated_people(crowd)
        plain = task_of(COCO).without_augmentation()
        (batch,) = plain.batches(people, iter([Step(3, (0, 1), INPUT_HW, (4,))]))
        (calibration,) = plain.calibration_batches(people[:2], INPUT_HW, 2)
        torch.testing.assert_close(plain.prepare(batch)["inputs"], calibration)


@pytest.mark.parametrize("approach", ["bottom-up", "top-down"])
def test_what_is_detected_survives_a_file(approach: str, crowd: PoseDataset) -> None:
    """Batches of an evaluation are kept as JSON; the results are the same to the last bit."""
    task: Any = bottom_up_task() if approach == "bottom-up" else task_of(COCO)
    dataset: Any = crowd if approach == "bottom-up" else annotated_people(crowd)
    network = CrowdOracle(task, crowd) if approach == "bottom-up" else Oracle(dataset, INPUT_HW)
    found = [one for first in range(0, len(dataset), 3) for one in task.detect(network, dataset[first : first + 3], (128, 96))]  # fmt: skip # noqa: E501
    assert len(found) == len(dataset)
    kept = json.loads(json.dumps(found))
    assert task.results(dataset, kept, (128, 96)) == task.results(dataset, found, (128, 96))


def test_images_that_are_none_are_refused() -> None:
    wrong: Any = np.zeros((9, 9), np.uint8)
    for task in (bottom_up_task(), task_of(COCO)):
        with pytest.raises(UserError, match=r"image 0 is uint8 \(9, 9\): give uint8 RGB of shape \(H, W, 3\)"):
            task.predict(_Seen(), [wrong], INPUT_HW)


def test_results_for_drawing(tmp_path: Path) -> None:
    results = [{"image_id": 3, "keypoints": [1.0] * 51, "score": score} for score in (0.2, 0.4)]
    found = keypoints_by_image(results, [3, 4], 17, 0.3)
    assert found[3].shape == (1, 17, 3) and found[4].shape == (0, 17, 3)
    assert DetectedPerson(found[3][0].astype(np.float32), 0.4, (0, 0, 1, 1)).score == 0.4
