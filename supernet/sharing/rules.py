"""Slicing rules: which part of each tensor of a larger module a smaller one of the same type uses.

``share(small, big)`` is the rule of a module type. Whoever brings a module type of their own registers a rule with
``@share.register``; the types that follow torch's layout have theirs here.

A convolution that reads a concatenation declares the widths of its parts, ``conv.sources = (a, b)``; it then shares the
leading channels of each part, not of the whole. One whose outputs are read in parts says so with ``conv.targets``. A grouped
convolution whose sources are its groups shares the leading channels of each group. Other layers than convolutions and linear
ones have their rules in :mod:`.layer_rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from .declarations import SharingError, is_computed

Index = tuple[Any, ...]  # one slice, or one tensor of indices, per dimension
Rule = Callable[..., dict[str, Index]]
Convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Deconvolution = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """A module's own parameters and buffers, without those of its children."""
    tensors = {**module._parameters, **module._buffers}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


@singledispatch
def share(small: nn.Module, big: nn.Module) -> dict[str, Index]:
    """Slicing rule of a module type: the index into each tensor of ``big`` for ``small``'s; by default equal shapes.

    A type that says ``shares_leading = True`` shares the leading entries of every dimension of its own tensors.
    """
    if getattr(small, "shares_leading", False):
        return leading_parts(small, big)
    mine, theirs = own_tensors(small), own_tensors(big)
    for name, tensor in mine.items():
        if name in theirs and tensor.shape != theirs[name].shape:
            if is_computed(small):
                raise SharingError(
                    f"{name} {tuple(tensor.shape)} of a weight that is computed (weight_norm, spectral_norm, a parametrisation, "
                    f"pruning) cannot be cut out of {tuple(theirs[name].shape)}; remove it, or keep its shape"
                )
            raise SharingError(
                f"no rule to cut {name} {tuple(tensor.shape)} out of {tuple(theirs[name].shape)}; "
                f"register one for {type(small).__name__} with @share.register"
            )
    return {name: _leading(tensor.shape) for name, tensor in mine.items() if name in theirs}


def rule_of(kind: type[nn.Module]) -> Rule:
    """The slicing rule of a module type."""
    return share.dispatch(kind)


def _leading(shape: Sequence[int]) -> Index:
    return tuple(slice(0, length) for length in shape)


def leading_parts(small: nn.Module, big: nn.Module) -> dict[str, Index]:
    """Leading entries of every dimension."""
    indices, theirs = {}, own_tensors(big)
    for name, tensor in own_tensors(small).items():
        other = theirs.get(name)
        if other is None:
            raise SharingError(f"{name} is missing in the largest network")
        if tensor.dim() != other.dim() or any(s > b for s, b in zip(tensor.shape, other.shape, strict=True)):
            raise SharingError(f"{name} {tuple(tensor.shape)} does not fit into {tuple(other.shape)}")
        indices[name] = _leading(tensor.shape)
    return indices


def same(small: nn.Module, big: nn.Module, *attributes: str) -> None:
    """Refuse modules that differ in an attribute that sharing cannot change."""
    for attribute in attributes:
        mine, theirs = getattr(small, attribute), getattr(big, attribute)
        if mine != theirs:
            raise SharingError(f"{attribute} is {mine} here and {theirs} in the largest network")


@share.register
def _share_linear(small: nn.Linear, big: nn.Linear) -> dict[str, Index]:
    return _with_sources(small, big, _with_targets(small, big, leading_parts(small, big)), dim=1)


@share.register(nn.Conv1d)
@share.register(nn.Conv2d)
@share.register(nn.Conv3d)
@share.register(nn.ConvTranspose1d)
@share.register(nn.ConvTranspose2d)
@share.register(nn.ConvTranspose3d)
def _share_convolution(small: Any, big: Any) -> dict[str, Index]:
    same(small, big, "stride", "dilation", "padding_mode", "output_padding")
    _check_groups(small, big)
    indices = leading_parts(small, big)
    centre = []
    for mine, theirs, pad, big_pad, dilation in zip(
        small.kernel_size, big.kernel_size, small.padding, big.padding, small.dilation, strict=True
    ):
        margin, odd = divmod(theirs - mine, 2)
        if odd:
            raise SharingError(f"kernel {mine} has no place at the centre of kernel {theirs}")
        if big_pad - pad != margin * dilation:
            raise SharingError(
                f"padding {pad} with kernel {mine} shifts against padding {big_pad} with kernel {theirs}"
            )
        centre.append(slice(margin, margin + mine))
    indices["weight"] = (*indices["weight"][:2], *centre)
    indices = _with_targets(small, big, indices, dim=1 if isinstance(small, Deconvolution) else 0)
    if _reads_groups(small) and _reads_groups(big):
        return indices  # a group's weights are the leading ones already
    return _with_sources(small, big, indices, dim=0 if isinstance(small, Deconvolution) else 1)


def _reads_groups(module: Any) -> bool:
    """Whether a convolution declares that its sources are its groups."""
    width = module.in_channels // module.groups
    return bool(module.groups > 1 and getattr(module, "sources", None) == (width,) * module.groups)


def _check_groups(small: Any, big: Any) -> None:
    """Equal groups if there is one; otherwise groups of one fixed width, whose number may vary, or that are sources."""
    if small.groups == big.groups == 1:
        return
    if (
        small.groups == big.groups
        and small.out_channels == big.out_channels
        and _reads_groups(small)
        and _reads_groups(big)
    ):
        return
    mine = (small.in_channels // small.groups, small.out_channels // small.groups)
    theirs = (big.in_channels // big.groups, big.out_channels // big.groups)
    if mine != theirs or (small.groups == 1) != (big.groups == 1) or isinstance(small, Deconvolution):
        raise SharingError(
            f"{small.groups} groups of {mine} channels cannot be cut out of {big.groups} groups of {theirs}; "
            "keep the width of a group and vary their number"
        )


def _with_targets(small: Any, big: Any, indices: dict[str, Index], dim: int = 0) -> dict[str, Index]:
    """Replace the leading output channels by the leading channels of each part that is read by itself."""
    chosen = declared("targets", small, big, small.weight.shape[dim])
    if chosen is None:
        return indices
    places = {name: dim if name == "weight" else 0 for name in indices}
    return {name: (*index[: places[name]], chosen, *index[places[name] + 1 :]) for name, index in indices.items()}


def _with_sources(small: Any, big: Any, indices: dict[str, Index], dim: int) -> dict[str, Index]:
    """Replace the leading input channels by the leading channels of each source of a concatenation."""
    chosen = declared("sources", small, big, small.weight.shape[dim])
    if chosen is None:
        return indices
    weight = indices["weight"]
    return {**indices, "weight": (*weight[:dim], chosen, *weight[dim + 1 :])}


def declared(name: str, small: Any, big: Any, width: int) -> Tensor | None:
    """Indices of what a module declares under a name; None where neither does."""
    mine, theirs = getattr(small, name, None), getattr(big, name, None)
    return None if mine is None and theirs is None else leading_of_each(name, mine, theirs, width)


def leading_of_each(name: str, mine: Any, theirs: Any, width: int) -> Tensor:
    """Indices of the leading channels of each of several parts; ``width`` is what the smaller ones add up to."""
    if (
        mine is None
        or theirs is None
        or len(mine) != len(theirs)
        or any(s > b for s, b in zip(mine, theirs, strict=True))
    ):
        raise SharingError(f"{name} {mine} are not a part of {theirs}")
    if sum(mine) != width:
        raise SharingError(f"{name} {mine} add up to {sum(mine)}, the module has {width} channels there")
    starts = [0, *accumulate(theirs)]
    return torch.cat([torch.arange(start, start + length) for start, length in zip(starts, mine, strict=False)])


#: Which declarations the rules read; what another module declares is refused.
READS: dict[Rule, tuple[str, ...]] = {
    rule_of(nn.Module): (),
    rule_of(nn.Linear): ("sources", "targets"),
    rule_of(nn.Conv2d): ("sources", "targets"),
}
