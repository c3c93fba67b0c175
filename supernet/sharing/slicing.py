"""Slice the weights of a smaller network out of a larger one: leading channels, the centre of a kernel, fewer blocks.

``share(small, big)`` is the rule of one module type: from two modules of that type, for every tensor of the small one, to an
index into the big one's tensor of that name. ``slices_of`` walks two whole networks. Nothing here knows a family; whoever
brings a module type of their own registers a rule with ``@share.register``.

A convolution that reads a concatenation declares the widths of its parts, ``conv.sources = (a, b)``; it then shares the
leading channels of each part, not of the whole. One whose outputs are read in parts says so with ``conv.targets``. A grouped
convolution whose sources are its groups shares the leading channels of each group.

Modules are paired by name. Where a checkpoint's layout gives the same thing another name in a smaller network, its parent
says under which name it stands in a larger one: ``block.canonical = {"2": "3"}`` pairs the small block's ``2`` with the
large block's ``3``. What is tied in the smaller network has to be tied in the larger one, and is cut once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from .tied_weights import first_names

Index = tuple[Any, ...]  # one slice, or one tensor of indices, per dimension
Convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Deconvolution = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class SharingError(UserError):
    """A smaller network is not a part of the largest one; names the module and the reason."""


@dataclass(frozen=True)
class TensorSlice:
    """Slice of a tensor of the largest network: ``tensor[index]`` of the one called ``key``; ``whole`` where that is all."""

    index: Index
    whole: bool
    key: str

    def of(self, tensor: Tensor) -> Tensor:
        """The part, differentiable, a view where all indices are slices."""
        if self.whole:
            return tensor
        slices = tuple(i if isinstance(i, slice) else slice(None) for i in self.index)
        part = tensor[slices]
        for dim, i in enumerate(self.index):
            if isinstance(i, Tensor):
                part = part.index_select(dim, i.to(part.device))
        return part

    def mark(self, mask: Tensor) -> None:
        """Set the part of a mask of the whole tensor to True, in place."""
        places = torch.arange(mask.numel(), device=mask.device).view(mask.shape)
        mask.view(-1)[self.of(places).flatten()] = True


@torch.inference_mode(False)  # the slices outlive the mode that they are first made in
def slices_of(small: nn.Module, big: nn.Module) -> dict[str, TensorSlice]:
    """Find the slice of ``big``'s tensors for every parameter and buffer of ``small`` (tied ones by their first name).

    Raises:
        SharingError: when a module is missing in ``big``, differs in type, or cannot be cut out of it, or when tied tensors
            would be cut out of different places.
    """
    slices: dict[str, TensorSlice] = {}
    names, keys = first_names(small), first_names(big)
    targets = {canonical: module for canonical, _, module in canonical_modules(big)}
    for canonical, name, module in canonical_modules(small):
        if canonical not in targets:
            raise SharingError(
                f"module {name} exists in the smaller network but not in the largest; presence has to grow with the choices"
            )
        other = targets[canonical]
        if type(module) is not type(other):
            raise SharingError(
                f"module {name} is {type(module).__name__} here and {type(other).__name__} in the largest"
            )
        own, theirs = _own_tensors(module), _own_tensors(other)
        if not own and share.dispatch(type(module)) is share.dispatch(nn.Module):
            continue  # a container or an activation
        try:
            indices = share(module, other)
        except SharingError as error:
            raise SharingError(f"module {name}: {error}") from None
        for local, tensor in own.items():
            place = _join(name, local)
            if local not in indices:
                raise SharingError(f"{place} has no counterpart in the largest network")
            found = TensorSlice(indices[local], tensor.shape == theirs[local].shape, keys[theirs[local]])
            _check_tied(names[tensor], slices.setdefault(names[tensor], found), place, found)
    return slices


def _check_tied(first: str, one: TensorSlice, second: str, other: TensorSlice) -> None:
    """Refuse one tensor of the smaller network that would have to be two parts of the largest."""
    if one.key != other.key:
        raise SharingError(
            f"{second} is tied to {first} in the smaller network, but not in the largest; tie them in both or in none"
        )
    same = (
        torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else type(a) is type(b) and a == b
        for a, b in zip(one.index, other.index, strict=True)
    )
    if not all(same):
        raise SharingError(
            f"{second} is tied to {first}, but another part of the largest network's; give both the same sources and targets"
        )


def canonical_modules(module: nn.Module, canonical: str = "", name: str = "") -> Iterator[tuple[str, str, nn.Module]]:
    """Iterate over modules, each with the name that it would have in the largest network, and its own."""
    yield canonical, name, module
    renamed: dict[str, str] = getattr(module, "canonical", {})
    for key, child in module.named_children():
        yield from canonical_modules(child, _join(canonical, renamed.get(key, key)), _join(name, key))


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _own_tensors(module: nn.Module) -> dict[str, Tensor]:
    tensors = {**module._parameters, **module._buffers}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


@singledispatch
def share(small: nn.Module, big: nn.Module) -> dict[str, Index]:
    """Slicing rule of a module type: the index into each tensor of ``big`` for ``small``'s; by default equal shapes."""
    mine, theirs = _own_tensors(small), _own_tensors(big)
    for name, tensor in mine.items():
        if name in theirs and tensor.shape != theirs[name].shape:
            raise SharingError(
                f"no rule to cut {name} {tuple(tensor.shape)} out of {tuple(theirs[name].shape)}; "
                f"register one for {type(small).__name__} with @share.register"
            )
    return {name: _leading(tensor.shape) for name, tensor in mine.items() if name in theirs}


def _leading(shape: Sequence[int]) -> Index:
    return tuple(slice(0, length) for length in shape)


def _leading_parts(small: nn.Module, big: nn.Module) -> dict[str, Index]:
    """Leading entries of every dimension."""
    indices, theirs = {}, _own_tensors(big)
    for name, tensor in _own_tensors(small).items():
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
    return _with_sources(small, big, _leading_parts(small, big), dim=1)


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
    indices = _with_targets(small, big, indices)
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


def _with_targets(small: Any, big: Any, indices: dict[str, Index]) -> dict[str, Index]:
    """Replace the leading output channels by the leading channels of each part that is read by itself."""
    mine, theirs = getattr(small, "targets", None), getattr(big, "targets", None)
    if mine is None and theirs is None:
        return indices
    chosen = _leading_of_each("targets", mine, theirs, small.out_channels)
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
