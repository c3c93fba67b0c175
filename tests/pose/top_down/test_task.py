"""Top-down from images to the official metric, with a network that knows the truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from supernet.errors import UserError
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.kinds import kind_of
from supernet.pose.datasets.mpii import mpii_people
from supernet.pose.datasets.people import PeopleDataset
from supernet.pose.datasets.people_of_images import annotated_people, detected_people
from supernet.pose.geometry import warp_keypoints
from supernet.pose.keypoints import COCO, CROWDPOSE, MPII, Skeleton
from supernet.pose.metrics.mpii import MpiiEvaluator
from supernet.pose.synthetic.dataset import make_synthetic
from supernet.pose.top_down.crop import crop_matrix, crop_region
from supernet.pose.top_down.decoding import DecodingSettings
from supernet.pose.top_down.losses import PersonLoss
from supernet.pose.top_down.oks_nms import SuppressionSettings
from supernet.pose.top_down.samples import PersonAugmentation
from supernet.pose.top_down.targets import PersonTargetSettings, person_targets
from supernet.pose.top_down.task import TopDownTask
from tests.paths import IMAGES, REFERENCE

INPUT_HW = (128, 96)


def task_of(skeleton: Skeleton, **changes: Any) -> TopDownTask:
    """A task on the CPU without augmentation; ``changes`` override."""
    plain = TopDownTask(
        skeleton=skeleton,
        loss=PersonLoss(),
        augmentation=PersonAugmentation.none(),
        decoding=DecodingSettings(),
        suppression=SuppressionSettings() if skeleton.sigmas else None,
        stride_of=lambda stride: int(stride),
        targets=PersonTargetSettings(),
        rgb=True,
        device=torch.device("cpu"),
        channels_last=False,
        workers=0,
        seed=0,
    )
    return replace(plain, **changes)


class Oracle(nn.Module):
    """Outputs the true heatmaps of people, in the order in which they are asked for; crops may be mirrored."""

    def __init__(self, people: PeopleDataset, input_hw: tuple[int, int], stride: int = 4, flip: bool = False) -> None:
        super().__init__()
        self.people, self.input_hw, self.stride, self.flip = people, input_hw, stride, flip
        self.asked = 0
        self.mirrored = False

    def forward(self, images: Tensor) -> Tensor:
        maps = []
        for person in self.people[self.asked : self.asked + len(images)]:
            matrix = crop_matrix(*crop_region(person, self.input_hw[1] / self.input_hw[0]), 0.0, self.input_hw[::-1])
            keypoints = warp_keypoints(person.keypoints_K3, matrix)
            settings = PersonTargetSettings(self.stride, 2.0, unbiased=True)
            maps.append(person_targets(keypoints, self.people.skeleton, self.input_hw, settings)[0])
        heatmaps = torch.from_numpy(np.stack(maps))
        if self.mirrored:
            heatmaps = heatmaps.flip(3)[:, list(self.people.skeleton.flip_index)]
        if self.mirrored or not self.flip:
            self.asked += len(images)
        self.mirrored = self.flip and not self.mirrored
        return heatmaps


def real_images(kind: str) -> PoseDataset:
    root = IMAGES / kind
    if kind == "crowdpose":
        return PoseDataset(root / "json" / "crowdpose_test.json", root / "images", CROWDPOSE)
    return PoseDataset(root / "annotations" / "person_keypoints_val2017.json", root / "val2017", COCO)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> PoseDataset:
    """A synthetic dataset in COCO's layout."""
    root = tmp_path_factory.mktemp("crowd") / "made"
    make_synthetic(root, train=1, val=6)
    return PoseDataset(
        root / "coco" / "annotations" / "person_keypoints_val2017.json", root / "coco" / "images" / "val2017", COCO
    )


@pytest.fixture
def people(crowd: PoseDataset) -> PeopleDataset:
    """The people of it."""
    return annotated_people(crowd)


class TestOfficialMetric:
    @pytest.mark.parametrize(
        "kind", ["synthetic", *(pytest.param(kind, marks=pytest.mark.real_images) for kind in ("coco", "crowdpose"))]
    )
    @pytest.mark.parametrize("flip", [False, True])
    def test_true_heatmaps_are_perfect(self, crowd: PoseDataset, kind: str, flip: bool) -> None:
        people = annotated_people(crowd if kind == "synthetic" else real_images(kind))
        task = task_of(people.skeleton, decoding=DecodingSettings(flip=flip, blur_kernel=11))
        network = Oracle(people, INPUT_HW, flip=flip)
        evaluator = kind_of("coco" if kind == "synthetic" else kind).evaluator(people)
        seen: list[int] = []
        metrics, results = task.evaluate(network, people, evaluator, INPUT_HW, batch=7, on_progress=seen.append)
        assert metrics["AP"] > 0.97 and min(metrics["mOKS"], metrics["PCK@0.2"]) > 0.95
        assert seen[-1] == len(people)
        assert {result["image_id"] for result in results} == {person.image_id for person in people}

    def test_a_shifted_flip_moves_joints_by_half_a_cell(self, people: PeopleDataset) -> None:
        people = people[:4]
        found = {}
        for shift in (False, True):
            task = task_of(COCO, decoding=DecodingSettings(flip=True, shift=shift, blur_kernel=11))
            found[shift] = np.array(task.detect(Oracle(people, INPUT_HW, flip=True), people, INPUT_HW)).reshape(
                -1, 17, 3
            )
        for person, plain, moved in zip(people, found[False], found[True], strict=True):
            cell = crop_region(person, 96 / 128)[1][0] * 200 / 24
            seen = (person.keypoints_K3[:, 2] > 0) & (plain[:, 2] > 0.9)
            assert seen.any()
            np.testing.assert_allclose((moved - plain)[seen, 0], 0.5 * cell, atol=0.1 * cell)
            np.testing.assert_allclose((moved - plain)[seen, 1], 0, atol=0.1 * cell)

    def test_full_size_heatmaps_need_no_refinement(self, people: PeopleDataset) -> None:
        people = people[:6]
        task = task_of(COCO, decoding=DecodingSettings(refine=False))
        found = np.array(task.detect(Oracle(people, INPUT_HW, stride=1), people, INPUT_HW)).reshape(-1, 17, 3)
        for person, joints in zip(people, found, strict=True):
            seen = (person.keypoints_K3[:, 2] > 0) & (joints[:, 2] > 0.5)
            pixel = crop_region(person, 96 / 128)[1][0] * 200 / 96
            assert np.abs(joints[seen, :2] - person.keypoints_K3[seen, :2]).max() < 0.55 * pixel

    def test_mpii_is_evaluated_row_by_row(self, tmp_path: Path) -> None:
        make_synthetic(tmp_path / "crowd", train=1, val=4, width=128, height=128)
        annot = tmp_path / "crowd" / "mpii" / "annot"
        people = mpii_people(annot / "valid.json", annot.parent / "images")
        task = task_of(MPII)
        rows = [person.annotation_id for person in people]
        evaluator = MpiiEvaluator(annot / "gt_valid.mat", rows, len(people))
        metrics, results = task.evaluate(Oracle(people, INPUT_HW), people, evaluator, INPUT_HW)
        assert metrics["Mean"] == 100
        assert len(results) == len(people)
        scores = kind_of("mpii").evaluator(people).evaluate(results)
        assert {name: scores[name] for name in metrics} == pytest.approx(metrics, nan_ok=True)
        assert set(scores) == set(kind_of("mpii").metrics(MPII)) and "PCKh@0.5" not in scores
        assert 95 < scores["mOKS"] <= 100 and 95 < scores["PCK@0.2"] <= 100
        # half of the people, and the wrong half
        half = people[: len(people) // 2]
        _, results = task.evaluate(
            Oracle(half, INPUT_HW), half, MpiiEvaluator(annot / "gt_valid.mat", rows[: len(half)], len(rows)), INPUT_HW
        )
        assert MpiiEvaluator(annot / "gt_valid.mat", rows[: len(half)], len(rows)).evaluate(results)["Mean"] == 100
        assert MpiiEvaluator(annot / "gt_valid.mat", rows[-len(half) :], len(rows)).evaluate(results)["Mean"] < 50


class TestResults:
    def detections(self, crowd: PoseDataset, folder: Path, scores: list[float]) -> PeopleDataset:
        """The first annotated person of a dataset, found several times."""
        person = annotated_people(crowd)[0]
        box = {"image_id": person.image_id, "category_id": 1, "bbox": list(person.bbox or ())}
        (folder / "boxes.json").write_text(json.dumps([box | {"score": score} for score in scores]))
        return detected_people(crowd, folder / "boxes.json", 0.0)

    def test_the_best_of_copies_stays_with_its_boxs_score(self, crowd: PoseDataset, tmp_path: Path) -> None:
        people = self.detections(crowd, tmp_path, [0.4, 0.9, 0.6])
        joints = [float(value) for k in range(17) for value in (10 * k, 5 * k, 0.5 if k < 4 else 0.1)]
        (result,) = task_of(COCO).results(people, [joints] * 3, INPUT_HW)
        assert result["score"] == pytest.approx(0.9 * 0.5)  # joints of 0.1 do not count
        assert result["keypoints"] == joints
        soft = task_of(COCO, suppression=SuppressionSettings(soft=True)).results(people, [joints] * 3, INPUT_HW)
        assert [one["score"] for one in soft] == pytest.approx([0.45, 0.3, 0.2])

    def test_results_say_whose_they_are_in_annotated_boxes_only(self, crowd: PoseDataset, tmp_path: Path) -> None:
        people = annotated_people(crowd)
        found = [person.keypoints_K3.ravel().tolist() for person in people]
        results = task_of(COCO, suppression=None).results(people, found, INPUT_HW)
        assert [result["annotation_id"] for result in results] == [person.annotation_id for person in people]
        detected = self.detections(crowd, tmp_path, [0.4])
        (result,) = task_of(COCO).results(detected, found[:1], INPUT_HW)
        assert "annotation_id" not in result

    def test_people_who_differ_all_stay(self, crowd: PoseDataset, tmp_path: Path) -> None:
        people = self.detections(crowd, tmp_path, [0.4, 0.9])
        here = [1.0] * 51
        there = [300.0] * 51
        assert len(task_of(COCO).results(people, [here, there], INPUT_HW)) == 2

    def test_similarity_is_measured_against_the_crops_area(self, crowd: PoseDataset, tmp_path: Path) -> None:
        people = self.detections(crowd, tmp_path, [0.4, 0.9])
        area = float(np.prod(crop_region(people[0], 96 / 128)[1] * 200))
        for oks, kept in ((0.85, 2), (0.75, 1)):  # one offset for all joints that gives an OKS of 0.8
            distances = np.linspace(0, 500, 50001)
            sigmas = np.array(COCO.sigmas) * 2
            curve = np.exp(-(distances[:, None] ** 2) / sigmas**2 / area / 2).mean(1)
            offset = float(distances[np.abs(curve - 0.8).argmin()])
            first = np.zeros((17, 3))
            second = first + [offset, 0, 0]
            found = [first.ravel().tolist(), second.ravel().tolist()]
            task = task_of(COCO, suppression=SuppressionSettings(oks=oks))
            assert len(task.results(people, found, INPUT_HW)) == kept


@dataclass(frozen=True)
class Step:
    number: int
    images: tuple[int, ...]
    input_hw: tuple[int, int]
    architectures: tuple[int, ...]
    offset: int = 0


class TestBatches:
    def steps(self) -> Iterator[Step]:
        yield Step(5, (0, 3, 0), (128, 96), (4,))
        yield Step(6, (1,), (96, 64), (4,))

    def task(self, **changes: Any) -> TopDownTask:
        return task_of(COCO, augmentation=PersonAugmentation(), **changes)

    def test_each_step_has_its_input_size(self, people: PeopleDataset) -> None:
        batches = list(self.task().batches(people, self.steps()))
        assert [tuple(batch["images"].shape) for batch in batches] == [(3, 128, 96, 3), (1, 96, 64, 3)]
        assert [tuple(batch["heatmaps"].shape) for batch in batches] == [(3, 17, 32, 24), (1, 17, 24, 16)]
        assert tuple(batches[0]["weights"].shape) == (3, 17)

    def test_a_step_follows_from_its_number_and_the_seed(self, people: PeopleDataset) -> None:
        first, second = (next(self.task().batches(people, self.steps())) for _ in range(2))
        torch.testing.assert_close(first, second)
        other = next(self.task(seed=1).batches(people, self.steps()))
        assert not torch.equal(first["images"], other["images"])
        assert not torch.equal(first["images"][0], first["images"][2])  # the same person, drawn twice

    def test_the_heatmaps_have_the_stride_of_what_is_trained(self, people: PeopleDataset) -> None:
        step = Step(0, (0,), (128, 96), (1,))
        (batch,) = self.task().batches(people, iter([step]))
        assert tuple(batch["heatmaps"].shape) == (1, 17, 128, 96)

    def test_a_batch_can_be_trained_on(self, people: PeopleDataset) -> None:
        task = self.task()
        batch = task.prepare(next(task.batches(people, self.steps())))
        assert tuple(batch["inputs"].shape) == (3, 3, 128, 96)
        loss, _ = task.loss(batch["heatmaps"] + 0.1, batch)
        assert float(loss) == pytest.approx(0.5 * 0.01 * float(batch["weights"].mean()), rel=1e-4)

    def test_colours_in_opencvs_order(self) -> None:
        images = torch.randint(0, 255, (1, 4, 4, 3), dtype=torch.uint8)
        torch.testing.assert_close(self.task(rgb=False).inputs(images), self.task().inputs(images.flip(3)))

    def test_calibration_sees_everybody_as_in_testing(self, people: PeopleDataset) -> None:
        people, task = people[:5], self.task()
        batches = list(task.calibration_batches(people, (96, 64), 2))
        assert [len(batch) for batch in batches] == [2, 2, 1]
        network = nn.Conv2d(3, 17, 1)
        seen: list[Tensor] = []
        network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        task.detect(network, people[:2], (96, 64))
        torch.testing.assert_close(seen[0], batches[0])


class TestMpiiEvaluator:
    def test_a_missing_file_is_named_with_the_key(self, tmp_path: Path) -> None:
        with pytest.raises(
            UserError, match=r"gt_valid.mat: no such file; PCKh needs .*put it there, or set DATASET.MPII_GT"
        ):
            MpiiEvaluator(tmp_path / "gt_valid.mat", [0], 1)
        (tmp_path / "text.mat").write_text("no matrix at all, but long enough for a header" * 9)
        with pytest.raises(UserError, match=r"text.mat: is no MATLAB file"):
            MpiiEvaluator(tmp_path / "text.mat", [0], 1)

    def test_the_file_of_another_split(self) -> None:
        file = REFERENCE / "evaluation" / "mpii_gt_val.mat"
        with pytest.raises(
            UserError, match=r"mpii_gt_val.mat: has 240 people in 'jnt_missing', the annotation file has 5"
        ):
            MpiiEvaluator(file, range(5), 5)
