"""Search space: an architecture whose leaves may be choices; sampling, mutation, crossover, integer codes.

Architectures are frozen dataclasses. Wherever a value may vary, ``choice(3, 5, 7)`` stands in its place; where a tuple of
blocks may vary in length, ``repeat(block, depth=choice(2, 3, 4))`` stands. :class:`Space` offers what is made of walks over
that tree: sampling, mutation, crossover, largest, smallest, size, validation, and the integer code of search libraries.

The code of an architecture has one integer per gene of the largest architecture: the index of the option, or -1 where
the gene does not exist because its block lies beyond the chosen depth. Absence is part of the code, never a free value,
so two codes are never the same network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from .tree import ArchitectureError, Gene, choice, decode, encode, genes_of, repeat, restricted, size_of

__all__ = ["ArchitectureError", "Space", "choice", "repeat"]

A = TypeVar("A")
Code = npt.NDArray[np.int16]
ENUMERATION_LIMIT = 10_000_000


class Space(Generic[A]):
    """All architectures that an architecture with choices stands for.

    Args:
        tree: a frozen dataclass whose leaves may be :class:`Choice` or :class:`Repeat`.

    Raises:
        ArchitectureError: when options do not ascend.
    """

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self.genes = tuple(genes_of(tree))
        self.size = size_of(tree)
        self._counts = np.array([len(gene.options) for gene in self.genes], dtype=np.int64)

    def __repr__(self) -> str:
        return f"Space({type(self.tree).__name__}, {self.size:,} architectures, {len(self.genes)} genes)"

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change whenever the space does."""
        return hashlib.sha256(repr(self.tree).encode()).hexdigest()[:12]

    @cached_property
    def largest(self) -> A:
        """Every choice at its last option."""
        return self.decode(self._complete(self._counts - 1))

    @cached_property
    def smallest(self) -> A:
        """Every choice at its first option."""
        return self.decode(self._complete(np.zeros_like(self._counts)))

    def sample(self, rng: np.random.Generator) -> A:
        """A random architecture: every choice uniform and independent."""
        return self.decode(self.sample_codes(1, rng)[0])

    def sample_codes(self, n: int, rng: np.random.Generator) -> Code:
        """``n`` random codes, shape (n, genes)."""
        return self._complete(rng.integers(0, self._counts, size=(n, len(self.genes))))

    def all_codes(self) -> Code:
        """Every code of the space, shape (size, genes), in lexicographic order.

        Raises:
            ArchitectureError: for more than ten million architectures.
        """
        if self.size > ENUMERATION_LIMIT:
            raise ArchitectureError(f"{self.size:,} architectures are too many to list; sample them instead")
        codes = np.zeros((1, 0), dtype=np.int16)
        for gene in self.genes:
            options = np.arange(len(gene.options), dtype=np.int16)
            present = codes[:, gene.parent] >= gene.threshold if gene.parent >= 0 else np.ones(len(codes), dtype=bool)
            repeats = np.where(present, len(options), 1)
            starts = np.repeat(np.cumsum(repeats) - repeats, repeats)
            column = np.where(np.repeat(present, repeats), np.arange(repeats.sum()) - starts, -1)
            codes = np.column_stack([np.repeat(codes, repeats, axis=0), column.astype(np.int16)])
        return codes

    def encode(self, arch: A) -> Code:
        """Option index per gene, -1 where the gene is absent; shape (genes,).

        Raises:
            ArchitectureError: when ``arch`` is outside of the space, with the place and the reason.
        """
        return np.array(encode(self.tree, arch, ""), dtype=np.int16)

    def decode(self, code: Sequence[int] | Code) -> A:
        """The architecture of a code.

        Raises:
            ArchitectureError: when an index is out of range, or a gene is absent that has to be there, or the reverse.
        """
        values = [int(index) for index in code]
        if len(values) != len(self.genes):
            raise ArchitectureError(f"code has {len(values)} integers, the space has {len(self.genes)} genes")
        for index, gene in zip(values, self.genes, strict=True):
            present = gene.parent < 0 or values[gene.parent] >= gene.threshold
            if present and not 0 <= index < len(gene.options):
                raise ArchitectureError(f"{gene.path}: index {index} is not one of 0 to {len(gene.options) - 1}")
            if not present and index != -1:
                raise ArchitectureError(f"{gene.path}: index {index} for a block beyond the depth; it has to be -1")
        arch: A = decode(self.tree, iter(values))
        return arch

    def mutate(self, arch: A, rng: np.random.Generator, probability: float) -> A:
        """Change every gene with ``probability``, at least one; new blocks draw their choices at random."""
        return self.decode(self.mutate_codes(self.encode(arch)[None], rng, probability)[0])

    def mutate_codes(self, codes: Code, rng: np.random.Generator, probability: float) -> Code:
        """:meth:`mutate` for many: (n, genes) → (n, genes), each row for itself."""
        n, genes = codes.shape
        several = self._counts > 1
        if not several.any():
            return codes.copy()
        # Present genes draw in [0, 1), the others 2: what is below the probability changes, else the least of the row.
        chance, step, new = rng.random((3, n, genes))
        draws = np.where((codes >= 0) & several, chance, 2.0)
        changed = draws < probability
        rows, least = np.arange(n), draws.argmin(axis=1)
        changed[rows, least] |= draws[rows, least] < 1.0
        shifted = (codes + 1 + (step * (self._counts - 1)).astype(np.int64)) % self._counts
        return self._complete(np.where(changed, shifted, np.where(codes >= 0, codes, new * self._counts)))

    def crossover(self, first: A, second: A, rng: np.random.Generator) -> A:
        """Every gene from one parent or the other; a block that only one parent has comes from that one."""
        return self.decode(self.crossover_codes(self.encode(first)[None], self.encode(second)[None], rng)[0])

    def crossover_codes(self, first: Code, second: Code, rng: np.random.Generator) -> Code:
        """:meth:`crossover` for many: row i of both parents, (n, genes) each → child i of (n, genes)."""
        coin, new = rng.random((2, *first.shape))
        child = np.where(coin < 0.5, first, second)
        other = np.maximum(first, second)  # what is absent in one is -1 there
        return self._complete(np.where(child >= 0, child, np.where(other >= 0, other, new * self._counts)))

    def why_not(self, arch: A) -> str | None:
        """The reason why ``arch`` is not in the space, or None when it is."""
        try:
            self.encode(arch)
        except ArchitectureError as error:
            return str(error)
        return None

    def contains(self, arch: A) -> bool:
        """Whether ``arch`` is in the space."""
        return self.why_not(arch) is None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of choices that the space has, each once, in order of appearance."""
        return tuple(dict.fromkeys(gene.kind for gene in self.genes))

    def restrict(self, allowed: Mapping[str, Any], rest: str = "keep") -> Space[A]:
        """A part of the space.

        Args:
            allowed: from a gene's kind (``kernel``) or a path pattern (``stage[[]0].*``) to what stays open: ``"all"``,
                the number of largest options, or the list of options itself. Later entries win.
            rest: what happens to every other choice: ``"keep"`` it open or fix it at its ``"largest"`` option.

        Raises:
            ArchitectureError: when a pattern matches no gene, or an option is not one of the gene's.
        """
        for pattern in allowed:
            if not any(_matches(gene, pattern) for gene in self.genes):
                raise ArchitectureError(f"no choice is called {pattern!r}; there are {', '.join(self.kinds)}")
        kept: dict[str, tuple[Any, ...]] = {}
        for gene in self.genes:
            kept[gene.path] = gene.options if rest == "keep" else gene.options[-1:]
            for pattern, which in allowed.items():
                if _matches(gene, pattern):
                    kept[gene.path] = _kept_options(gene, which)
        return Space(restricted(self.tree, "", kept))

    def _complete(self, indices: npt.NDArray[Any]) -> Code:
        """Indices with -1 put where the chosen depths leave a gene out."""
        codes = indices.astype(np.int16)
        for columns, parents, thresholds in self._levels:
            codes[..., columns] = np.where(codes[..., parents] < thresholds, -1, codes[..., columns])
        return codes

    @cached_property
    def _levels(self) -> list[tuple[npt.NDArray[np.int64], ...]]:
        """Genes that depend on a depth, with that depth's gene and threshold; outer depths before inner ones."""
        levels: dict[int, list[tuple[int, int, int]]] = {}
        level_of: list[int] = []
        for column, gene in enumerate(self.genes):
            level_of.append(level_of[gene.parent] + 1 if gene.parent >= 0 else 0)
            if gene.parent >= 0:
                levels.setdefault(level_of[column], []).append((column, gene.parent, gene.threshold))
        return [tuple(np.array(rows, dtype=np.int64).T) for _, rows in sorted(levels.items())]


def _matches(gene: Gene, pattern: str) -> bool:
    return gene.kind == pattern or fnmatchcase(gene.path, pattern)


def _kept_options(gene: Gene, which: Any) -> tuple[Any, ...]:
    if which == "all":
        return gene.options
    if isinstance(which, int) and not isinstance(which, bool):
        if which < 1:
            raise ArchitectureError(f"{gene.path}: at least 1 option has to stay, not {which}")
        return gene.options[-which:]
    which = [tuple(option) if isinstance(option, list) else option for option in which]  # YAML has no tuples
    unknown = [option for option in which if option not in gene.options]
    if unknown or not which:
        options = ", ".join(map(str, gene.options))
        raise ArchitectureError(f"{gene.path}: {', '.join(map(str, unknown)) or 'nothing'} is not among {options}")
    return tuple(option for option in gene.options if option in which)
