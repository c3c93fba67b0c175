"""Which architectures one training step runs.

All of them read the same batch, so what decides the size of the input (``resolution``) is drawn once for the step.
"""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import numpy as np

from .protocols import SupportsSpace

A = TypeVar("A")
Sampling = Literal["sandwich", "single_path"]
SHARED = "resolution"


class Sampler(Generic[A]):
    """Draws the architectures of a step from a space.

    Args:
        space: what is open in this stage of the training.
        sampling: ``sandwich`` runs the largest, the smallest and ``random`` others (Yu & Huang 2019, "Universally
            Slimmable Networks"); ``single_path`` runs one random architecture (LitePose).
        random: number of random architectures in a sandwich.
    """

    def __init__(self, space: SupportsSpace[A], sampling: Sampling = "sandwich", random: int = 1) -> None:
        self.space = space
        self.sampling = sampling
        self.random = random
        self._shared = [position for position, gene in enumerate(space.genes) if gene.kind == SHARED]
        self._ends = [space.encode(space.largest), space.encode(space.smallest)] if sampling == "sandwich" else []

    def draw(self, rng: np.random.Generator) -> list[A]:
        """The architectures of one step: all of one input size, none twice, the largest first."""
        count = self.random if self.sampling == "sandwich" else 1
        codes = [*self._ends, *self.space.sample_codes(count, rng)]
        if self._shared:
            size = self.space.sample_codes(1, rng)[0, self._shared]
            codes = [code.copy() for code in codes]
            for code in codes:
                code[self._shared] = size
        return list(dict.fromkeys(self.space.decode(code) for code in codes))
