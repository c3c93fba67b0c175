"""Evolutionary search for the best score within limits, of Once-for-All (Cai et al. 2020) and LitePose (Wang et al. 2022).

The best quarter of the architectures become parents; half of the children are mutated, half crossed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from ..sharing.protocols import Codes, SupportsCosts, SupportsSpace
from .base import FloatArray, PopulationSearch

A = TypeVar("A")


class Evolution(PopulationSearch[A]):
    """Evolutionary search for the best score within the limits. Costs are limits here, never objectives.

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

    def _update(self, codes: Codes, scores: FloatArray) -> None:
        codes, scores = np.concatenate([self._best, codes]), np.append(self._best_scores, scores)
        best = np.argsort(-scores, kind="stable")[: self._n_parents]
        self._best, self._best_scores = codes[best], scores[best]

    def _parents(self, n: int) -> Codes:
        return self._best[self.rng.integers(len(self._best), size=n)]

    def _mutated(self, n: int) -> Codes:
        return self.space.mutate_codes(self._parents(n), self.rng, self.mutation_probability)

    def _crossed(self, n: int) -> Codes:
        return self.space.crossover_codes(self._parents(n), self._parents(n), self.rng)
