"""Slicing rules: which part of each tensor of a larger module a smaller one of the same type uses.

``share(small, big)`` is the rule of a module type. Whoever brings a module type of their own registers a rule with
``@share.register``; the types that follow torch's layout have theirs here.

A convolution that reads a concatenation declares the widths of its parts, ``conv.sources = (a, b)``; it then shares the
leading channels of each part, not of the whole. One whose outputs are read in parts says so with ``conv.targets``. A grouped
convolution whose sources are its groups shares the leading channels of each group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError

Index = tuple[Any, ...]  # one slice, or one tensor of indices, per dimension
Rule = Callable[..., dict[str, Index]]
Convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Deconvolution = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class SharingError(UserError):
    """A smaller network is not a part of the largest one; names the module and the reason."""


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
        return _leading_parts(small, big)
    mine, theirs = own_tensors(small), own_tensors(big)
    for name, tensor in mine.items():
        if name in theirs and tensor.shape != theirs[name].shape:
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


def _leading_parts(small: nn.Module, big: nn.Module) -> dict[str, Index]:
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


def _same(small: nn.Module, big: nn.Module, *attributes: str) -> None:
    for attribute in attributes:
        mine, theirs = getattr(small, attribute), getattr(big, attribute)
        if mine != theirs:
            raise SharingError(f"{attribute} is {mine} here and {theirs} in the largest network")


@share.register(nn.BatchNorm1d)
@share.register(nn.BatchNorm2d)
@share.register(nn.BatchNorm3d)
@share.register(nn.LayerNorm)
def _share_norm(small: nn.Module, big: nn.Module) -> dict[str, Index]:
    _same(small, big, "eps")
    return _leading_parts(small, big)


@share.register(nn.GroupNorm)
def _share_group_norm(small: nn.GroupNorm, big: nn.GroupNorm) -> dict[str, Index]:
    """The leading groups; a group has to be as wide, or its statistics would be those of other channels."""
    _same(small, big, "eps")
    mine, theirs = small.num_channels // small.num_groups, big.num_channels // big.num_groups
    if mine != theirs:
        raise SharingError(
            f"groups of {mine} channels cannot be cut out of groups of {theirs}; "
            "keep the width of a group and vary their number"
        )
    return _leading_parts(small, big)


@share.register(nn.PReLU)
def _share_prelu(small: nn.Module, big: nn.Module) -> dict[str, Index]:
    return _leading_parts(small, big)


@share.register
def _share_linear(small: nn.Linear, big: nn.Linear) -> dict[str, Index]:
    indices = _with_targets(small, big, _leading_parts(small, big), small.out_features)
    return _with_sources(small, big, indices, dim=1)


@share.register(nn.Conv1d)
@share.register(nn.Conv2d)
@share.register(nn.Conv3d)
@share.register(nn.ConvTranspose1d)
@share.register(nn.ConvTranspose2d)
@share.register(nn.ConvTranspose3d)
def _share_convolution(small: Any, big: Any) -> dict[str, Index]:
    _same(small, big, "stride", "dilation", "padding_mode", "output_padding")
    _check_groups(small, big)
    indices = _leading_parts(small, big)
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
    indices = _with_targets(small, big, indices, small.out_channels)
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


def _with_targets(small: Any, big: Any, indices: dict[str, Index], width: int) -> dict[str, Index]:
    """Replace the leading output channels by the leading channels of each part that is read by itself."""
    mine, theirs = getattr(small, "targets", None), getattr(big, "targets", None)
    if mine is None and theirs is None:
        return indices
    chosen = _leading_of_each("targets", mine, theirs, width)
    return {name: (chosen, *index[1:]) for name, index in indices.items()}


def _with_sources(small: Any, big: Any, indices: dict[str, Index], dim: int) -> dict[str, Index]:
    """Replace the leading input channels by the leading channels of each source of a concatenation."""
    mine, theirs = getattr(small, "sources", None), getattr(big, "sources", None)
    if mine is None and theirs is None:
        return indices
    weight = list(indices["weight"])
    weight[dim] = _leading_of_each("sources", mine, theirs, small.weight.shape[dim])
    return {**indices, "weight": tuple(weight)}


def _leading_of_each(name: str, mine: Any, theirs: Any, width: int) -> Tensor:
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
