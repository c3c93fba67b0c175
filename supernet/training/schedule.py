"""Training plan and learning-rate schedules: architectures, images and learning rate of every step, from its number alone.

Everything about step ``s`` follows from its number. What is random in it comes from a generator seeded with (seed, s), the
order of the images from one seeded with (seed, epoch): a training that is stopped and started again draws what it would
have drawn, and so do several processes that share its batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np

from ..errors import UserError
from .random_streams import RandomStream
from .sampling import Sampler

A = TypeVar("A")
WARMUP_START = 1e-5  # RTMPose: of the learning rate, at the first step


@dataclass(frozen=True)
class Phase(Generic[A]):
    """A number of steps with one sampler and one learning-rate curve."""

    name: str
    sampler: Sampler[A]
    steps: int
    lr: Callable[[float], float]  # progress within the phase, 0 to 1 -> learning rate
    before: Callable[[], None] | None = None  # run once, before the first step


@dataclass(frozen=True)
class Step(Generic[A]):
    """One training step as planned: its architectures, images and learning rate, before any data is read."""

    number: int
    phase: Phase[A]
    architectures: tuple[A, ...]
    input_hw: tuple[int, int]
    images: tuple[int, ...]  # positions in the training set
    lr: float
    first: bool  # of its phase
    seed: int  # of what the networks themselves draw (dropout); another one for each process
    offset: int = 0  # place of images[0] in the whole batch
    candidate_groups: tuple[tuple[A, ...], ...] = ()  # of each group one more runs, chosen by its loss on the batch

    def part(self, index: int, count: int) -> Step[A]:
        """One of ``count`` equal parts of the batch; the same images, augmented alike, as within the whole."""
        size, rest = divmod(len(self.images), count)
        if rest:
            raise ValueError(f"{len(self.images)} images cannot be parted into {count}")
        first = index * size
        return replace(self, images=self.images[first : first + size], offset=self.offset + first)


def cosine(lr: float, warmup: float = 0.05, final: float = 0.01) -> Callable[[float], float]:
    """Linear warm-up over the first part ``warmup``, then half a cosine down to ``final`` × ``lr``."""

    def curve(progress: float) -> float:
        if progress < warmup:
            return lr * max(progress / warmup, 0.01)
        return lr * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))))

    return curve


def flat_cosine(lr: float, warmup: float = 0.05, flat: float = 0.5, final: float = 0.05) -> Callable[[float], float]:
    """RTMPose's: linear warm-up over the first part ``warmup``, flat until ``flat``, half a cosine down to ``final`` × ``lr``."""

    def curve(progress: float) -> float:
        if progress < warmup:
            return lr * (WARMUP_START + (1 - WARMUP_START) * progress / warmup)
        if progress < flat:
            return lr
        return lr * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * (progress - flat) / (1 - flat))))

    return curve


def multi_step(
    lr: float, milestones: Sequence[float], factor: float = 0.1, warmup: float = 0.0
) -> Callable[[float], float]:
    """``lr`` times ``factor`` for every milestone (as progress, 0 to 1) that has passed, after a linear warm-up."""

    def curve(progress: float) -> float:
        if progress < warmup:
            return lr * max(progress / warmup, 0.01)
        return lr * factor ** sum(progress >= milestone for milestone in milestones)

    return curve


def over_phases(curve: Callable[[float], float], lengths: Sequence[int]) -> list[Callable[[float], float]]:
    """One curve over several phases of so many steps, as a curve for each: none begins anew at the full rate."""
    total = sum(lengths)

    def part(first: int, length: int) -> Callable[[float], float]:
        return lambda progress: curve((first + progress * length) / total)

    return [part(sum(lengths[:index]), length) for index, length in enumerate(lengths)]


@dataclass
class Plan(Generic[A]):
    """Training plan: every step, computed from its number alone.

    Attributes:
        phases: one after another.
        images: how many the training set has.
        batch: images of a step, those of all processes together.
        seed: of everything that is drawn.
        rank: of the process that this plan is for.
        alike: every process runs the same architectures, those of rank 0; otherwise each draws its own.
    """

    phases: Sequence[Phase[A]]
    images: int
    batch: int
    seed: int
    rank: int = 0
    alike: bool = True
    _order: tuple[int, Any] = field(default=(-1, None), repr=False)

    def __post_init__(self) -> None:
        if self.images < 1:
            raise UserError("the training split is empty; check DATASET.TRAIN and DATASET.SEARCH_IMAGES")

    def __len__(self) -> int:
        return sum(phase.steps for phase in self.phases)

    def step(self, number: int) -> Step[A]:
        """Step ``number``, counted from 0 over all phases."""
        first = 0
        for phase in self.phases:
            if number < first + phase.steps:
                break
            first += phase.steps
        else:
            raise IndexError(f"step {number} of {len(self)}")
        own = [self.rank] if self.rank and not self.alike else []
        rng = np.random.default_rng([self.seed, RandomStream.ARCHITECTURES, number, *own])
        architectures = tuple(phase.sampler.draw(rng))
        network_seed = [self.seed, RandomStream.NETWORK, number, self.rank]
        positions = range(number * self.batch, (number + 1) * self.batch)
        return Step(
            number,
            phase,
            architectures,
            architectures[0].input_hw,  # type: ignore[attr-defined]
            tuple(self._image(position) for position in positions),
            phase.lr((number - first) / phase.steps),
            number == first,
            int(np.random.SeedSequence(network_seed).generate_state(1)[0]),
            candidate_groups=tuple(map(tuple, phase.sampler.candidate_groups(architectures[0], rng))),
        )

    def steps(self, start: int) -> Iterator[Step[A]]:
        """All steps from ``start`` on."""
        return (self.step(number) for number in range(start, len(self)))

    def _image(self, position: int) -> int:
        epoch, index = divmod(position, self.images)
        if self._order[0] != epoch:
            rng = np.random.default_rng([self.seed, RandomStream.ORDER, epoch])
            self._order = epoch, rng.permutation(self.images)
        return int(self._order[1][index])
