"""NSGA-II (Deb et al. 2002) over the integer codes of a search space."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from ..sharing.protocols import Codes, SupportsCosts, SupportsSpace
from .base import FloatArray, PopulationSearch
from .pareto import survivors

A = TypeVar("A")


class NSGA2(PopulationSearch[A]):
    """NSGA-II: the whole front of score against the objectives. Survival and tournament are Deb's, variation is the space's.

    The start is random but for the smallest and the largest architecture that the limits allow: the ends of the front.

    Args:
        space: where the architectures come from.
        costs: what architectures cost.
        rng: the only source of randomness.
        mutation_probability: how likely each gene of a child changes; 1 / genes when not given.
        shared: population, objectives and limits, see :class:`.base.PopulationSearch`.
    """

    name = "nsga2"

    def __init__(
        self,
        space: SupportsSpace[A],
        costs: SupportsCosts,
        rng: np.random.Generator,
        *,
        mutation_probability: float | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(space, costs, rng, **shared)
        self.mutation_probability = (
            1 / max(1, len(space.genes)) if mutation_probability is None else mutation_probability
        )
        self._codes = np.empty((0, len(space.genes)), dtype=np.int16)  # the population, the best first
        self._points = np.empty((0, 1 + len(self.objectives)))

    def adopt(self, codes: Codes, scores: FloatArray) -> None:
        """Start from candidates (N, G) whose scores (N,) are known already; none of them is asked."""
        self._take(codes, len(codes))
        self._update(codes, scores)

    def _generation(self) -> Codes:
        if len(self._codes):
            first = self._novel(self.population, self._children)
        else:
            ends = np.stack([self.space.encode(arch) for arch in (self.space.smallest, self.space.largest)])
            first = self._novel(2 if self.population > 2 else 0, lambda _: ends, patience=1)
        return np.concatenate([first, self._random(self.population - len(first))])

    def _update(self, codes: Codes, scores: FloatArray) -> None:
        codes = np.concatenate([self._codes, codes])
        points = np.concatenate([self._points, self._minimise(codes[len(self._codes) :], scores)])
        best = survivors(points, self.population)
        self._codes, self._points = codes[best], points[best]

    def _children(self, n: int) -> Codes:
        """Every parent is the better of two; the population is in order, so that is the one with the lower row."""
        parents = self.rng.integers(len(self._codes), size=(2, 2 * n)).min(axis=0)
        crossed = self.space.crossover_codes(self._codes[parents[:n]], self._codes[parents[n:]], self.rng)
        return self.space.mutate_codes(crossed, self.rng, self.mutation_probability)
