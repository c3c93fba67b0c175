"""Run a search: ask for candidates, evaluate them on one worker or many, record them in the journal, tell the scores.

The front does not depend on how many workers there are or which of them is first: scores are told in the order in which
their architectures were asked, whatever the order in which they come.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from ..errors import UserError
from ..sharing.protocols import Codes
from .base import Searcher, check_score
from .journal import FULL, Journal, Record
from .pareto import non_dominated
from .successive_halving import Halving

A = TypeVar("A")
#: From architectures to (position in the sequence, metrics, seconds), as results come and in any order.
Evaluate = Callable[[Sequence[A]], Iterator[tuple[int, Mapping[str, float], float]]]


def one_by_one(function: Callable[[A], Mapping[str, float]]) -> Evaluate[A]:
    """Evaluate in this process, one architecture after the other, for :func:`run_search`.

    Args:
        function: the metrics of one architecture.
    """

    def evaluate(archs: Sequence[A]) -> Iterator[tuple[int, Mapping[str, float], float]]:
        for position, arch in enumerate(archs):
            started = time.perf_counter()
            metrics = function(arch)
            yield position, metrics, time.perf_counter() - started

    return evaluate


def search_front(
    searcher: Searcher[A], score: Callable[[A], float], budget: int
) -> list[tuple[A, dict[str, float], float]]:
    """Search without a journal, and return the Pareto front.

    Args:
        searcher: a fresh algorithm.
        score: what an architecture is worth; larger is better.
        budget: how many architectures to score, whole generations.

    Returns:
        What no other scored architecture dominates in score and objectives: architecture, costs by name, score; the cheapest
        first. For an algorithm without objectives, the architecture of the best score.

    Raises:
        UserError: when a score is not finite.
    """
    names = searcher.costs.names
    found: list[tuple[A, list[float], float]] = []
    while len(found) < budget and len(codes := searcher.ask()):
        archs = [searcher.space.decode(code) for code in codes]
        scores = [score(arch) for arch in archs]
        searcher.tell(codes, np.array(scores))
        found += list(zip(archs, searcher.costs(codes).tolist(), scores, strict=True))
    objectives = [names.index(name) for name in searcher.objectives]
    if objectives:
        points = np.array([[*(costs[objective] for objective in objectives), score] for _, costs, score in found])
        front = [found[row] for row in np.flatnonzero(non_dominated(points))]
    else:
        front = [max(found, key=lambda entry: entry[2])] if found else []
    return [
        (arch, dict(zip(names, costs, strict=True)), score) for arch, costs, score in sorted(front, key=lambda f: f[1])
    ]


def run_search(
    searcher: Searcher[A],
    evaluate: Evaluate[A],
    journal: Journal[A],
    budget: int,
    score_key: str = "AP",
    on_progress: Callable[[int, Record], None] | None = None,
    halving: Halving[A] | None = None,
    *,
    lower_is_better: bool = False,
) -> list[Record]:
    """Search with a journal: ask, evaluate, record, tell, until ``budget`` candidates have a score or nothing is left to ask.

    What the journal holds already, from a run that was stopped or from another algorithm, is not evaluated again but
    counts: ``budget`` is the number of architectures whose score the algorithm sees. A stopped search continues
    exactly where it was when it is called again with a fresh searcher of the same seed; a larger budget extends it.

    Args:
        searcher: a fresh algorithm.
        evaluate: the metrics of several architectures.
        journal: where records are read and written.
        budget: how many candidates to score.
        score_key: the metric to search by.
        on_progress: called after each scored candidate with the number done and its record.
        halving: evaluates a generation cheaply first; only the survivors are evaluated and counted.
        lower_is_better: the metric is a loss: records keep it as it is, and the algorithm is told its negative.

    Returns:
        The records of the candidates, in the order in which they were asked.

    Raises:
        UserError: when the metrics lack ``score_key`` or its value is not finite, or the costs lack ``macs``.
    """
    if "macs" not in searcher.costs.names:
        raise UserError(
            f"the journal records 'macs', the costs are {', '.join(searcher.costs.names)}; add 'macs' to them"
        )
    done: list[Record] = []

    def scored(record: Record, position: int) -> None:
        if on_progress is not None:
            on_progress(len(done) + position, record)

    while len(done) < budget and len(codes := searcher.ask()):
        if halving is not None:
            losses = _records(searcher, halving.evaluate, journal, codes, halving.metric, halving.stage)
            costs = searcher.costs(codes)[:, [searcher.costs.names.index(name) for name in searcher.objectives]]
            kept = halving.survivors(np.array([record.metrics[halving.metric] for record in losses]), costs)
            searcher.drop(np.setdiff1d(np.arange(len(codes)), kept))
            codes = codes[kept]
        now = codes[: budget - len(done)]
        records = _records(searcher, evaluate, journal, now, score_key, FULL, scored)
        done += records
        if len(now) < len(codes):
            break  # the unfinished generation is asked again when the search is continued
        scores = np.array([record.metrics[score_key] for record in records])
        searcher.tell(codes, -scores if lower_is_better else scores)
    return done


def _records(
    searcher: Searcher[A],
    evaluate: Evaluate[A],
    journal: Journal[A],
    codes: Codes,
    metric: str,
    stage: str,
    on_record: Callable[[Record, int], None] = lambda record, position: None,
) -> list[Record]:
    """The records of the codes, in their order: from the journal, or evaluated and written down as they come."""
    archs = [searcher.space.decode(code) for code in codes]
    found = {i: record for i, arch in enumerate(archs) if (record := journal.find(arch, stage)) is not None}
    for i, record in found.items():
        if metric not in record.metrics:
            raise UserError(
                f"{journal.path}: {archs[i]} was evaluated without {metric}, with {', '.join(record.metrics)}; search by one "
                "of these, or move the file away to evaluate again"
            )
    for number, record in enumerate(found.values(), 1):
        on_record(record, number)
    missing = [i for i in range(len(archs)) if i not in found]
    costs = searcher.costs(codes).tolist()
    for position, metrics, seconds in evaluate([archs[i] for i in missing]) if missing else ():
        i = missing[position]
        _check(archs[i], metrics, metric)  # nothing that cannot be searched by is written down
        other = dict(zip(searcher.costs.names, costs[i], strict=True))
        macs = int(other.pop("macs"))
        found[i] = journal.add(
            archs[i],
            algorithm=searcher.name,
            macs=macs,
            metrics=metrics,
            seconds=seconds,
            costs=other,
            stage=stage,
        )
        on_record(found[i], len(found))
    if len(found) < len(archs):
        raise RuntimeError(f"{len(archs) - len(found)} of {len(missing)} architectures came back without metrics")
    return [found[i] for i in range(len(archs))]


def _check(arch: object, metrics: Mapping[str, float], metric: str) -> None:
    if metric not in metrics:
        raise UserError(f"{arch} has no metric {metric!r}; there are {', '.join(metrics) or 'none'}")
    check_score(arch, float(metrics[metric]))
