"""Slice the weights of a smaller network out of a larger one: leading channels, the centre of a kernel, fewer blocks.

``slices_of`` walks two whole networks and applies the rule of each module's type (:mod:`.rules`). Nothing here knows a family.

Modules are paired by name. Where a checkpoint's layout gives the same thing another name in a smaller network, its parent
says under which name it stands in a larger one: ``block.canonical = {"2": "3"}`` pairs the small block's ``2`` with the
large block's ``3``. What is tied in the smaller network has to be tied in the larger one, and is cut once.

A module that knows its part of the largest network's tensors says so with ``module.slices``, an index for each of its tensors.
Where the largest network has a module and a smaller one ``nn.Identity``, the smaller one is without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from .declarations import DECLARATIONS, SharingError, check_declarations, is_computed, type_before_parametrizations
from .rules import READS, Index, own_tensors, rule_of, share
from .tied_weights import first_names

__all__ = ["SharingError", "TensorSlice", "canonical_modules", "share", "slices_of"]


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
        if self.is_view:
            return tensor[self.index]
        slices = tuple(i if isinstance(i, slice) else slice(None) for i in self.index)
        part = tensor[slices]
        for dim, i in enumerate(self.index):
            if isinstance(i, Tensor):
                part = part.index_select(dim, i.to(part.device))
        return part

    @cached_property
    def is_view(self) -> bool:
        """Whether the part is a view of the tensor: all of its indices are slices."""
        return all(isinstance(i, slice) for i in self.index)

    def put(self, tensor: Tensor, values: Tensor) -> None:
        """Set the part of the whole tensor to values of the part's shape, in place."""
        if self.whole:
            tensor.copy_(values)
            return
        axes = [
            i if isinstance(i, Tensor) else torch.arange(length)[i]
            for i, length in zip(self.index, tensor.shape, strict=True)
        ]
        grid = torch.meshgrid(*(axis.to(tensor.device) for axis in axes), indexing="ij")
        tensor[grid] = values.to(tensor)

    def mark(self, mask: Tensor) -> None:
        """Set the part of a mask of the whole tensor to True, in place."""
        self.put(mask, torch.ones_like(self.of(mask)))


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
        other = counterpart(name, module, targets.get(canonical))
        for local, found in module_slices(name, module, other, keys).items():
            first = names[own_tensors(module)[local]]
            check_tied(first, slices.setdefault(first, found), join(name, local), found)
    return slices


def counterpart(name: str, module: nn.Module, other: nn.Module | None) -> nn.Module:
    """The module of the largest network that a smaller one's is cut out of; refuses one that is missing or of another type."""
    if other is None:
        raise SharingError(
            f"module {name} exists in the smaller network but not in the largest; presence has to grow with the choices"
        )
    if type(module) is nn.Identity:
        return other  # absent, whatever the largest has there
    if type_before_parametrizations(module) is not type_before_parametrizations(other):
        raise SharingError(f"module {name} is {type(module).__name__} here and {type(other).__name__} in the largest")
    return other


def module_slices(name: str, module: nn.Module, other: nn.Module, keys: Mapping[Tensor, str]) -> dict[str, TensorSlice]:
    """The slice for each of a module's own tensors.

    Args:
        name: of the module in the smaller network.
        module: of the smaller network.
        other: its counterpart in the largest one.
        keys: of the largest network's tensors, their names.
    """
    own, theirs = own_tensors(module), own_tensors(other)
    rule = rule_of(type(module))
    try:
        check_declarations(module, READS.get(rule, DECLARATIONS))
        if not own and rule is rule_of(nn.Module):
            return {}  # a container or an activation
        indices = _indices(module, other)
    except SharingError as error:
        raise SharingError(f"module {name or '(the network itself)'}: {error}") from None
    for local in own:
        if local not in indices:
            raise SharingError(f"{join(name, local)} has no counterpart in the largest network")
    return {
        local: TensorSlice(indices[local], tensor.shape == theirs[local].shape, keys[theirs[local]])
        for local, tensor in own.items()
    }


def _indices(small: nn.Module, big: nn.Module) -> dict[str, Index]:
    """What a module says itself, or the rule of its type."""
    own: dict[str, Index] | None = getattr(small, "slices", None)
    if own is not None:
        return own
    return rule_of(nn.Module)(small, big) if is_computed(small) else share(small, big)


def check_tied(first: str, one: TensorSlice, second: str, other: TensorSlice) -> None:
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
        yield from canonical_modules(child, join(canonical, renamed.get(key, key)), join(name, key))


def join(prefix: str, name: str) -> str:
    """The name of something within what is called ``prefix``."""
    return f"{prefix}.{name}" if prefix else name
