"""A training of milliseconds: two convolutions as a supernet, and images that follow from their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.space import Space, choice
from supernet import Supernet
from supernet.training.sampling import Sampler
from supernet.training.schedule import Phase, Plan, Step, cosine
from supernet.training.trainer import Trainer


@dataclass(frozen=True)
class Arch:
    resolution: int
    width: int
    kernel: int

    @property
    def input_hw(self) -> tuple[int, int]:
        return self.resolution, self.resolution


SPACE = Space(Arch(choice(8, 12), choice(2, 4, 6), choice(1, 3)))


def build(arch: Arch) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, arch.width, arch.kernel, padding=arch.kernel // 2, bias=False),
        nn.BatchNorm2d(arch.width),
        nn.ReLU(),
        nn.Conv2d(arch.width, 2, 1, bias=False),
        nn.BatchNorm2d(2),
    ).double()


class Criterion:
    """Outputs against the images' own answers, a mean over the images."""

    def __call__(self, outputs: Tensor, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (outputs - batch["answers"]).square().mean()
        return loss, {"error": loss.detach()}

    def distillation(self, outputs: Tensor, teacher_outputs: Tensor, batch: Mapping[str, Any]) -> Tensor:
        return (outputs - teacher_outputs).square().mean()


def batches(steps: Iterator[Step[Arch]]) -> Iterator[dict[str, Tensor]]:
    """Images that differ in brightness and contrast, so that statistics of a part are not those of the whole."""
    for step in steps:
        images, outputs = [], []
        for place, image in enumerate(step.images, step.offset):
            rng = np.random.default_rng([step.number, image, place])
            images.append(rng.normal(image, 1 + image, (3, *step.input_hw)))
            outputs.append(rng.normal(size=(2, 1, 1)))
        yield {"inputs": torch.from_numpy(np.stack(images)), "answers": torch.from_numpy(np.stack(outputs))}


class Task:
    """As far as a training asks."""

    def batches(self, dataset: Any, steps: Iterator[Step[Arch]]) -> Iterator[dict[str, Any]]:
        """The batch of each step, nothing broken."""
        return ({**batch, "corrupt": []} for batch in batches(steps))


def training(steps: int, kind: torch.dtype = torch.float64, **options: Any) -> tuple[Trainer[Arch], Plan[Arch]]:
    """The supernet, with everything in its state that can be there, and a plan of two phases for it."""
    torch.manual_seed(0)
    supernet = Supernet(build, SPACE).to(kind)
    phases = [
        Phase("wide", Sampler(SPACE.restrict({"kernel": "all"}, rest="largest"), "sandwich", 1), 2, cosine(0.01)),
        Phase("all", Sampler(SPACE, "sandwich", 1), steps - 2, cosine(0.01)),
    ]
    optimizer = torch.optim.Adam(supernet.parameters())
    options = {"distillation": "inplace", "ema": 0.9, **options}

    def prepare(batch: Mapping[str, Any]) -> dict[str, Any]:
        return {name: tensor.to(kind) for name, tensor in batch.items()}

    return Trainer(supernet, supernet, Criterion(), optimizer, prepare, **options), Plan(phases, 7, 4, 1)
