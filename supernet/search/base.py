"""Ask-and-tell base of all search algorithms: no candidate twice, limits on costs, bounded attempts.

Algorithms work on integer codes, whole generations at once; nothing is decoded that is not evaluated. Every algorithm
is a deterministic function of its generator and of the scores it was told, so nothing of it is ever saved: a killed
search is continued by asking again and telling the scores that were written down.

Shapes: N candidates, G genes of the space, K costs; codes are int16 (N, G), see :class:`.protocols.SupportsSpace`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import UserError
from ..sharing.protocols import Codes, SupportsCosts, SupportsSpace

A = TypeVar("A")
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TRIES = 100  # useless proposals in a row before an algorithm tries something else, or gives up
BATCH = 16  # proposals at once, at least: one more in a batch is nearly free
LISTED = 5_000  # architectures of a space that is small enough to be asked to the very last one
REJECTIONS = 8  # samples beyond a limit before something smaller is made
PROBES = 4_096  # samples among which one within the limits is looked for


class Searcher(Protocol[A]):
    """Interface of a search algorithm: ask for candidates, tell their scores."""

    space: SupportsSpace[A]
    costs: SupportsCosts

    @property
    def name(self) -> str:
        """The algorithm, as the journal records it."""

    @property
    def objectives(self) -> tuple[str, ...]:
        """The costs that it minimises beside the score; none for an algorithm that looks at the score alone."""

    def ask(self) -> Codes:
        """The next candidates (N, G), none of which was asked before; (0, G) when the space or the iterations are exhausted."""

    def drop(self, rows: Sequence[int] | IntArray) -> None:
        """Which of the candidates asked last will get no score; they are never asked again."""

    def tell(self, codes: Codes, scores: FloatArray) -> None:
        """The scores (larger is better) of exactly the candidates that were asked last and not dropped."""


class PopulationSearch(ABC, Generic[A]):
    """Base class of the algorithms: novelty, limits, bounded attempts, checks on what is told.

    Args:
        space: where the architectures come from.
        costs: what architectures cost.
        rng: the only source of randomness.
        population: candidates per generation; NSGA-II does better with 20 than with 40 at the few hundred evaluations that a
            search can pay for.
        objectives: names of the costs to minimise beside the score.
        limits: from the name of a cost to its largest value; no candidate beyond one is ever asked.

    Raises:
        UserError: when a cost has no such name, or when no architecture keeps all limits.
    """

    name = ""

    def __init__(
        self,
        space: SupportsSpace[A],
        costs: SupportsCosts,
        rng: np.random.Generator,
        *,
        population: int = 20,
        objectives: Sequence[str] = ("macs",),
        limits: Mapping[str, float] | None = None,
    ) -> None:
        if population < 2:
            raise UserError(f"population is {population}, it has to be at least 2")
        limits = limits or {}
        for name in (*objectives, *limits):
            if name not in costs.names:
                raise UserError(f"no cost is called {name!r}; there are {', '.join(costs.names)}")
        self.space, self.costs, self.rng, self.population = space, costs, rng, population
        self.objectives = tuple(objectives)
        self._minimised = [costs.names.index(name) for name in objectives]
        self._limits, self._limited = dict(limits), [costs.names.index(name) for name in limits]
        self._bounds = np.array(list(limits.values()), dtype=np.float64)
        self._asked: set[bytes] = set()
        self._history: list[Codes] = []  # the same, in order
        self._open: Codes | None = None
        self._anchor = self._some_within()

    def ask(self) -> Codes:
        """The next candidates; see :class:`Searcher`."""
        if self._open is not None:
            raise RuntimeError("the last candidates have no scores yet: call tell() before the next ask()")
        codes = self._generation()
        if len(codes):
            self._open = codes
        return codes.copy()

    def drop(self, rows: Sequence[int] | IntArray) -> None:
        """Which of the candidates asked last will get no score; see :class:`Searcher`.

        Raises:
            ValueError: when nothing would be left to tell.
        """
        if self._open is None or len(set(rows)) >= len(self._open):
            raise ValueError(f"{len(rows)} of {0 if self._open is None else len(self._open)} candidates dropped")
        self._open = np.delete(self._open, np.asarray(rows, dtype=np.int64), axis=0)

    def tell(self, codes: Codes, scores: FloatArray) -> None:
        """The scores of the candidates asked last; see :class:`Searcher`.

        Raises:
            ValueError: when these are not the candidates asked last, or there is not one score for each.
            UserError: when a score is not a finite number.
        """
        if self._open is None or not np.array_equal(codes, self._open) or np.shape(scores) != (len(codes),):
            wanted = 0 if self._open is None else len(self._open)
            raise ValueError(f"tell() needs one score for each of the {wanted} candidates asked last")
        scores = np.asarray(scores, dtype=np.float64)
        for row in np.flatnonzero(~np.isfinite(scores))[:1]:
            check_score(self.space.decode(codes[row]), float(scores[row]))
        told, self._open = self._open, None
        self._update(told, scores)

    @abstractmethod
    def _generation(self) -> Codes:
        """The next candidates, already through :meth:`_novel`."""

    def _update(self, codes: Codes, scores: FloatArray) -> None:
        """What a told generation changes; nothing, unless an algorithm says otherwise."""

    def _minimise(self, codes: Codes, scores: FloatArray) -> FloatArray:
        """Points of a problem in which everything is minimised: the score's negative, then the objectives."""
        return np.column_stack([-scores, self.costs(codes)[:, self._minimised]])

    def _excess(self, codes: Codes) -> FloatArray:
        """(N,): by what part of a limit the worst cost goes beyond it; at most 0 where all limits are kept."""
        if not self._limited:
            return np.zeros(len(codes))
        beyond = self.costs(codes)[:, self._limited] - self._bounds
        worst: FloatArray = (beyond / np.maximum(np.abs(self._bounds), 1e-9)).max(axis=1)
        return worst

    def _novel(self, wanted: int, propose: Callable[[int], Codes], patience: int = TRIES) -> Codes:
        """Up to ``wanted`` new codes within the limits; stops after ``patience`` useless proposals in a row."""
        found = [np.empty((0, len(self.space.genes)), dtype=np.int16)]
        missing, misses = wanted, 0
        while missing and misses < patience and len(self._asked) < self.space.size:
            batch = propose(max(missing, BATCH))
            taken = self._take(batch[self._excess(batch) <= 0], missing)
            misses = 0 if len(taken) else misses + len(batch)
            missing -= len(taken)
            found.append(taken)
        return np.concatenate(found)

    def _take(self, codes: Codes, wanted: int) -> Codes:
        """The first ``wanted`` of the codes that were never asked, each once; from here on they were."""
        rows: list[int] = []
        for row, code in enumerate(codes):
            if len(rows) == wanted:
                break
            if (key := code.tobytes()) not in self._asked:
                self._asked.add(key)
                rows.append(row)
        taken: Codes = codes[rows]
        if len(taken):
            self._history.append(taken)
        return taken

    def _random(self, wanted: int) -> Codes:
        """Up to ``wanted`` new random codes; fewer only when hardly anything new is left within the limits."""
        found = self._novel(wanted, self._sample)
        if len(found) < wanted and self.space.size <= LISTED:
            found = np.concatenate([found, self._take(self.rng.permutation(self._all), wanted - len(found))])
        return found

    @cached_property
    def _all(self) -> Codes:
        """Every code within the limits."""
        codes = self.space.all_codes()
        return codes[self._excess(codes) <= 0]

    def _sample(self, n: int) -> Codes:
        """Random codes: plain samples within the limits where possible.

        Under tight limits nearly no sample fits. Then half of the others become mutants of former candidates, which
        reaches all that is allowed, and half are crossed with something small until they fit, which spreads over it.
        """
        codes = self.space.sample_codes(n, self.rng)
        excess = self._excess(codes)
        for _ in range(REJECTIONS):
            if not (bad := np.flatnonzero(excess > 0)).size:
                return codes
            codes[bad] = self.space.sample_codes(len(bad), self.rng)
            excess[bad] = self._excess(codes[bad])
        bad = np.flatnonzero(excess > 0)
        if self._history:
            former, bad = bad[::2], bad[1::2]
            parents = np.concatenate(self._history)
            parents = parents[self.rng.integers(len(parents), size=len(former))]
            codes[former] = self.space.mutate_codes(parents, self.rng, 1 / max(1, len(self.space.genes)))
        while bad.size:
            smaller = self.space.crossover_codes(codes[bad], np.tile(self._anchor, (len(bad), 1)), self.rng)
            left = self._excess(smaller)
            codes[bad] = np.where((left < excess[bad])[:, None], smaller, self._anchor)
            excess[bad] = np.minimum(np.where(left < excess[bad], left, 0), excess[bad])
            bad = bad[excess[bad] > 0]
        return codes

    def _some_within(self) -> Codes:
        """The smallest architecture where it keeps the limits, else another one that does, sampled and improved."""
        pool: Codes = self.space.encode(self.space.smallest)[None]
        if self._excess(pool)[0] <= 0:
            return self.space.encode(self.space.smallest)
        rng = np.random.default_rng(0)
        pool = np.concatenate([pool, self.space.sample_codes(PROBES, rng)])
        least = self.costs(pool)[:, self._limited].min(axis=0)
        for (name, limit), cost in zip(self._limits.items(), least.tolist(), strict=True):
            if cost > limit:
                raise UserError(f"limit {name} {limit:,g} is below {cost:,g}, the least that was found; raise it")
        for _ in range(PROBES // 64):
            excess = self._excess(pool)
            best: Codes = pool[excess.argmin()]
            if excess.min() <= 0:
                return best
            mutants = self.space.mutate_codes(np.tile(best, (64, 1)), rng, 1 / max(1, len(self.space.genes)))
            pool = np.concatenate([best[None], mutants])
        together = " and ".join(f"{name} {limit:,g}" for name, limit in self._limits.items())
        raise UserError(f"no architecture was found within the limits {together} together, only each alone; raise one")


def check_score(arch: Any, score: float) -> None:
    """Refuse a score that no algorithm can rank.

    Raises:
        UserError: when it is not finite; names the architecture.
    """
    if not math.isfinite(score):
        raise UserError(f"the score of {arch} is {score}, not a number to search by; check its calibration and weights")
