"""Bottom-up pose estimation as a task: batches for the training loop, its loss, decoding, and the official metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..datasets.coco import PoseDataset
from ..datasets.images import read_image
from ..datasets.loader import load
from ..keypoints import Skeleton
from ..metrics.oks import OksEvaluator
from .augmentation import Augmentation, sample_matrix, warp_image
from .inference import InferenceSettings, normalise, predict, results
from .losses import BottomUpLoss
from .targets import collate, training_sample


class PlannedStep(Protocol):
    """What a batch needs to know of a training step."""

    @property
    def number(self) -> int:
        """The step, which seeds the augmentation."""
        ...

    @property
    def images(self) -> Sequence[int]:
        """Positions in the dataset."""
        ...

    @property
    def offset(self) -> int:
        """Place of the first of them in the batch of all processes."""
        ...

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input."""
        ...


@dataclass(frozen=True)
class BottomUpTask:
    """Everything between a dataset and a network's outputs, and between its outputs and a score.

    ``sigma`` is in cells of every output; what a negative one means, :func:`supernet.pose.bottom_up.targets.make_targets` says.
    ``tag_radius`` is in cells of the first output, see :func:`supernet.pose.bottom_up.targets.training_sample`.
    ``strides`` says of each output how many input pixels one of its cells has.
    """

    skeleton: Skeleton
    loss: BottomUpLoss
    augmentation: Augmentation
    inference: InferenceSettings
    sigma: float
    tag_radius: int
    strides: tuple[int, ...]
    max_people: int
    device: torch.device
    channels_last: bool
    workers: int
    seed: int

    def batches(self, dataset: PoseDataset, steps: Iterator[PlannedStep]) -> Iterator[Mapping[str, Any]]:
        """The batch of each step, its targets, tags and masks made for the input size that the step drew."""
        pin = self.device.type == "cuda"
        requests = _Requests(steps, self.seed)
        return load(_Samples(self, dataset), len(dataset), requests, collate, workers=self.workers, pin=pin)

    def prepare(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """The batch on the device, with normalised ``inputs`` (B, 3, H, W)."""
        moved = {name: to_device(value, self.device) for name, value in batch.items()}
        moved["inputs"] = self.inputs(moved["images"])
        return moved

    def inputs(self, images: Tensor) -> Tensor:
        """uint8 images (B, H, W, 3) as network input (B, 3, H, W)."""
        return normalise(images.to(self.device), channels_last=self.channels_last)

    def calibration_batches(self, dataset: PoseDataset, input_hw: tuple[int, int], batch: int) -> Iterator[Tensor]:
        """Network inputs of a whole dataset at one size, without augmentation."""
        plain = Augmentation.none(self.augmentation.scale_type)
        for first in range(0, len(dataset), batch):
            images = []
            for image in dataset[first : first + batch]:
                pixels = read_image(image.path)
                height, width = pixels.shape[:2]
                matrix, _ = sample_matrix(width, height, input_hw, plain, np.random.default_rng(0))
                images.append(warp_image(pixels, matrix, input_hw))
            yield self.inputs(torch.from_numpy(np.stack(images)))

    def evaluate(
        self,
        network: nn.Module,
        dataset: PoseDataset,
        evaluator: OksEvaluator,
        input_hw: tuple[int, int],
        *,
        batch: int = 32,
        on_progress: Callable[[int], None] | None = None,
    ) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """The official metric of a network on a dataset, and the results that were evaluated."""
        settings = replace(self.inference, input_size=input_hw[0])
        network.eval()
        found: list[dict[str, Any]] = []
        for first in range(0, len(dataset), batch):
            images = dataset[first : first + batch]
            with torch.inference_mode():
                poses = predict(
                    network,
                    [read_image(image.path) for image in images],
                    settings,
                    device=self.device,
                    channels_last=self.channels_last,
                )
            for image, prediction in zip(images, poses, strict=True):
                found += results(image.id, prediction)
            if on_progress is not None:
                on_progress(min(first + batch, len(dataset)))
        return evaluator.evaluate(found), found


class _Samples(Dataset[Any]):
    """Training samples by (position, input size, seed)."""

    def __init__(self, task: BottomUpTask, dataset: PoseDataset) -> None:
        self.task, self.dataset = task, dataset

    def __getitem__(self, request: tuple[int, tuple[int, int], tuple[int, ...]]) -> Any:
        position, input_hw, seed = request
        image, task = self.dataset[position], self.task
        return training_sample(
            read_image(image.path),
            image.people,
            task.skeleton,
            input_hw,
            task.augmentation,
            np.random.default_rng(seed),
            strides=task.strides,
            sigma=task.sigma,
            tag_radius=task.tag_radius,
            max_people=task.max_people,
            tag_per_joint=task.inference.grouping.tag_per_joint,
        )


class _Requests:
    """The requests of each step, as a batch sampler."""

    def __init__(self, steps: Iterator[PlannedStep], seed: int) -> None:
        self.steps, self.seed = steps, seed

    def __iter__(self) -> Iterator[list[tuple[int, tuple[int, int], tuple[int, ...]]]]:
        for step in self.steps:
            yield [
                (position, step.input_hw, (self.seed, 2, step.number, index))
                for index, position in enumerate(step.images, step.offset)
            ]


def to_device(value: Any, device: torch.device) -> Any:
    """Tensors, also within lists, on the device; anything else as it is."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, (list, tuple)):
        return [to_device(item, device) for item in value]
    return value
