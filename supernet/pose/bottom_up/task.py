"""Bottom-up pose estimation as a task: many people of an image at once, grouped by associative embedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from supernet.errors import UserError

from ...training.random_streams import RandomStream
from ..datasets.annotations import PoseImage
from ..datasets.images import read_image
from ..datasets.loader import load
from ..geometry import warp_image
from ..protocols import KeypointDataset, PlannedStep, Result
from ..task import DetectedPerson, Image, Task
from .augmentation import Augmentation, sample_matrix
from .inference import Prediction, predict, results
from .inference_settings import InferenceSettings
from .losses import BottomUpLoss
from .samples import collate, training_sample
from .targets import TargetSettings


@dataclass(frozen=True, kw_only=True)
class BottomUpTask(Task[PoseImage]):
    """Images with everybody on them, the outputs of a network at several strides, and people grouped by their tags."""

    approach = "bottom-up"
    unit = "images"

    loss: BottomUpLoss
    augmentation: Augmentation
    targets: TargetSettings
    inference: InferenceSettings

    def batches(self, dataset: KeypointDataset[PoseImage], steps: Iterator[PlannedStep]) -> Iterator[Mapping[str, Any]]:
        """The batch of each step, with ``heatmaps`` and ``masks`` of every output, and ``joints``: where the tags are."""
        pin = self.device.type == "cuda"
        requests = _Requests(steps, self.seed)
        return load(_Samples(self, dataset), len(dataset), requests, collate, workers=self.workers, pin=pin)

    def calibration_batches(
        self, dataset: KeypointDataset[PoseImage], input_hw: tuple[int, int], batch: int
    ) -> Iterator[Tensor]:
        """Network inputs (B, 3, H, W) of a whole dataset at one size, without augmentation."""
        plain = Augmentation.none(self.augmentation.scale_type)
        for first in range(0, len(dataset), batch):
            images = []
            for image in dataset[first : first + batch]:
                pixels = read_image(image.path, image.size_wh)
                height, width = pixels.shape[:2]
                matrix, _ = sample_matrix(width, height, input_hw, plain, np.random.default_rng(0))
                images.append(warp_image(pixels, matrix, input_hw))
            yield self.inputs(torch.from_numpy(np.stack(images)))

    def without_augmentation(self) -> Self:
        """The same task with every image as it is in testing, read by this process."""
        return replace(self, augmentation=Augmentation.none(self.augmentation.scale_type), workers=0)

    def detect(self, network: nn.Module, part: KeypointDataset[PoseImage], input_hw: tuple[int, int]) -> list[Any]:
        """The people of one batch of images: of each image its results; see :meth:`.task.Task.detect`."""
        poses = self._poses(network, [read_image(image.path, image.size_wh) for image in part], input_hw)
        return [results(image.id, pose, part.category_id) for image, pose in zip(part, poses, strict=True)]

    def results(
        self, dataset: KeypointDataset[PoseImage], found: Sequence[Any], input_hw: tuple[int, int]
    ) -> list[Result]:
        """Everybody that :meth:`detect` found, image by image."""
        return [result for of_image in found for result in of_image]

    def predict(
        self,
        network: nn.Module,
        images: Sequence[Image],
        input_hw: tuple[int, int],
        boxes: Sequence[Sequence[Sequence[float]]] | None = None,
        *,
        batch: int = 32,
    ) -> list[list[DetectedPerson]]:
        """Everybody on images of any sizes; see :meth:`.task.Task.predict`."""
        if boxes is not None:
            raise UserError("boxes are for top-down networks; this one is bottom-up and finds people by itself")
        return [_people(pose) for pose in self._poses(network, images, input_hw, batch)]

    @torch.inference_mode()
    def _poses(
        self, network: nn.Module, images: Sequence[Image], input_hw: tuple[int, int], batch: int = 32
    ) -> list[Prediction]:
        network.eval()
        settings = replace(self.inference, input_size=input_hw[0])
        return predict(network, images, settings, self.inputs, batch)


def _people(prediction: Prediction) -> list[DetectedPerson]:
    """The people of one image, each in the box of the joints that were found."""
    people = []
    for keypoints_K3, score in zip(prediction.keypoints, prediction.scores, strict=True):
        found = keypoints_K3[keypoints_K3[:, 2] > 0, :2] if (keypoints_K3[:, 2] > 0).any() else keypoints_K3[:, :2]
        (x, y), (width, height) = found.min(axis=0).tolist(), np.ptp(found, axis=0).tolist()
        people.append(DetectedPerson(keypoints_K3, float(score), (x, y, width, height)))
    return people


class _Samples(Dataset[Any]):
    """Training samples by (position, input size, seed)."""

    def __init__(self, task: BottomUpTask, dataset: KeypointDataset[PoseImage]) -> None:
        self.task, self.dataset = task, dataset

    def __getitem__(self, request: tuple[int, tuple[int, int], tuple[int, ...]]) -> Any:
        position, input_hw, seed = request
        image, task = self.dataset[position], self.task
        return training_sample(
            read_image(image.path, image.size_wh),
            image.people,
            task.skeleton,
            input_hw,
            task.augmentation,
            task.targets,
            np.random.default_rng(seed),
        )


class _Requests:
    """The requests of each step, as a batch sampler."""

    def __init__(self, steps: Iterator[PlannedStep], seed: int) -> None:
        self.steps, self.seed = steps, seed

    def __iter__(self) -> Iterator[list[tuple[int, tuple[int, int], tuple[int, ...]]]]:
        for step in self.steps:
            yield [
                (position, step.input_hw, (self.seed, RandomStream.AUGMENTATION, step.number, index))
                for index, position in enumerate(step.images, step.offset)
            ]
