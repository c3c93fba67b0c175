"""A search space is an architecture whose leaves may be choices.

Architectures are frozen dataclasses. Wherever a value may vary, ``choice(3, 5, 7)`` stands in its place; where a tuple of
blocks may vary in length, ``repeat(block, depth=choice(2, 3, 4))`` stands. :class:`Space` is one walk over that tree:
sampling, mutation, crossover, largest, smallest, size, validation, and the integer code that search libraries want.

The code of an architecture has one integer per gene of the largest architecture: the index of the option, or -1 where
the gene does not exist because its block lies beyond the chosen depth. Absence is part of the code, never a free value,
so two codes are never the same network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

A = TypeVar("A")
Code = npt.NDArray[np.int16]
ENUMERATION_LIMIT = 10_000_000


class ArchitectureError(ValueError):
    """An architecture is not what the space or the family allows; one line that says why."""


@dataclass(frozen=True)
class Choice:
    """One of several options, in ascending order."""

    options: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.options or any(not low < high for low, high in zip(self.options, self.options[1:], strict=False)):
            raise ArchitectureError(f"options must ascend, each once: {self.options}")


@dataclass(frozen=True)
class Repeat:
    """A tuple of ``depth`` elements, each with its own choices."""

    element: Any
    depth: Any


def choice(*options: Any) -> Any:
    """One of ``options`` (ascending), to stand where a plain value stands in an architecture."""
    return Choice(options)


def repeat(element: Any, depth: Any) -> Any:
    """A tuple of ``depth`` copies of ``element``; each copy chooses for itself. ``depth`` may be a choice."""
    return Repeat(element, depth)


@dataclass(frozen=True)
class Gene:
    """One decision. It exists where gene ``parent`` (a depth) has at least option ``threshold``."""

    path: str
    options: tuple[Any, ...]
    parent: int = -1
    threshold: int = 0

    @property
    def kind(self) -> str:
        """The last name of the path, without indices: ``kernel`` for ``stage[1].blocks[2].kernel``."""
        return self.path.rsplit(".", 1)[-1].split("[", 1)[0]


class Space(Generic[A]):
    """All architectures that an architecture with choices stands for.

    Args:
        tree: a frozen dataclass whose leaves may be :class:`Choice` or :class:`Repeat`.

    Raises:
        ArchitectureError: when options do not ascend.
    """

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self.genes = tuple(_genes(tree))
        self.size = _size(tree)
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
        return np.array(list(_encode(self.tree, arch, "")), dtype=np.int16)

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
        arch: A = _decode(self.tree, iter(values))
        return arch

    def mutate(self, arch: A, rng: np.random.Generator, probability: float) -> A:
        """Change every gene with ``probability``, at least one; new blocks draw their choices at random."""
        code = self.encode(arch)
        open_genes = np.flatnonzero((code >= 0) & (self._counts > 1))
        if len(open_genes) == 0:
            return arch
        chosen = open_genes[rng.random(len(open_genes)) < probability]
        if len(chosen) == 0:
            chosen = rng.choice(open_genes, size=1)
        shift = rng.integers(1, self._counts[chosen])
        code[chosen] = (code[chosen] + shift) % self._counts[chosen]
        fresh = rng.integers(0, self._counts)
        return self.decode(self._complete(np.where(code >= 0, code, fresh)))

    def crossover(self, first: A, second: A, rng: np.random.Generator) -> A:
        """Every gene from one parent or the other; a block that only one parent has comes from that one."""
        one, two = self.encode(first), self.encode(second)
        child = np.where(rng.random(len(one)) < 0.5, one, two)
        fresh = rng.integers(0, self._counts)
        other = np.where(one >= 0, one, np.where(two >= 0, two, fresh))
        return self.decode(self._complete(np.where(child >= 0, child, other)))

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
        return Space(_restricted(self.tree, "", kept))

    def _complete(self, indices: npt.NDArray[Any]) -> Code:
        """Indices with -1 put where the chosen depths leave a gene out."""
        codes = indices.astype(np.int16)
        for position, gene in enumerate(self.genes):
            if gene.parent >= 0:
                codes[..., position][codes[..., gene.parent] < gene.threshold] = -1
        return codes


def _matches(gene: Gene, pattern: str) -> bool:
    return gene.kind == pattern or fnmatchcase(gene.path, pattern)


def _kept_options(gene: Gene, which: Any) -> tuple[Any, ...]:
    if which == "all":
        return gene.options
    if isinstance(which, int) and not isinstance(which, bool):
        if which < 1:
            raise ArchitectureError(f"{gene.path}: at least 1 option has to stay, not {which}")
        return gene.options[-which:]
    unknown = [option for option in which if option not in gene.options]
    if unknown or not which:
        options = ", ".join(map(str, gene.options))
        raise ArchitectureError(f"{gene.path}: {', '.join(map(str, unknown)) or 'nothing'} is not among {options}")
    return tuple(option for option in gene.options if option in which)


def _children(node: Any, path: str) -> list[tuple[str, Any]]:
    """The named children of a dataclass or a tuple."""
    if isinstance(node, tuple):
        return [(f"{path}[{index}]", item) for index, item in enumerate(node)]
    prefix = f"{path}." if path else ""
    return [(f"{prefix}{field.name}", getattr(node, field.name)) for field in fields(node)]


def _is_branch(node: Any) -> bool:
    return isinstance(node, tuple) or (is_dataclass(node) and not isinstance(node, type))


def _genes(tree: Any) -> list[Gene]:
    genes: list[Gene] = []

    def walk(node: Any, path: str, parent: int, threshold: int) -> None:
        if isinstance(node, Choice):
            genes.append(Gene(path, node.options, parent, threshold))
        elif isinstance(node, Repeat):
            elastic = isinstance(node.depth, Choice)
            depths = node.depth.options if elastic else (node.depth,)
            if elastic:
                genes.append(Gene(f"{path}.depth", depths, parent, threshold))
            mine = len(genes) - 1
            for index in range(depths[-1]):
                first = next(position for position, depth in enumerate(depths) if depth > index)
                if first == 0:  # always there when the repeat is
                    walk(node.element, f"{path}[{index}]", *((mine, 0) if elastic else (parent, threshold)))
                else:
                    walk(node.element, f"{path}[{index}]", mine, first)
        elif _is_branch(node):
            for name, child in _children(node, path):
                walk(child, name, parent, threshold)

    walk(tree, "", -1, 0)
    return genes


def _size(node: Any) -> int:
    if isinstance(node, Choice):
        return len(node.options)
    if isinstance(node, Repeat):
        each = _size(node.element)
        depths = node.depth.options if isinstance(node.depth, Choice) else (node.depth,)
        return int(sum(each**depth for depth in depths))
    size = 1
    if _is_branch(node):
        for _, child in _children(node, ""):
            size *= _size(child)
    return size


def _encode(node: Any, value: Any, path: str) -> list[int]:
    if isinstance(node, Choice):
        return [_index(node.options, value, path)]
    if isinstance(node, Repeat):
        depths = node.depth.options if isinstance(node.depth, Choice) else (node.depth,)
        if not isinstance(value, tuple):
            raise ArchitectureError(f"{path} is {value!r}, it has to be a tuple of blocks")
        depth = _index(depths, len(value), f"{path}.depth")
        code = [depth] if isinstance(node.depth, Choice) else []
        for index, item in enumerate(value):
            code += _encode(node.element, item, f"{path}[{index}]")
        absent = len(_genes(node.element)) * (depths[-1] - len(value))
        return code + [-1] * absent
    if _is_branch(node):
        if type(node) is not type(value):
            kind = type(node).__name__
            raise ArchitectureError(f"{path or 'architecture'} is a {type(value).__name__}, it has to be a {kind}")
        if isinstance(node, tuple) and len(node) != len(value):
            raise ArchitectureError(f"{path} has {len(value)} entries, the space has {len(node)}")
        code = []
        for (name, child), (_, part) in zip(_children(node, path), _children(value, path), strict=True):
            code += _encode(child, part, name)
        return code
    _index((node,), value, path)
    return []


def _index(options: tuple[Any, ...], value: Any, path: str) -> int:
    if value not in options:
        name = path.rsplit(".", 1)[-1].split("[", 1)[0]
        allowed = f"one of {', '.join(map(str, options))}" if len(options) > 1 else f"{options[0]}"
        raise ArchitectureError(f"{name} {value} is not {allowed} at {path}")
    return options.index(value)


def _decode(node: Any, code: Any) -> Any:
    if isinstance(node, Choice):
        return node.options[next(code)]
    if isinstance(node, Repeat):
        elastic = isinstance(node.depth, Choice)
        depth = node.depth.options[next(code)] if elastic else node.depth
        value = tuple(_decode(node.element, code) for _ in range(depth))
        deepest = node.depth.options[-1] if elastic else depth
        for _ in range(len(_genes(node.element)) * (deepest - depth)):
            next(code)
        return value
    if isinstance(node, tuple):
        return tuple(_decode(item, code) for item in node)
    if _is_branch(node):
        return replace(node, **{field.name: _decode(getattr(node, field.name), code) for field in fields(node)})
    return node


def _restricted(node: Any, path: str, kept: Mapping[str, tuple[Any, ...]]) -> Any:
    """The tree with only the kept options. Copies of a repeat differ then, so a fixed repeat becomes a plain tuple."""
    if isinstance(node, Choice):
        options = kept[path]
        return Choice(options) if len(options) > 1 else options[0]
    if isinstance(node, Repeat):
        depths = kept[f"{path}.depth"] if isinstance(node.depth, Choice) else (node.depth,)
        elements = [_restricted(node.element, f"{path}[{index}]", kept) for index in range(depths[-1])]
        if len(depths) == 1:
            return tuple(elements)
        if any(element != elements[0] for element in elements):
            raise ArchitectureError(f"{path}: the blocks of an elastic depth have to keep the same options")
        return Repeat(elements[0], Choice(depths))
    if isinstance(node, tuple):
        return tuple(_restricted(item, f"{path}[{index}]", kept) for index, item in enumerate(node))
    if _is_branch(node):
        return replace(
            node, **{name.rsplit(".", 1)[-1]: _restricted(child, name, kept) for name, child in _children(node, path)}
        )
    return node
