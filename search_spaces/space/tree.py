"""Trees of choices: ``choice`` and ``repeat``, and the walks over an architecture that has them at its leaves.

A tree is a frozen dataclass whose fields are values, tuples, other dataclasses, :class:`Choice` or :class:`Repeat`.
:class:`~search_spaces.space.space.Space` is made of these walks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any


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


def _children(node: Any, path: str) -> list[tuple[str, Any]]:
    """The named children of a dataclass or a tuple."""
    if isinstance(node, tuple):
        return [(f"{path}[{index}]", item) for index, item in enumerate(node)]
    prefix = f"{path}." if path else ""
    return [(f"{prefix}{field.name}", getattr(node, field.name)) for field in fields(node)]


def _is_branch(node: Any) -> bool:
    return isinstance(node, tuple) or (is_dataclass(node) and not isinstance(node, type))


def genes_of(tree: Any) -> list[Gene]:
    """Every decision of the largest architecture, a depth before the blocks that depend on it."""
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
        _check_value(node, path or "architecture")

    walk(tree, "", -1, 0)
    return genes


def _check_value(node: Any, path: str) -> None:
    """Refuse what cannot be compared and kept: architectures are values.

    Raises:
        ArchitectureError: with the place and the remedy.
    """
    if isinstance(node, list | dict | set):
        remedy = "write a frozen dataclass" if isinstance(node, dict) else "write a tuple"
        raise ArchitectureError(f"{path} is a {type(node).__name__}, which no architecture can have; {remedy}")
    if isinstance(node, Choice):
        for option in node.options:
            _check_value(option, f"an option of {path}")
    elif is_dataclass(node) and not isinstance(node, type) and not type(node).__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ArchitectureError(
            f"{path} is a {type(node).__name__}, which is not frozen; write @dataclass(frozen=True)"
        )


def size_of(node: Any) -> int:
    """The number of architectures, exact."""
    if isinstance(node, Choice):
        return len(node.options)
    if isinstance(node, Repeat):
        each = size_of(node.element)
        depths = node.depth.options if isinstance(node.depth, Choice) else (node.depth,)
        return int(sum(each**depth for depth in depths))
    size = 1
    if _is_branch(node):
        for _, child in _children(node, ""):
            size *= size_of(child)
    return size


def encode(node: Any, value: Any, path: str) -> list[int]:
    """The option index of every gene, -1 where it is absent.

    Raises:
        ArchitectureError: with the place and the reason, when ``value`` is not one of the tree's architectures.
    """
    if isinstance(node, Choice):
        return [_index(node.options, value, path)]
    if isinstance(node, Repeat):
        depths = node.depth.options if isinstance(node.depth, Choice) else (node.depth,)
        if not isinstance(value, tuple):
            raise ArchitectureError(f"{path} is {value!r}, it has to be a tuple of blocks")
        depth = _index(depths, len(value), f"{path}.depth")
        code = [depth] if isinstance(node.depth, Choice) else []
        for index, item in enumerate(value):
            code += encode(node.element, item, f"{path}[{index}]")
        absent = len(genes_of(node.element)) * (depths[-1] - len(value))
        return code + [-1] * absent
    if _is_branch(node):
        if type(node) is not type(value):
            kind = type(node).__name__
            raise ArchitectureError(f"{path or 'architecture'} is a {type(value).__name__}, it has to be a {kind}")
        if isinstance(node, tuple) and len(node) != len(value):
            raise ArchitectureError(f"{path} has {len(value)} entries, the space has {len(node)}")
        code = []
        for (name, child), (_, part) in zip(_children(node, path), _children(value, path), strict=True):
            code += encode(child, part, name)
        return code
    _index((node,), value, path)
    return []


def _index(options: tuple[Any, ...], value: Any, path: str) -> int:
    if value not in options:
        name = path.rsplit(".", 1)[-1].split("[", 1)[0]
        allowed = f"one of {', '.join(map(str, options))}" if len(options) > 1 else f"{options[0]}"
        raise ArchitectureError(f"{name} {value} is not {allowed} at {path}")
    return options.index(value)


def decode(node: Any, code: Iterator[int]) -> Any:
    """The architecture of a valid code, read from an iterator."""
    if isinstance(node, Choice):
        return node.options[next(code)]
    if isinstance(node, Repeat):
        elastic = isinstance(node.depth, Choice)
        depth = node.depth.options[next(code)] if elastic else node.depth
        value = tuple(decode(node.element, code) for _ in range(depth))
        deepest = node.depth.options[-1] if elastic else depth
        for _ in range(len(genes_of(node.element)) * (deepest - depth)):
            next(code)
        return value
    if isinstance(node, tuple):
        return tuple(decode(item, code) for item in node)
    if _is_branch(node):
        return replace(node, **{field.name: decode(getattr(node, field.name), code) for field in fields(node)})
    return node


def restricted(node: Any, path: str, kept: Mapping[str, tuple[Any, ...]]) -> Any:
    """The tree with only the kept options. Copies of a repeat differ then, so a fixed repeat becomes a plain tuple."""
    if isinstance(node, Choice):
        options = kept[path]
        return Choice(options) if len(options) > 1 else options[0]
    if isinstance(node, Repeat):
        depths = kept[f"{path}.depth"] if isinstance(node.depth, Choice) else (node.depth,)
        elements = [restricted(node.element, f"{path}[{index}]", kept) for index in range(depths[-1])]
        if len(depths) == 1:
            return tuple(elements)
        if any(element != elements[0] for element in elements):
            raise ArchitectureError(f"{path}: the blocks of an elastic depth have to keep the same options")
        return Repeat(elements[0], Choice(depths))
    if isinstance(node, tuple):
        return tuple(restricted(item, f"{path}[{index}]", kept) for index, item in enumerate(node))
    if _is_branch(node):
        return replace(
            node, **{name.rsplit(".", 1)[-1]: restricted(child, name, kept) for name, child in _children(node, path)}
        )
    return node
