"""A search space of any module in hand: widths, kernels of depthwise convolutions, removable residual blocks.

The module is run once on labels (:mod:`supernet.sharing.labelling`), which says what may be removed together. What is then
found not to run, or to meet other weights, when it is smaller, stays as it is, with the reason.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.space import Space, choice, repeat

from ..errors import UserError
from .cutting import cut_out
from .declarations import check_weights
from .genes import Gene, joined, kernels_of, runs_of, widths_of
from .label_audit import conflict
from .labelling import label, on_device
from .slicing import slices_of
from .tied_weights import fill, first_names
from .units import kept, sort_units, unit_groups


@dataclass(frozen=True)
class Block:
    """What varies within a residual block that may be removed: see :class:`ModuleArch`."""

    width: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()


@dataclass(frozen=True)
class ModuleArch:
    """What varies in a module.

    Attributes:
        width: of each group of channels how many, or of each joint group how many of its first one.
        kernel: of each depthwise convolution the size of its kernel.
        runs: of each run of alike residual blocks those that are there.
        input_hw: height and width of the example, where it was a batch of images.
    """

    width: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    runs: tuple[tuple[Block, ...], ...] = ()
    input_hw: tuple[int, int] | None = None


class Elastic:
    """What may vary in a module, found by running it.

    Attributes:
        module: a copy of it, with its weights.
        space: of :class:`ModuleArch`.
        fixed: what stays as it is, with the reason.
        covered: fraction of the weights that are in a tensor that can shrink, or in a block that can be removed.
    """

    def __init__(
        self,
        module: nn.Module,
        example: Tensor,
        *,
        include: Sequence[str] = ("*",),
        exclude: Sequence[str] = (),
        fractions: Sequence[float] = (0.5, 0.75, 1.0),
        divisor: int = 8,
        kernels: Sequence[int] = (3, 5, 7),
        importance: str | None = None,
    ) -> None:
        _check(module, example, include, exclude, fractions, divisor, importance)
        self.module = copy.deepcopy(module)
        self.example = example if len(example) > 1 else torch.cat([example, example])
        self.labels = label(self.module, (self.example,))
        evaluated = {name for name, _ in label(self.module, (self.example,), [False]).first}
        self.modes = (False,) if evaluated == {name for name, _ in self.labels.first} else (False, True)
        self.ghost = on_device(self.module, "meta")
        self.tensors = {name: tensor for tensor, name in first_names(self.module).items()}
        self.shapes = {name: tensor.shape for name, tensor in self.tensors.items()}
        self.fixed: dict[str, str] = {}
        chosen = partial(_chosen, include=include, exclude=exclude)
        groups = [group for group in unit_groups(self.labels) if all(map(chosen, _modules(group.tensors)))]
        if importance:
            sort_units(groups, self.tensors)
        genes = [*widths_of(groups, fractions, divisor, self.fixed)]
        genes += [gene for gene in kernels_of(self.module, kernels) if chosen(gene.title)]
        genes = self._accepted(genes)
        runs = [gene for gene in runs_of(self.module, self.labels.residual, genes, fractions) if chosen(gene.title)]
        accepted = self._accepted([*genes, *runs])
        self.runs = runs_of(
            self.module, self.labels.residual, [gene for gene in accepted if gene.kind != "depth"], fractions
        )
        self.runs = [run for run in self.runs if run.title in {gene.title for gene in accepted if gene.kind == "depth"}]
        own = {id(gene) for run in self.runs for block in run.inside for gene in block}
        self.widths = [gene for gene in accepted if gene.kind == "width" and id(gene) not in own]
        self.kernels = [gene for gene in accepted if gene.kind == "kernel" and id(gene) not in own]
        size = (int(example.shape[2]), int(example.shape[3])) if example.dim() == 4 else None
        tree: Any = ModuleArch(
            tuple(choice(*gene.options) for gene in self.widths),
            tuple(choice(*gene.options) for gene in self.kernels),
            tuple(repeat(_block(run.inside[0]), choice(*run.options)) for run in self.runs),
            size,
        )
        self.space: Space[ModuleArch] = Space(tree)
        if not self.space.genes:
            reasons = (
                "; ".join(f"{what}: {why}" for what, why in self.fixed.items())
                or "all reads the input or makes the output"
            )
            raise UserError(f"nothing in {type(module).__name__} may vary: {reasons[:300]}")
        self._report()

    def build(self, arch: ModuleArch) -> nn.Module:
        """The network of an architecture, without weights; its modules say which part of the largest one's they have."""
        values = [*zip(self.widths, arch.width, strict=True), *zip(self.kernels, arch.kernel, strict=True)]
        for run, blocks in zip(self.runs, arch.runs, strict=True):
            values.append((run, len(blocks)))
            for inside, block in zip(run.inside, blocks, strict=False):
                values += zip(inside, (*block.width, *block.kernel), strict=True)
        return self._build(values)

    def _build(self, values: Sequence[tuple[Gene, int]]) -> nn.Module:
        stay: dict[tuple[str, int], list[int]] = {}
        sizes, absent = {}, list[str]()
        for gene, value in values:
            if gene.kind == "kernel":
                sizes[gene.title] = value
            elif gene.kind == "depth":
                absent += gene.blocks[value:]
            else:
                for group in gene.groups:
                    for place, own in kept(group, group.size * value // gene.options[-1], self.shapes).items():
                        stay[place] = sorted(set(own) & set(stay[place])) if place in stay else own
        return cut_out(self.ghost, stay, sizes, absent)

    # -- what works

    def _accepted(self, genes: list[Gene]) -> list[Gene]:
        """The widths and kernels that may each be at any option; of the others, joint ones, or they are fixed with the reason.

        All at once, and then half of them in log2 ways, so that of each two genes one is small while the other is large.
        """
        failed: dict[str, tuple[Gene, str]] = {}
        bits = range((len(genes) - 1).bit_length() if genes else 0)
        for chosen in [genes, *([gene for at, gene in enumerate(genes) if at >> bit & 1] for bit in bits)]:
            self._find_faults([gene for gene in chosen if gene.title not in failed], 0, failed)
        for level in range(1, max((len(gene.options) for gene in genes), default=1) - 1):
            self._find_faults([gene for gene in genes if gene.title not in failed], level, failed)
        good = [gene for gene in genes if gene.title not in failed]
        for gene in joined([gene for gene, _ in failed.values() if gene.kind == "width"]):
            if all(
                self._why_not(all_of, level) is None
                for level in range(len(gene.options) - 1)
                for all_of in ([gene], [*good, gene])
            ):
                good.append(gene)
        shared = {group.title for gene in good for group in gene.groups}
        for title, (gene, reason) in failed.items():
            if title not in shared:
                self.fixed[f"{gene.kind} of {title}"] = reason
        return good

    def _accepted_runs(self, runs: list[Gene], genes: list[Gene]) -> list[Gene]:
        """The runs of blocks that may be short."""
        failed: dict[str, tuple[Gene, str]] = {}
        for gene in runs:
            self._find_faults([gene], 0, failed) if self._why_not(runs, 0) else None
        good = [gene for gene in runs if gene.title not in failed]
        if good and self._why_not([*genes, *good], 0):
            failed |= {gene.title: (gene, "does not run with all that is small") for gene in good}
        self.fixed |= {f"blocks from {title} on": reason for title, (_, reason) in failed.items()}
        return [gene for gene in good if gene.title not in failed]

    def _find_faults(self, genes: list[Gene], level: int, failed: dict[str, tuple[Gene, str]]) -> None:
        """Note genes with which the network does not work; each alone, or the later ones of those that do not fit together."""
        reason = self._why_not(genes, level) if genes else None
        if reason is None:
            return
        if len(genes) == 1:
            failed[genes[0].title] = genes[0], reason
            return
        half, before = len(genes) // 2, len(failed)
        self._find_faults(genes[:half], level, failed)
        self._find_faults(genes[half:], level, failed)
        if len(failed) == before:
            failed |= {gene.title: (gene, reason) for gene in genes[half:]}

    def _why_not(self, genes: Sequence[Gene], level: int) -> str | None:
        """Why a network with these genes at their option ``level`` and all others at their largest does not work."""
        network = self._build([(gene, gene.options[min(level, len(gene.options) - 1)]) for gene in genes])
        if self.labels.device == "cpu":
            parts = slices_of(network, self.module)
            fill(network, {name: part.of(self.tensors[part.key].detach()) for name, part in parts.items()})
        try:
            labels = label(network, (self.example,), self.modes)
        except UserError as error:
            return str(error).partition("example: ")[2]
        if labels.outputs != {mode: self.labels.outputs[mode] for mode in self.modes}:
            return "the output would have another shape"
        return conflict(labels, self.labels, slices_of(network, self.ghost))

    # -- what was found

    def _report(self) -> None:
        touched = {name for gene in [*self.widths, *self.kernels] for name in gene.tensors}
        for run in self.runs:
            inside = tuple(f"{block}." for block in run.blocks[run.options[0] :])
            touched |= {name for name in self.tensors if name.startswith(inside)}
            touched |= {name for block in run.inside for gene in block for name in gene.tensors}
        weights = {name: tensor.numel() for name, tensor in self.module.named_parameters()}
        self.covered = sum(count for name, count in weights.items() if name in touched) / max(1, sum(weights.values()))
        for (operation, where), _ in self.labels.unknown.items():
            self.fixed.setdefault(
                f"what {operation} meets in {where or 'the network itself'}", "the operation is not understood"
            )
        for name, count in weights.items():
            if name not in touched and count > 0.01 * sum(weights.values()):
                self.fixed.setdefault(name, "reads the input, makes the output, or meets what is fixed")

    def __str__(self) -> str:
        """What varies, and what stays as it is, line by line."""
        widths = len(self.widths) + sum(len(run.inside[0]) * len(run.blocks) for run in self.runs)
        lines = [
            f"{self.space.size:.3g} architectures: {widths} widths and kernels, {len(self.runs)} runs of blocks; "
            f"{self.covered:.1%} of the weights in something elastic"
        ]
        return "\n".join([*lines, *(f"  fixed: {what}: {reason}" for what, reason in self.fixed.items())])


def _block(genes: Sequence[Gene]) -> Block:
    widths, kernels = ([gene for gene in genes if gene.kind == kind] for kind in ("width", "kernel"))
    return Block(*(tuple(choice(*gene.options) for gene in own) for own in (widths, kernels)))


def _modules(tensors: frozenset[str]) -> set[str]:
    return {name.rpartition(".")[0] for name in tensors}


def _chosen(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether a module may vary."""
    return any(fnmatchcase(name, one) for one in include) and not any(fnmatchcase(name, one) for one in exclude)


def _check(
    module: nn.Module,
    example: Any,
    include: Sequence[str],
    exclude: Sequence[str],
    fractions: Sequence[float],
    divisor: int,
    importance: str | None,
) -> None:
    """Refuse arguments that mean nothing.

    Raises:
        UserError: with the argument.
    """
    if not isinstance(example, Tensor) or not example.dim():
        raise UserError("example_inputs has to be one tensor, batch first, as the supernet takes one")
    if not fractions or not all(0 < one <= 1 for one in fractions):
        raise UserError(f"fractions have to be above 0 and at most 1: {tuple(fractions)}")
    if divisor < 1:
        raise UserError(f"divisor has to be at least 1, not {divisor}")
    if importance not in (None, "l1"):
        raise UserError(
            f"importance {importance!r} is not known; it is 'l1', or None to leave the channels in their order"
        )
    check_weights(module)
    names = [name for name, _ in module.named_modules()]
    for pattern in (*include, *exclude):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(f"{pattern!r} is the name of no module of {type(module).__name__}")
