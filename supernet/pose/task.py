"""Pose estimation as a task: batches for the training loop, the loss, decoding, and the official metric.

:class:`.bottom_up.task.BottomUpTask` and :class:`.top_down.task.TopDownTask` are the two approaches. Nobody outside of their
files asks which of them a task is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..training.trainer import Criterion
from .geometry import Box
from .inputs import normalise, to_device
from .keypoints import Skeleton
from .protocols import Approach, Evaluator, KeypointDataset, PlannedStep, Result

Sample = TypeVar("Sample")
Image = NDArray[np.uint8]  # (H, W, 3), RGB


@dataclass(frozen=True, eq=False)
class DetectedPerson:
    """One person that a network found.

    Attributes:
        keypoints: float32 (K, 3), x, y, confidence, x before y in pixels of the image, not clipped to it.
        score: of the person; larger is surer.
        box: x, y, width, height in pixels of the image: the given one (top-down), or the extent of the joints that
            have a confidence above 0 (bottom-up).
    """

    keypoints: NDArray[np.float32]
    score: float
    box: Box


@dataclass(frozen=True, kw_only=True)
class Task(ABC, Generic[Sample]):
    """Everything between a dataset and a network's outputs, and between its outputs and a score.

    Attributes:
        approach: ``bottom-up`` (everybody on an image at once) or ``top-down`` (one person in a box).
        unit: what a sample is, in the plural: ``images`` or ``people``.
        skeleton: of everybody.
        loss: of the training.
        device: where networks are.
        channels_last: memory format of the network's input.
        workers: processes that read training samples; 0 works in this one.
        seed: of the augmentation.
        rgb: false feeds the channels in OpenCV's order, as networks without COLOR_RGB were trained.
    """

    approach: ClassVar[Approach]
    unit: ClassVar[str]

    skeleton: Skeleton
    loss: Criterion
    device: torch.device
    channels_last: bool
    workers: int
    seed: int
    rgb: bool = True

    # -------------------------------------------------------------------------------------------------------- training

    @abstractmethod
    def batches(self, dataset: KeypointDataset[Sample], steps: Iterator[PlannedStep]) -> Iterator[Mapping[str, Any]]:
        """The batch of each step, its targets made for the input size that the step drew.

        Each has ``images`` uint8 (B, H, W, 3), and ``corrupt``: a line for each image that another one stands in for.
        """

    def prepare(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """The batch on the device, with normalised ``inputs`` (B, 3, H, W)."""
        moved = {name: to_device(value, self.device) for name, value in batch.items()}
        moved["inputs"] = self.inputs(moved["images"])
        return moved

    def inputs(self, images: Tensor) -> Tensor:
        """uint8 RGB images (B, H, W, 3) as network input (B, 3, H, W) on the device."""
        return normalise(images.to(self.device), self.channels_last, self.rgb)

    @abstractmethod
    def calibration_batches(
        self, dataset: KeypointDataset[Sample], input_hw: tuple[int, int], batch: int
    ) -> Iterator[Tensor]:
        """Network inputs (B, 3, H, W) of a whole dataset at one size, without augmentation."""

    @abstractmethod
    def without_augmentation(self) -> Self:
        """The same task with every sample as it is in testing, read by this process."""

    # ------------------------------------------------------------------------------------------------------- evaluation

    @abstractmethod
    def detect(self, network: nn.Module, part: KeypointDataset[Sample], input_hw: tuple[int, int]) -> list[Any]:
        """What a network finds in one batch: a JSON value for each sample.

        Args:
            network: set to eval mode, in which it is left.
            part: the samples of the batch.
            input_hw: height and width of the network input.

        Raises:
            UserError: the outputs are not those of this approach.
        """

    @abstractmethod
    def results(
        self, dataset: KeypointDataset[Sample], found: Sequence[Any], input_hw: tuple[int, int]
    ) -> list[Result]:
        """What is evaluated and submitted, of what :meth:`detect` found in all batches of a dataset at one input size."""

    def detect_all(
        self,
        network: nn.Module,
        dataset: KeypointDataset[Sample],
        input_hw: tuple[int, int],
        *,
        batch: int = 32,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Result]:
        """The results of a network on a whole dataset; ``on_progress`` gets the number of samples that are done."""
        found: list[Any] = []
        for first in range(0, len(dataset), batch):
            found += self.detect(network, dataset[first : first + batch], input_hw)
            if on_progress is not None:
                on_progress(min(first + batch, len(dataset)))
        return self.results(dataset, found, input_hw)

    def evaluate(
        self,
        network: nn.Module,
        dataset: KeypointDataset[Sample],
        evaluator: Evaluator,
        input_hw: tuple[int, int],
        *,
        batch: int = 32,
        on_progress: Callable[[int], None] | None = None,
    ) -> tuple[dict[str, float], list[Result]]:
        """The metric of a network on a dataset, and the results that were evaluated."""
        results = self.detect_all(network, dataset, input_hw, batch=batch, on_progress=on_progress)
        return evaluator.evaluate(results), results

    @abstractmethod
    def predict(
        self,
        network: nn.Module,
        images: Sequence[Image],
        input_hw: tuple[int, int],
        boxes: Sequence[Sequence[Sequence[float]]] | None = None,
        *,
        batch: int = 32,
    ) -> list[list[DetectedPerson]]:
        """The people on images of any sizes.

        Args:
            network: set to eval mode, in which it is left.
            images: uint8 RGB (H, W, 3) each.
            input_hw: height and width of the network input; bottom-up, the height is the short side of the image.
            boxes: of each image rows of x, y, width, height and, where it is known, the detector's score (else 1).
                Top-down networks see these, or without them the whole image as one box; bottom-up networks take none.
            batch: at most so many images, or boxes, go through the network at once.

        Returns:
            The people of each image, the best first where the approach orders them.

        Raises:
            UserError: an image or box cannot be used, or the network's outputs are not those of this approach.
        """


def keypoints_by_image(
    results: Iterable[Result], image_ids: Iterable[int], num_joints: int, lowest_score: float
) -> dict[int, NDArray[np.float64]]:
    """Results as they are drawn: of each of these images the keypoints (P, K, 3) of people with at least a score."""
    found: dict[int, list[Any]] = {image_id: [] for image_id in image_ids}
    for result in results:
        if result["score"] >= lowest_score:
            found[result["image_id"]].append(result["keypoints"])
    return {image_id: np.array(people, np.float64).reshape(-1, num_joints, 3) for image_id, people in found.items()}
