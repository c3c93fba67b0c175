"""Which architectures to evaluate next: random search, LitePose's evolution, NSGA-II, and the loop around them.

Sources: NSGA-II, Deb et al. 2002 (through pymoo); the evolution of LitePose (Wang et al. 2022), which is that of
Once-for-All (Cai et al. 2020): the best quarter become parents; half of the children are mutated, half crossed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2 as PymooNSGA2
from pymoo.algorithms.moo.nsga2 import binary_tournament
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination
from pymoo.operators.selection.tournament import TournamentSelection

from .errors import UserError
from .journal import Journal, Record
from .protocols import SupportsSpace
from .searcher import TRIES, Cost, FloatArray, PopulationSearch, Searcher, check_score

A = TypeVar("A")


def run_search(
    searcher: Searcher[A],
    evaluate: Callable[[A], Mapping[str, float]],
    journal: Journal[A],
    budget: int,
    score_key: str = "AP",
    on_progress: Callable[[int, Record], None] | None = None,
) -> list[Record]:
    """Ask, evaluate, write down, tell, until ``budget`` candidates have a score or nothing is left to ask.

    What the journal holds already, from a run that was stopped or from another algorithm, is not evaluated again but
    counts: ``budget`` is the number of architectures the algorithm sees. A stopped search continues exactly where it
    was when it is called again with a fresh searcher of the same seed; a larger budget extends it.

    Args:
        searcher: a fresh algorithm.
        evaluate: the metrics of one architecture.
        journal: where records are read and written.
        budget: how many candidates to score.
        score_key: the metric to search by; larger is better.
        on_progress: called after each candidate with the number done and its record.

    Returns:
        The records of the candidates, in the order in which they were asked.

    Raises:
        UserError: when the metrics lack ``score_key`` or its value is not finite.
    """
    done: list[Record] = []
    while len(done) < budget and (candidates := searcher.ask()):
        scores: list[float] = []
        for arch, macs in zip(candidates, searcher.macs(candidates).tolist(), strict=True):
            if len(done) == budget:
                return done  # the unfinished generation is asked again when the search is continued
            record = journal.find(arch) or _evaluate(arch, macs, searcher.name, evaluate, journal, score_key)
            scores.append(_score(arch, record.metrics, score_key))
            done.append(record)
            if on_progress is not None:
                on_progress(len(done), record)
        searcher.tell(candidates, np.array(scores))
    return done


def _evaluate(
    arch: A,
    macs: int,
    algorithm: str,
    evaluate: Callable[[A], Mapping[str, float]],
    journal: Journal[A],
    score_key: str,
) -> Record:
    started = time.perf_counter()
    metrics = evaluate(arch)
    seconds = time.perf_counter() - started
    _score(arch, metrics, score_key)  # nothing that cannot be searched by is written down
    return journal.add(arch, algorithm=algorithm, macs=macs, metrics=metrics, seconds=seconds)


def _score(arch: object, metrics: Mapping[str, float], score_key: str) -> float:
    if score_key not in metrics:
        raise UserError(f"{arch} has no metric {score_key!r}; there are {', '.join(metrics) or 'none'}")
    check_score(arch, float(metrics[score_key]))
    return float(metrics[score_key])


class RandomSearch(PopulationSearch[A]):
    """Random architectures, the baseline of every other algorithm. Arguments as :class:`NSGA2` without the mutation."""

    name = "random"

    def _generation(self) -> list[A]:
        return self._random(self.population)


class Evolution(PopulationSearch[A]):
    """LitePose's evolution: the best score within the MACs budget.

    Args:
        space: where the architectures come from.
        cost: multiply-accumulates of each of several architectures.
        rng: the only source of randomness.
        population: candidates per iteration, and in the random start.
        max_macs: the budget.
        iterations: how many generations follow the random start.
        parent_ratio: the share of the population, the best seen so far, that has children.
        mutation_probability: how likely each gene of a mutated child changes.
    """

    name = "evolution"

    def __init__(
        self,
        space: SupportsSpace[A],
        cost: Cost[A],
        rng: np.random.Generator,
        *,
        population: int = 40,
        max_macs: int | None = None,
        iterations: int = 40,
        parent_ratio: float = 0.25,
        mutation_probability: float = 0.1,
    ) -> None:
        super().__init__(space, cost, rng, population=population, max_macs=max_macs)
        self.iterations, self.mutation_probability = iterations, mutation_probability
        self._n_parents = max(2, round(parent_ratio * population))
        self._generations = 0
        self._best: list[tuple[float, A]] = []

    def _generation(self) -> list[A]:
        if self._generations > self.iterations:
            return []
        self._generations += 1
        children: list[A] = []
        if self._best:
            children += self._novel(self.population // 2, self._mutated, TRIES)
            children += self._novel(self.population - self.population // 2, self._crossed, TRIES)
        return children + self._random(self.population - len(children))

    def _learn(self, candidates: list[A], scores: FloatArray) -> None:
        scored = [*self._best, *zip(scores.tolist(), candidates, strict=True)]
        self._best = sorted(scored, key=lambda pair: -pair[0])[: self._n_parents]

    def _parent(self) -> A:
        return self._best[self.rng.integers(len(self._best))][1]

    def _mutated(self) -> A:
        return self.space.mutate(self._parent(), self.rng, self.mutation_probability)

    def _crossed(self) -> A:
        return self.space.crossover(self._parent(), self._parent(), self.rng)


class NSGA2(PopulationSearch[A]):
    """The whole front of score against MACs. Survival and tournament are pymoo's; the variation is the space's own.

    The start is random but for the smallest and the largest architecture that the budget allows: the ends of the front.

    Args:
        space: where the architectures come from.
        cost: multiply-accumulates of each of several architectures.
        rng: the only source of randomness.
        population: candidates per generation; 20 beat 40 at the few hundred evaluations that a search can pay for.
        max_macs: no candidate above it is ever asked.
        mutation_probability: how likely each gene of a child changes; 1 / genes when not given.
    """

    name = "nsga2"

    def __init__(
        self,
        space: SupportsSpace[A],
        cost: Cost[A],
        rng: np.random.Generator,
        *,
        population: int = 20,
        max_macs: int | None = None,
        mutation_probability: float | None = None,
    ) -> None:
        super().__init__(space, cost, rng, population=population, max_macs=max_macs)
        self.mutation_probability = (
            1 / max(1, len(space.genes)) if mutation_probability is None else mutation_probability
        )
        self._tournament = TournamentSelection(func_comp=binary_tournament)
        self._algorithm = PymooNSGA2(
            pop_size=population, sampling=self._start, mating=_Mating(self._children), eliminate_duplicates=False
        )
        problem = Problem(n_var=1, n_obj=2, vtype=object)
        self._algorithm.setup(problem, termination=NoTermination(), seed=rng)

    def _generation(self) -> list[A]:
        candidates = self._algorithm.ask()
        return [] if candidates is None else [individual.X[0] for individual in candidates]

    def _learn(self, candidates: list[A], scores: FloatArray) -> None:
        told = _population(candidates)
        told.set("F", np.column_stack([-scores, self.macs(candidates)]))
        self._algorithm.tell(infills=told)

    def _start(self, problem: Any, n_samples: int, **_: Any) -> Any:
        ends = iter([self.space.smallest, self.space.largest])
        found = self._novel(2, lambda: next(ends), 1) if n_samples > 2 else []
        return _population(found + self._random(n_samples - len(found)))

    def _children(self, population: Any, wanted: int) -> Any:
        def child() -> A:
            parents = self._tournament(
                self._algorithm.problem, population, 1, n_parents=2, algorithm=self._algorithm, random_state=self.rng
            )
            first, second = (parent.X[0] for parent in parents[0])
            crossed: A = self.space.crossover(first, second, self.rng)
            return self.space.mutate(crossed, self.rng, self.mutation_probability)

        found = self._novel(wanted, child, TRIES)
        return _population(found + self._random(wanted - len(found)))


class _Mating:
    """What pymoo calls for the next generation: ``NSGA2._children``, which knows every architecture asked before."""

    def __init__(self, children: Callable[[Any, int], Any]) -> None:
        self._children = children

    def do(self, problem: Any, population: Any, n_offsprings: int, **_: Any) -> Any:
        return self._children(population, n_offsprings)


def _population(archs: Sequence[Any]) -> Any:
    """Architectures as pymoo individuals with one object variable each."""
    variables = np.empty((len(archs), 1), dtype=object)
    for row, arch in enumerate(archs):
        variables[row, 0] = arch
    return Population.new("X", variables)
