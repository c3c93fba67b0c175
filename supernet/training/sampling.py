"""Sample the architectures of a training step: sandwich rule, single path, or AttentiveNAS's best-up and worst-up.

All of them read the same batch, so what decides the size of the input (``resolution``) is drawn once for the step.

Uniform sampling spends most of the training on networks that no front holds. AttentiveNAS (Wang et al., CVPR 2021) draws
candidates of equal cost instead, and trains the one that a cheap estimate says is the best of them (best-up) or the worst
(worst-up). The estimate here is the loss of each candidate on the step's own batch. So the choice follows from the step's
number, its batch and the weights, all of which a stopped training has again, and nothing else has to be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..sharing.protocols import Codes, SupportsSpace
from .coverage import UniformCost

A = TypeVar("A")
Sampling = Literal["sandwich", "single_path", "multi_path", "best_up", "worst_up"]
Cost = Callable[[Codes], NDArray[np.int64]]
SHARED = "resolution"
POOL = 16  # architectures drawn for every candidate: the nearest in cost are about as far apart as a 32nd of the space


class Sampler(Generic[A]):
    """Sample the architectures of a training step from a space.

    Args:
        space: what is open in this stage of the training.
        sampling: ``sandwich`` runs the largest, the smallest and ``random`` others (Yu & Huang 2019, "Universally
            Slimmable Networks"); ``single_path`` runs one random architecture (LitePose), ``multi_path`` ``random`` of
            them. ``best_up`` and ``worst_up`` are sandwiches whose others :meth:`choose` takes from :meth:`candidate_groups`.
        random: number of other architectures in a sandwich, or of all in ``multi_path``.
        candidates: of which one is chosen, for ``best_up`` and ``worst_up``.
        cost: of codes of ``space``, for ``best_up``, ``worst_up`` and ``coverage``; a space of one architecture needs none.
        coverage: probability of drawing a random architecture with uniform cost (:mod:`.coverage`), not uniform choices. Where
            the space leaves the input size open, the last one's decides for all of a step.

    Raises:
        UserError: when there is nothing to choose from.
    """

    def __init__(
        self,
        space: SupportsSpace[A],
        sampling: Sampling = "sandwich",
        random: int = 1,
        *,
        candidates: int = 3,
        cost: Cost | None = None,
        coverage: float = 0.0,
    ) -> None:
        self.space = space
        self.sampling = sampling
        self.random = random
        self.candidates = candidates
        self.chooses = sampling in ("best_up", "worst_up")
        if self.chooses and candidates < 2:
            raise UserError(f"SUPERNET.CANDIDATES is {candidates}: {sampling} chooses among at least 2")
        if self.chooses and cost is None and space.size > 1:
            raise ValueError(f"{sampling} needs the cost of codes of the space")
        if coverage and cost is None and space.size > 1:
            raise ValueError("coverage needs the cost of codes of the space")
        self._cost: Any = cost
        self.coverage = coverage if space.size > 1 else 0.0
        self._spread = UniformCost(space, cost) if self.coverage and cost is not None else None
        self._shared = [position for position, gene in enumerate(space.genes) if gene.kind == SHARED]
        ends = [space.encode(space.largest), space.encode(space.smallest)]
        self._ends = [] if sampling in ("single_path", "multi_path") else ends

    def draw(self, rng: np.random.Generator) -> list[A]:
        """Draw the architectures that the step runs in any case: all of one input size, none twice, the largest first."""
        count = {"sandwich": self.random, "single_path": 1, "multi_path": self.random}.get(self.sampling, 0)
        codes = [*self._ends, *self._random_codes(count, rng)]
        if self._shared:
            codes = self._of_size(codes, codes[-1] if self.coverage else self.space.sample_codes(1, rng)[0])
        return list(dict.fromkeys(self.space.decode(code) for code in codes))

    def candidate_groups(self, first: A, rng: np.random.Generator) -> list[list[A]]:
        """Draw groups of architectures of nearly equal cost, of the input size of ``first``; none where none is chosen.

        A group stands around a random architecture, so costs are as frequent as they are in the space.
        """
        groups = []
        for _ in range(self.random if self.chooses and self.space.size > 1 else 0):
            codes = self.space.sample_codes(POOL * self.candidates, rng)
            codes = np.stack(self._of_size(list(codes), self.space.encode(first)))
            costs = self._cost(codes).astype(np.float64)
            nearest = codes[np.argsort(np.abs(costs - costs[0]), kind="stable")]
            chosen = islice(dict.fromkeys(tuple(code.tolist()) for code in nearest), self.candidates)
            groups.append([self.space.decode(np.array(code, dtype=np.int16)) for code in chosen])
        return groups

    def choose(self, groups: Sequence[Sequence[A]], loss: Callable[[A], float]) -> list[A]:
        """Choose from each group the architecture of least (``best_up``) or largest loss; of equals the first."""
        select: Callable[..., A] = min if self.sampling == "best_up" else max
        return [select(group, key=loss) for group in groups]

    def _random_codes(self, count: int, rng: np.random.Generator) -> list[Codes]:
        """Codes of uniform choices, or with the probability ``coverage`` of uniform cost."""
        codes = list(self.space.sample_codes(count, rng))
        if self._spread is not None:
            covering = rng.random(count) < self.coverage
            codes = [
                self._spread.sample_code(rng) if other else code for code, other in zip(codes, covering, strict=True)
            ]
        return codes

    def _of_size(self, codes: list[Codes], like: Codes) -> list[Codes]:
        """The codes with the input size of ``like``."""
        codes = [code.copy() for code in codes]
        for code in codes:
            code[self._shared] = like[self._shared]
        return codes
