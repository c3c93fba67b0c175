"""What a network is worth by SEARCH.SCORE: the numbers of the dataset's metric, or the loss on images without augmentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..pose.metrics.score import LOSS
from ..pose.protocols import KeypointDataset
from .run import Run

Measure = Callable[[nn.Module, Any], Mapping[str, float]]  # of a network and its architecture


def measure_on(run: Run, dataset: KeypointDataset[Any]) -> Measure:
    """What gives a network its numbers on a part of the training split, the score of the search among them."""
    if run.data.search_score.lower:
        return Loss(run, dataset)
    evaluator = run.evaluator(dataset)
    return lambda network, arch: run.metrics(network, dataset, arch, evaluator)


@dataclass(frozen=True)
class _Look:
    """A batch of images, in the form of a training step."""

    number: int
    images: Sequence[int]
    offset: int
    input_hw: tuple[int, int]
    architectures: Sequence[Any]


class Loss:
    """The training's loss on samples as they are in testing, a mean over them.

    Args:
        run: whose task and batch of evaluation it takes.
        dataset: the samples.
        most: only the first so many; 0 takes all.
    """

    def __init__(self, run: Run, dataset: KeypointDataset[Any], most: int = 0) -> None:
        self._task, self._dataset = run.task.without_augmentation(), dataset
        self._count = min(most or len(dataset), len(dataset))
        batch = run.cfg.TEST.IMAGES_PER_GPU
        self._parts = [range(first, min(first + batch, self._count)) for first in range(0, self._count, batch)]

    @torch.inference_mode()
    def __call__(self, network: nn.Module, arch: Any) -> dict[str, float]:
        """``loss`` of a network, which is set to eval mode."""
        network.eval()
        looks = [_Look(number, part, 0, arch.input_hw, (arch,)) for number, part in enumerate(self._parts)]
        total = 0.0
        for part, samples in zip(self._parts, self._task.batches(self._dataset, iter(looks)), strict=True):
            prepared = self._task.prepare(samples)
            loss, _ = self._task.loss(network(prepared["inputs"]), prepared)
            total += float(loss) * len(part)
        return {LOSS: total / self._count}
