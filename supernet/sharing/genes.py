"""What may vary in a module in hand: widths of groups of channels, kernels of depthwise convolutions, runs of blocks."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from torch import nn

from .rules import Convolution
from .units import UnitGroup


@dataclass(frozen=True)
class Gene:
    """One thing that varies.

    Attributes:
        kind: ``width``, ``kernel`` or ``depth``.
        title: the module that it is named after.
        options: ascending, the last one is what the module has.
        groups: of a width, the groups of units that shrink in the same ratio; the first option counts units of the largest.
        blocks: of a depth, the names of the blocks that may be removed, from the last on.
        inside: of a depth, the genes of each block.
    """

    kind: str
    title: str
    options: tuple[int, ...]
    groups: tuple[UnitGroup, ...] = ()
    blocks: tuple[str, ...] = ()
    inside: tuple[tuple[Gene, ...], ...] = ()

    @property
    def tensors(self) -> frozenset[str]:
        """The tensors that it changes, but for a depth."""
        if self.kind == "kernel":
            return frozenset({f"{self.title}.weight"})
        return frozenset(name for group in self.groups for name in group.tensors)


def widths_of(
    groups: Sequence[UnitGroup], fractions: Sequence[float], divisor: int, fixed: dict[str, str]
) -> list[Gene]:
    """The width of each group, at fractions of what it has; notes what is too narrow for two."""
    genes = []
    for group in groups:
        sizes = {min(group.size, max(1, round(group.size * one / divisor)) * divisor) for one in fractions} | {
            group.size
        }
        if len(sizes) > 1:
            genes.append(Gene("width", group.title, tuple(sorted(sizes)), (group,)))
        elif group.size > 1:
            fixed[f"width of {group.title}"] = f"{group.size} channels, no smaller multiple of {divisor} is wanted"
    return genes


def kernels_of(module: nn.Module, sizes: Sequence[int]) -> list[Gene]:
    """The kernels of depthwise convolutions, at those sizes whose centre stays where it is."""
    genes = []
    for name, one in module.named_modules():
        if not isinstance(one, Convolution) or not 1 < one.groups == one.in_channels or len(set(one.kernel_size)) > 1:
            continue
        largest, padding = one.kernel_size[0], one.padding
        if (
            isinstance(padding, str)
            or one.padding_mode != "zeros"
            or len(set(padding)) > 1
            or len(set(one.dilation)) > 1
        ):
            continue
        options = [
            size
            for size in sorted({*sizes, largest})
            if size <= largest and (largest - size) % 2 == 0 and padding[0] >= (largest - size) // 2 * one.dilation[0]
        ]
        if len(options) > 1:
            genes.append(Gene("kernel", name, tuple(options)))
    return genes


def runs_of(
    module: nn.Module, residual: Collection[str], genes: Sequence[Gene], fractions: Sequence[float]
) -> list[Gene]:
    """Runs of residual blocks, one after another in a container and alike, of which the last may be removed."""
    runs = []
    for name, container in module.named_modules():
        if not isinstance(container, nn.Sequential | nn.ModuleList):
            continue
        children = [f"{name}.{key}" if name else key for key, _ in container.named_children()]
        inside = {child: _inside(child, genes) for child in children}
        kinds = {child: (child in residual, [_alike(child, gene) for gene in inside[child]]) for child in children}
        for (removable, _), members in groupby(children, kinds.__getitem__):
            blocks = list(members)
            least = int(len(blocks) * min(fractions))
            if len(blocks) == len(children):
                least = max(1, least)
            if removable and least < len(blocks):
                options = tuple(range(least, len(blocks) + 1))
                title = blocks[0]
                runs.append(
                    Gene("depth", title, options, (), tuple(blocks), tuple(tuple(inside[one]) for one in blocks))
                )
    return _outermost(runs)


def joined(genes: Sequence[Gene]) -> list[Gene]:
    """Joint genes of widths that cannot shrink alone: those that share tensors shrink in the same ratio.

    So it is with an embedding and the heads of its attention, whose size the module takes from the embedding's.
    """
    rest, joint = list(genes), []
    while rest:
        members, grown = [rest.pop(0)], True
        while grown:
            near = [gene for gene in rest if any(gene.tensors & other.tensors for other in members)]
            members, rest, grown = [*members, *near], [gene for gene in rest if gene not in near], bool(near)
        groups = tuple(group for gene in members for group in gene.groups)
        widest = max(members, key=lambda gene: gene.options[-1])
        size = widest.options[-1]
        options = [one for one in widest.options if all(group.size * one % size == 0 for group in groups)]
        common = math.gcd(*(group.size for group in groups))
        if len(options) < 2 and common > 1:  # the nearest to what was asked for
            options = [size // common * max(1, round(widest.options[0] * common / size)), size]
        if len(members) > 1 and len(set(options)) > 1:
            title = f"{widest.title} and {len(members) - 1} more"
            joint.append(Gene("width", title, tuple(options), groups))
    return joint


def _inside(block: str, genes: Sequence[Gene]) -> list[Gene]:
    """The genes that change nothing outside of a block."""
    return [
        gene for gene in genes if gene.kind != "depth" and all(name.startswith(f"{block}.") for name in gene.tensors)
    ]


def _alike(block: str, gene: Gene) -> tuple[str, str, tuple[int, ...]]:
    return gene.kind, gene.title.removeprefix(block), gene.options


def _outermost(runs: list[Gene]) -> list[Gene]:
    """Runs that do not lie within a block of another run."""
    prefixes = tuple(f"{block}." for run in runs for block in run.blocks)
    return [run for run in runs if not run.title.startswith(prefixes)]
