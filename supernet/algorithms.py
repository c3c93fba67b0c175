"""Which architectures to evaluate next: random search, LitePose's evolution and NSGA-II.

Sources: NSGA-II, Deb et al. 2002; the evolution of LitePose (Wang et al. 2022), which is that of Once-for-All (Cai et
al. 2020): the best quarter become parents; half of the children are mutated, half crossed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from .pareto import survivors
from .protocols import Codes, SupportsCosts, SupportsSpace
from .searcher import FloatArray, PopulationSearch

A = TypeVar("A")


class RandomSearch(PopulationSearch[A]):
    """Random architectures, the baseline of every other algorithm. Arguments as :class:`.searcher.PopulationSearch`."""

    name = "random"

    def _generation(self) -> Codes:
        return self._random(self.population)


class Evolution(PopulationSearch[A]):
    """LitePose's evolution: the best score within the limits. It looks at the score alone, so it has no objectives.

    Args:
        space: where the architectures come from.
        costs: what architectures cost.
        rng: the only source of randomness.
        population: candidates per iteration, and in the random start.
        limits: from the name of a cost to its largest value.
        iterations: how many generations follow the random start.
        parent_ratio: the share of the population, the best seen so far, that has children.
        mutation_probability: how likely each gene of a mutated child changes.
    """

    name = "evolution"

    def __init__(
        self,
        space: SupportsSpace[A],
        costs: SupportsCosts,
        rng: np.random.Generator,
        *,
        population: int = 40,
        limits: Mapping[str, float] | None = None,
        iterations: int = 40,
        parent_ratio: float = 0.25,
        mutation_probability: float = 0.1,
    ) -> None:
        super().__init__(space, costs, rng, population=population, objectives=(), limits=limits)
        self.iterations, self.mutation_probability = iterations, mutation_probability
        self._n_parents = max(2, round(parent_ratio * population))
        self._generations = 0
        self._best = np.empty((0, len(space.genes)), dtype=np.int16)
        self._best_scores = np.empty(0)

    def _generation(self) -> Codes:
        if self._generations > self.iterations:
            return self._random(0)
        self._generations += 1
        children = self._random(0)
        if len(self._best):
            half = self.population // 2
            children = np.concatenate(
                [self._novel(half, self._mutated), self._novel(self.population - half, self._crossed)]
            )
        return np.concatenate([children, self._random(self.population - len(children))])

    def _learn(self, codes: Codes, scores: FloatArray) -> None:
        codes, scores = np.concatenate([self._best, codes]), np.append(self._best_scores, scores)
        best = np.argsort(-scores, kind="stable")[: self._n_parents]
        self._best, self._best_scores = codes[best], scores[best]

    def _parents(self, n: int) -> Codes:
        return self._best[self.rng.integers(len(self._best), size=n)]

    def _mutated(self, n: int) -> Codes:
        return self.space.mutate_codes(self._parents(n), self.rng, self.mutation_probability)

    def _crossed(self, n: int) -> Codes:
        return self.space.crossover_codes(self._parents(n), self._parents(n), self.rng)


class NSGA2(PopulationSearch[A]):
    """The whole front of score against the objectives. Survival and tournament are Deb's, the variation is the space's.

    The start is random but for the smallest and the largest architecture that the limits allow: the ends of the front.

    Args:
        space: where the architectures come from.
        costs: what architectures cost.
        rng: the only source of randomness.
        mutation_probability: how likely each gene of a child changes; 1 / genes when not given.
        shared: population, objectives and limits, see :class:`.searcher.PopulationSearch`.
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
        self._learn(codes, scores)

    def _generation(self) -> Codes:
        if len(self._codes):
            first = self._novel(self.population, self._children)
        else:
            ends = np.stack([self.space.encode(arch) for arch in (self.space.smallest, self.space.largest)])
            first = self._novel(2 if self.population > 2 else 0, lambda _: ends, patience=1)
        return np.concatenate([first, self._random(self.population - len(first))])

    def _learn(self, codes: Codes, scores: FloatArray) -> None:
        codes = np.concatenate([self._codes, codes])
        points = np.concatenate([self._points, self._minimise(codes[len(self._codes) :], scores)])
        best = survivors(points, self.population)
        self._codes, self._points = codes[best], points[best]

    def _children(self, n: int) -> Codes:
        """Every parent is the better of two; the population is in order, so that is the one with the lower row."""
        parents = self.rng.integers(len(self._codes), size=(2, 2 * n)).min(axis=0)
        crossed = self.space.crossover_codes(self._codes[parents[:n]], self._codes[parents[n:]], self.rng)
        return self.space.mutate_codes(crossed, self.rng, self.mutation_probability)
