"""Predictor-guided search: a surrogate fitted to all scores so far chooses the candidates that are evaluated next.

Every generation an :class:`.ensemble.Ensemble` is fitted to all scores so far. NSGA-II, with predictions in place of
scores, searches the space for the front of predicted score and costs, which takes no evaluation; most of the next
candidates come from that front, the others are those about which the ensemble knows least.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..sharing.protocols import Codes, SupportsCosts, SupportsSpace
from .base import FloatArray
from .ensemble import FOLDS, Ensemble
from .nsga2 import NSGA2
from .pareto import survivors

A = TypeVar("A")
INNER_POPULATION, INNER_GENERATIONS = 100, 20


@dataclass(frozen=True)
class Fit:
    """Quality of the predictor when it proposed a generation, by cross-validation.

    Attributes:
        evaluated: architectures it was fitted to.
        kendall: τ between cross-validated predictions and scores.
        spearman: ρ between them.
        error: their root mean square difference, in the score's unit.
        coverage: the part of the scores within two predicted standard deviations; 0.95 if the uncertainty is right.
        deviation: mean predicted standard deviation of the candidates that are proposed.
    """

    evaluated: int
    kendall: float
    spearman: float
    error: float
    coverage: float
    deviation: float


class PredictorSearch(NSGA2[A]):
    """Predictor-guided search: NSGA-II on predicted scores, corrected by real ones generation by generation.

    Args:
        space: where the architectures come from.
        costs: what architectures cost.
        rng: the only source of randomness.
        explore: the part of a generation that goes to the most uncertain candidates.
        on_fit: called with each :class:`Fit`.
        shared: what else NSGA-II takes; the start is that of NSGA-II too.
    """

    name = "predictor"

    def __init__(
        self,
        space: SupportsSpace[A],
        costs: SupportsCosts,
        rng: np.random.Generator,
        *,
        explore: float = 0.1,
        on_fit: Callable[[Fit], None] | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(space, costs, rng, **shared)
        self.explore, self.on_fit = explore, on_fit
        self._options = np.array([len(gene.options) for gene in space.genes], dtype=np.float64)
        self._known, self._scores = np.empty((0, len(space.genes)), dtype=np.int16), np.empty(0)

    def _update(self, codes: Codes, scores: FloatArray) -> None:
        self._known, self._scores = np.concatenate([self._known, codes]), np.append(self._scores, scores)

    def _generation(self) -> Codes:
        if len(self._scores) < 2 * FOLDS:
            return super()._generation()
        model = Ensemble(self._features(self._known), self._scores, self.rng)
        pool, means, deviations = self._predicted_front(model)
        best = survivors(self._minimise(pool, means), self.population)
        uncertain = np.argsort(-deviations, kind="stable")
        explored = round(self.explore * self.population)
        first = self._take(pool[best], self.population - explored)
        found = np.concatenate([first, self._take(pool[uncertain], self.population - len(first))])
        found = np.concatenate([found, self._random(self.population - len(found))])
        if len(found) and self.on_fit is not None:
            self.on_fit(_fit(model, model.predict(self._features(found))[1]))
        return found

    def _predicted_front(self, model: Ensemble) -> tuple[Codes, FloatArray, FloatArray]:
        """Everything that NSGA-II looks at on its way to the predicted front, with mean and deviation."""
        inner = NSGA2(
            self.space,
            self.costs,
            self.rng,
            population=INNER_POPULATION,
            objectives=self.objectives,
            limits=self._limits,
            mutation_probability=self.mutation_probability,
        )
        inner.adopt(self._known, self._scores)
        inner._asked |= self._asked  # what successive halving dropped is known to be no candidate either
        seen: list[tuple[Codes, FloatArray, FloatArray]] = []
        for _ in range(INNER_GENERATIONS):
            codes = inner.ask()
            means, deviations = model.predict(self._features(codes))
            seen.append((codes, means, deviations))
            if not len(codes):
                break
            inner.tell(codes, means)
        pool, means, deviations = (np.concatenate(parts) for parts in zip(*seen, strict=True))
        return pool, means, deviations

    def _features(self, codes: Codes) -> FloatArray:
        """Options ascend, so a gene is one number: 0 where it is absent, 1 at its last option; and the costs' logs."""
        return np.column_stack([(codes + 1) / self._options, np.log1p(self.costs(codes))])


def _fit(model: Ensemble, deviations: FloatArray) -> Fit:
    errors = model.held_out - model.scores
    return Fit(
        evaluated=len(errors),
        kendall=model.kendall(),
        spearman=model.spearman(),
        error=float(np.sqrt(np.mean(errors**2))),
        coverage=float(np.mean(np.abs(errors) <= 2 * model.held_out_deviation)),
        deviation=float(deviations.mean()),
    )
