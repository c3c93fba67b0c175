"""Top-down pose estimation as a task: batches for the training loop, its loss, decoding, and results that can be evaluated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from supernet.errors import UserError

from ..bottom_up.inference import normalise
from ..bottom_up.task import PlannedStep, to_device
from ..datasets.images import read_image
from ..datasets.loader import load
from ..datasets.people import PeopleDataset, PersonInstance
from ..keypoints import MPII, Skeleton
from .crop import PersonAugmentation, PersonSample, crop_image, crop_region, person_sample
from .decoding import DecodingSettings, decode, merge_mirrored
from .losses import PersonLoss
from .oks_nms import oks_nms, rescored, soft_oks_nms


class PersonStep(PlannedStep, Protocol):
    """What a batch needs to know of a training step; its ``images`` are positions of people."""

    @property
    def architectures(self) -> Sequence[Any]:
        """What the step trains; all answer with heatmaps of one stride."""
        ...


class AnyEvaluator(Protocol):
    """The official metric on a dataset."""

    def evaluate(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The scores of results."""
        ...


@dataclass(frozen=True)
class SuppressionSettings:
    """HRNet's rules for people of one image.

    Attributes:
        lowest_joint: joints with more than this score count in a person's score.
        oks: of two people with a higher OKS, the weaker is dropped.
        soft: only weaken it in the order, and keep 20.
    """

    lowest_joint: float = 0.2
    oks: float = 0.9
    soft: bool = False


@dataclass(frozen=True)
class TopDownTask:
    """Everything between people in boxes and a network's heatmaps, and between its heatmaps and results.

    ``sigma`` is in cells of the heatmaps. ``stride_of`` says of an architecture how many input pixels a cell of its heatmaps
    has. ``rgb`` false feeds the channels in OpenCV's order, as networks without COLOR_RGB were trained.
    """

    skeleton: Skeleton
    loss: PersonLoss
    augmentation: PersonAugmentation
    decoding: DecodingSettings
    suppression: SuppressionSettings
    stride_of: Callable[[Any], int]
    sigma: float
    unbiased: bool
    weigh_joints: bool
    rgb: bool
    device: torch.device
    channels_last: bool
    workers: int
    seed: int

    def batches(self, dataset: PeopleDataset, steps: Iterator[PersonStep]) -> Iterator[Mapping[str, Any]]:
        """The batch of each step, its heatmaps made for the input size that the step drew."""
        pin = self.device.type == "cuda"
        requests = _Requests(self, steps)
        return load(_Samples(self, dataset), len(dataset), requests, collate, workers=self.workers, pin=pin)

    def prepare(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """The batch on the device, with normalised ``inputs`` (B, 3, H, W)."""
        moved = {name: to_device(value, self.device) for name, value in batch.items()}
        moved["inputs"] = self.inputs(moved["images"])
        return moved

    def inputs(self, images: Tensor) -> Tensor:
        """uint8 RGB crops (B, H, W, 3) as network input (B, 3, H, W)."""
        images = images.to(self.device)
        return normalise(images if self.rgb else images.flip(3), channels_last=self.channels_last)

    def calibration_batches(self, dataset: PeopleDataset, input_hw: tuple[int, int], batch: int) -> Iterator[Tensor]:
        """Network inputs of a whole dataset at one size, without augmentation."""
        for first in range(0, len(dataset), batch):
            yield self.inputs(self._crops(dataset[first : first + batch], input_hw)[0])

    def evaluate(
        self,
        network: nn.Module,
        dataset: PeopleDataset,
        evaluator: AnyEvaluator,
        input_hw: tuple[int, int],
        *,
        batch: int = 32,
        on_progress: Callable[[int], None] | None = None,
    ) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """The official metric of a network on a dataset, and the results that were evaluated."""
        found: list[list[float]] = []
        for first in range(0, len(dataset), batch):
            found += self.detect(network, dataset[first : first + batch], input_hw)
            if on_progress is not None:
                on_progress(len(found))
        results = self.results(dataset, found, input_hw)
        return evaluator.evaluate(results), results

    @torch.inference_mode()
    def detect(self, network: nn.Module, dataset: PeopleDataset, input_hw: tuple[int, int]) -> list[list[float]]:
        """Joints of one batch of people: of each (x, y, score) * K in pixels of the image.

        Args:
            network: from (B, 3, H, W) to heatmaps (B, K, h, w) in eval mode, in which it is left.
            dataset: the people of the batch.
            input_hw: height and width of the crops.

        Raises:
            UserError: the network answers with something else.
        """
        network.eval()
        crops, centers, scales = self._crops(dataset, input_hw)
        inputs = self.inputs(crops)
        heatmaps = one_person(network(inputs)).float()
        if self.decoding.flip:
            mirrored = one_person(network(inputs.flip(3))).float()
            heatmaps = merge_mirrored(heatmaps, mirrored, self.skeleton.flip_index, self.decoding.shift)
        joints = decode(heatmaps.cpu().numpy(), centers, scales, self.decoding)
        return [person.ravel().tolist() for person in joints]

    def results(
        self, dataset: PeopleDataset, found: Sequence[Sequence[float]], input_hw: tuple[int, int]
    ) -> list[dict[str, Any]]:
        """What is evaluated and submitted, of what :meth:`detect` found of everybody in the dataset at one input size.

        MPII's people are reported in the order of the file, one result each. Those of COCO and CrowdPose get the score of
        their box times that of their joints, and of those who repeat one another on an image the best stays.
        """
        if self.skeleton is MPII:
            return [
                {"image_id": person.image_id, "keypoints": list(keypoints), "score": float(np.mean(keypoints[2::3]))}
                for person, keypoints in zip(dataset, found, strict=True)
            ]
        joints_NK3 = np.array(found, np.float32).reshape(len(found), self.skeleton.num_joints, 3)
        box_scores = np.array([person.score for person in dataset], np.float64)
        scores = rescored(joints_NK3, box_scores, self.suppression.lowest_joint)
        aspect = input_hw[1] / input_hw[0]
        # the area is that of the crop, in float32, as in the official program
        scales_N2 = np.array([crop_region(person, aspect)[1] for person in dataset], np.float32).reshape(-1, 2)
        areas = np.prod(scales_N2 * 200, axis=1).astype(np.float64)
        sigmas = np.round(np.array(self.skeleton.sigmas) * 10, 2) / 10  # as the official programs write them
        suppress = soft_oks_nms if self.suppression.soft else oks_nms
        of_image: defaultdict[int, list[int]] = defaultdict(list)
        for position, person in enumerate(dataset):
            of_image[person.image_id].append(position)
        results = []
        for image_id, positions in of_image.items():
            kept = suppress(joints_NK3[positions], scores[positions], areas[positions], sigmas, self.suppression.oks)
            for position in (positions[index] for index in kept):
                results.append(
                    {
                        "image_id": image_id,
                        "category_id": 1,
                        "keypoints": list(found[position]),
                        "score": float(scores[position]),
                    }
                )
        return results

    def _crops(
        self, dataset: PeopleDataset, input_hw: tuple[int, int]
    ) -> tuple[Tensor, NDArray[np.float64], NDArray[np.float64]]:
        """uint8 RGB crops (B, H, W, 3) of people, and where they lie: centres and scales (B, 2)."""
        places = [crop_region(person, input_hw[1] / input_hw[0]) for person in dataset]
        image = lru_cache(maxsize=2 * max(1, self.workers))(read_image)  # people of an image follow one another

        def crop(person: PersonInstance, place: tuple[Any, Any]) -> NDArray[np.uint8]:
            return crop_image(image(person.path), *place, input_hw)

        with ThreadPoolExecutor(max(1, self.workers)) as threads:
            crops = list(threads.map(crop, dataset, places))
        centers, scales = (np.array(values) for values in zip(*places, strict=True))
        return torch.from_numpy(np.stack(crops)), centers, scales


def one_person(outputs: Tensor | Sequence[Tensor]) -> Tensor:
    """A network's answer in eval mode, if it is one person's heatmaps (B, K, h, w).

    Raises:
        UserError: it is several outputs, as bottom-up networks have them.
    """
    if isinstance(outputs, Tensor):
        return outputs
    raise UserError(
        "the network answers with several maps for many people, DATASET.DATASET is for one person in a box; "
        "write coco_kpt or crowd_pose_kpt, or choose another SPACE.FAMILY"
    )


def collate(samples: Sequence[PersonSample]) -> dict[str, Tensor]:
    """A batch of samples of one size: ``images`` uint8 (B, H, W, 3), ``heatmaps`` (B, K, h, w), ``weights`` (B, K)."""
    images, heatmaps, weights = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
    return {"images": images, "heatmaps": heatmaps, "weights": weights}


class _Samples(Dataset[Any]):
    """Training samples by (position, input size, stride, seed)."""

    def __init__(self, task: TopDownTask, dataset: PeopleDataset) -> None:
        self.task, self.dataset = task, dataset

    def __getitem__(self, request: tuple[int, tuple[int, int], int, tuple[int, ...]]) -> Any:
        position, input_hw, stride, seed = request
        person, task = self.dataset[position], self.task
        return person_sample(
            read_image(person.path),
            person,
            task.skeleton,
            input_hw,
            task.augmentation,
            np.random.default_rng(seed),
            stride=stride,
            sigma=task.sigma,
            unbiased=task.unbiased,
            weigh_joints=task.weigh_joints,
        )


class _Requests:
    """The requests of each step, as a batch sampler."""

    def __init__(self, task: TopDownTask, steps: Iterator[PersonStep]) -> None:
        self.task, self.steps = task, steps

    def __iter__(self) -> Iterator[list[tuple[int, tuple[int, int], int, tuple[int, ...]]]]:
        stride = 0
        for step in self.steps:
            stride = stride or self.task.stride_of(step.architectures[0])
            yield [
                (position, step.input_hw, stride, (self.task.seed, 2, step.number, index))
                for index, position in enumerate(step.images, step.offset)
            ]
