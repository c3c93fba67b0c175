"""What every search algorithm has in common: ask, tell, novelty, the MACs budget and bounded attempts.

Every algorithm is a deterministic function of its generator and of the scores it was told, so nothing of it is ever
saved: a killed search is continued by asking again and telling the scores that were written down.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from .errors import UserError
from .protocols import SupportsSpace

A = TypeVar("A")
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Cost = Callable[[Sequence[A]], IntArray]

TRIES = 100  # useless proposals in a row before an algorithm tries something else, or gives up
LISTED = 5_000  # architectures of a space that is small enough to be asked to the very last one
REJECTIONS = 8  # samples above the budget before something smaller is made


class Searcher(Protocol[A]):
    """What proposes architectures."""

    @property
    def name(self) -> str:
        """The algorithm, as the journal records it."""

    def ask(self) -> list[A]:
        """The next candidates, none of which was asked before; empty when the space or the plan is exhausted."""

    def tell(self, candidates: Sequence[A], scores: FloatArray) -> None:
        """The scores (larger is better) of exactly the candidates that were asked last."""

    def macs(self, candidates: Sequence[A]) -> IntArray:
        """The cost of each candidate, as the algorithm sees it."""


class PopulationSearch(ABC, Generic[A]):
    """What the algorithms share: novelty, the MACs budget, bounded attempts, checks on what is told.

    Args:
        space: where the architectures come from.
        cost: multiply-accumulates of each of several architectures; called once per architecture.
        rng: the only source of randomness.
        population: candidates per generation.
        max_macs: no candidate above it is ever asked.

    Raises:
        UserError: when not even the smallest architecture keeps ``max_macs``.
    """

    name = ""

    def __init__(
        self,
        space: SupportsSpace[A],
        cost: Cost[A],
        rng: np.random.Generator,
        *,
        population: int = 40,
        max_macs: int | None = None,
    ) -> None:
        if population < 2:
            raise UserError(f"population is {population}, it has to be at least 2")
        self.space, self.rng, self.population, self.max_macs = space, rng, population, max_macs
        self._cost = cost
        self._known_macs: dict[A, int] = {}
        self._asked: dict[A, None] = {}  # a set that keeps the order
        self._open: list[A] | None = None
        if max_macs is not None and not self._fits(space.smallest):
            least = self._known_macs[space.smallest]
            raise UserError(f"max_macs is {max_macs:,}, below the {least:,} of the smallest architecture; raise it")

    def ask(self) -> list[A]:
        """The next candidates; see :class:`Searcher`."""
        if self._open is not None:
            raise RuntimeError("the last candidates have no scores yet: call tell() before the next ask()")
        candidates = self._generation()
        if candidates:
            self._open = candidates
        return list(candidates)

    def tell(self, candidates: Sequence[A], scores: FloatArray) -> None:
        """The scores of the candidates asked last; see :class:`Searcher`.

        Raises:
            ValueError: when these are not the candidates asked last, or there is not one score for each.
            UserError: when a score is not a finite number.
        """
        if self._open is None or list(candidates) != self._open or np.shape(scores) != (len(candidates),):
            raise ValueError(f"tell() needs one score for each of the {len(self._open or [])} candidates asked last")
        for arch, score in zip(candidates, scores, strict=True):
            check_score(arch, float(score))
        self._open = None
        self._learn(list(candidates), np.asarray(scores, dtype=np.float64))

    def macs(self, candidates: Sequence[A]) -> IntArray:
        """Multiply-accumulates of each candidate, remembered."""
        unknown = list(dict.fromkeys(arch for arch in candidates if arch not in self._known_macs))
        if unknown:
            self._known_macs.update(zip(unknown, (int(macs) for macs in self._cost(unknown)), strict=True))
        return np.array([self._known_macs[arch] for arch in candidates], dtype=np.int64)

    @abstractmethod
    def _generation(self) -> list[A]:
        """The next candidates, already through :meth:`_novel`."""

    def _learn(self, candidates: list[A], scores: FloatArray) -> None:
        """What a told generation changes; nothing, unless an algorithm says otherwise."""

    def _fits(self, arch: A) -> bool:
        return self.max_macs is None or int(self.macs([arch])[0]) <= self.max_macs

    def _novel(self, wanted: int, propose: Callable[[], A], patience: int) -> list[A]:
        """Up to ``wanted`` new architectures within the budget; stops after ``patience`` useless proposals in a row."""
        found: list[A] = []
        misses = 0
        while len(found) < wanted and misses < patience and len(self._asked) < self.space.size:
            arch = propose()
            if arch in self._asked or not self._fits(arch):
                misses += 1
                continue
            misses = 0
            self._asked[arch] = None
            found.append(arch)
        return found

    def _random(self, wanted: int) -> list[A]:
        """Up to ``wanted`` new random architectures; fewer only when hardly anything new is left within the budget."""
        found = self._novel(wanted, self._sample, TRIES)
        if len(found) < wanted and self.space.size <= LISTED:
            rest = [arch for arch in self._all if arch not in self._asked]
            last = [rest[index] for index in self.rng.permutation(len(rest))[: wanted - len(found)]]
            self._asked.update(dict.fromkeys(last))
            found += last
        return found

    @cached_property
    def _all(self) -> list[A]:
        """Every architecture within the budget."""
        return [arch for arch in map(self.space.decode, self.space.all_codes()) if self._fits(arch)]

    def _sample(self) -> A:
        """A random architecture: a plain sample within the budget where possible.

        Under a tight budget nearly no sample fits. Then either the last one is crossed with the smallest architecture
        until it does, which spreads over what is allowed, or a former candidate is mutated, which reaches all of it.
        """
        arch = self.space.sample(self.rng)
        for _ in range(REJECTIONS):
            if self._fits(arch):
                return arch
            arch = self.space.sample(self.rng)
        if self._asked and self.rng.random() < 0.5:
            former = list(self._asked)[self.rng.integers(len(self._asked))]
            return self.space.mutate(former, self.rng, 1 / max(1, len(self.space.genes)))
        while not self._fits(arch):
            smaller = self.space.crossover(arch, self.space.smallest, self.rng)
            arch = smaller if self.macs([smaller])[0] < self.macs([arch])[0] else self.space.smallest
        return arch


def check_score(arch: Any, score: float) -> None:
    """Refuse a score that no algorithm can rank.

    Raises:
        UserError: when it is not finite; names the architecture.
    """
    if not math.isfinite(score):
        raise UserError(f"the score of {arch} is {score}, not a number to search by; check its calibration and weights")
