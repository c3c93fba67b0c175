"""Protocols of a search space and of its costs: what sharing, training and search need to know of them.

The core never imports a search space: anything that has these methods will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int16]

A = TypeVar("A")


class SupportsGene(Protocol):
    """One choice of a space."""

    @property
    def path(self) -> str:
        """Where the choice stands in the architecture, such as ``stages[1].blocks[2].kernel``."""
        ...

    @property
    def options(self) -> Sequence[Any]:
        """Its options, ascending."""
        ...

    @property
    def kind(self) -> str:
        """What varies, the last name of the path: ``kernel``."""
        ...


@runtime_checkable
class SupportsSpace(Protocol[A]):
    """A finite set of architectures ``A`` with an integer code for each.

    A code has one entry per gene: the index of the chosen option, or -1 where the architecture has no such gene
    (a block beyond the depth).
    """

    @property
    def size(self) -> int:
        """Number of architectures."""
        ...

    @property
    def genes(self) -> Sequence[SupportsGene]:
        """The choices, in the order of the code."""
        ...

    @property
    def largest(self) -> A:
        """The architecture with the last option everywhere."""
        ...

    @property
    def smallest(self) -> A:
        """The architecture with the first option everywhere."""
        ...

    def sample(self, rng: np.random.Generator) -> A:
        """Draw one architecture."""
        ...

    def encode(self, arch: A) -> Codes:
        """Code of an architecture: int16 (genes,)."""
        ...

    def decode(self, code: Codes) -> A:
        """Architecture of a code; refuses a code that is none."""
        ...

    def sample_codes(self, n: int, rng: np.random.Generator) -> Codes:
        """Draw n architectures: int16 (n, genes)."""
        ...

    def all_codes(self) -> Codes:
        """Every architecture once: int16 (size, genes)."""
        ...

    def mutate(self, arch: A, rng: np.random.Generator, probability: float) -> A:
        """Redraw each choice with the given probability."""
        ...

    def crossover(self, a: A, b: A, rng: np.random.Generator) -> A:
        """Take each choice from one of two parents."""
        ...

    def mutate_codes(self, codes: Codes, rng: np.random.Generator, probability: float) -> Codes:
        """Redraw each choice of each row of (n, genes) with the given probability."""
        ...

    def crossover_codes(self, a: Codes, b: Codes, rng: np.random.Generator) -> Codes:
        """Children of row i of one with row i of the other: (n, genes)."""
        ...

    def contains(self, arch: A) -> bool:
        """Whether the architecture belongs to the space."""
        ...

    def why_not(self, arch: A) -> str | None:
        """One line that says which entry lies outside of the space, or None."""
        ...


class SupportsCosts(Protocol):
    """What architectures cost, many at once, in the quantities that a search minimises or limits.

    Attributes:
        names: such as those of :data:`supernet.cost.costs.COSTS`, in the order of the columns.
    """

    names: tuple[str, ...]

    def __call__(self, codes: Codes) -> NDArray[np.float64]:
        """Costs of N codes, (N, len(names)); whole numbers are exact below 2^53."""
        ...
