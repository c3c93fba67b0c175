"""Skeletons: networks without weights, to be called on slices of a supernet's tensors; one is made within milliseconds.

A training step meets an architecture that was never seen before, so a whole network is never found in a cache. Most of the
time went into two things that repeat from network to network all the same: constructing torch's layers, which are copied
(:mod:`.layer_copies`), and applying the slicing rules, whose results are kept here by all that a rule reads of the smaller module.
Both are functions of what they are looked up by. The network's own constructor runs in full, every time, so there is
nothing to guess about what depends on which choice.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from .layer_copies import HookAdded, copied_layers
from .meta import no_weights
from .rules import READS, Rule, SharingError, rule_of
from .slicing import TensorSlice, canonical_modules, check_tied, counterpart, join, module_slices
from .tied_weights import first_names

A = TypeVar("A")
Store = dict[str, Any]  # the parameters or the buffers of one module, by their names in it


class Cut(NamedTuple):
    """What a skeleton takes of the stored tensors: the part of ``store[key]``, which is a parameter or a buffer."""

    part: TensorSlice
    store: Store
    key: str
    is_parameter: bool

    def tensor(self) -> Tensor:
        """The part as it is now, differentiable."""
        return self.part.of(self.store[self.key])


class Skeleton:
    """A network without weights.

    Attributes:
        module: the network, on the meta device.
        parameters: by first names, what is cut out of the largest network's parameters.
        buffers: the same of its buffers.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.parameters: dict[str, Cut] = {}
        self.buffers: dict[str, Cut] = {}
        self.places: list[tuple[Store, str, str]] = []  # where each tensor stands, and its first name

    @property
    def slices(self) -> dict[str, TensorSlice]:
        """As :func:`supernet.sharing.slicing.slices_of` gives them, parameters first."""
        return {name: cut.part for name, cut in (self.parameters | self.buffers).items()}

    def __call__(self, tensors: Mapping[str, Tensor], images: Tensor) -> Any:
        """Call the network on other tensors than its own, by their first names; it has its own again afterwards."""
        own = [store[key] for store, key, _ in self.places]
        try:
            for store, key, first in self.places:
                store[key] = tensors[first]
            return self.module(images)
        except HookAdded as error:
            raise SharingError(str(error)) from None
        finally:
            for (store, key, _), tensor in zip(self.places, own, strict=True):
                store[key] = tensor


class _Type(NamedTuple):
    """How the modules of one type are looked at."""

    rule: Rule
    container: bool  # without tensors of its own it has nothing to cut
    renames: bool  # the names of its children in the largest network may be no plain attribute
    reads: Callable[[nn.Module], Hashable] | None  # what its rule reads; None where that is not known


class SkeletonBuilder(Generic[A]):
    """Make the skeletons of a supernet.

    Args:
        build: from an architecture to its network.
        network: the largest network, which holds the weights. What modules it has and the shapes of its tensors stay.
    """

    def __init__(self, build: Callable[[A], nn.Module], network: nn.Module) -> None:
        self.build, self.network = build, network
        self._copies = True
        self._targets = {canonical: module for canonical, _, module in canonical_modules(network)}
        self._keys = first_names(network)
        self._stores: dict[str, tuple[Store, bool]] = {}  # by first names; whether it is one of parameters
        for module in network.modules():
            stores: list[tuple[Store, bool]] = [(module._parameters, True), (module._buffers, False)]
            for store, is_parameter in stores:
                for tensor in store.values():
                    if tensor is not None:
                        self._stores.setdefault(self._keys[tensor], (store, is_parameter))
        self._found: dict[Hashable, tuple[tuple[str, str, Cut], ...]] = {}

    @torch.inference_mode(False)  # skeletons outlive the mode that they are first made in
    def __call__(self, arch: A) -> Skeleton:
        """The skeleton of an architecture.

        Raises:
            SharingError: as :func:`supernet.sharing.slicing.slices_of`.
        """
        skeleton = Skeleton(self._network(arch))
        _Walk(self, skeleton).visit(skeleton.module, "", "")
        return skeleton

    def _network(self, arch: A) -> nn.Module:
        if self._copies:
            try:
                with no_weights(), copied_layers():
                    return self.build(arch)
            except HookAdded:
                self._copies = False
        with no_weights():
            return self.build(arch)

    def cuts(self, name: str, canonical: str, module: nn.Module, kind: _Type) -> tuple[tuple[str, str, Cut], ...]:
        """Local name, name and cut of each of a module's own tensors, kept by all that they depend on."""
        key: Hashable = None
        if kind.reads is not None:
            attributes = module.__dict__
            shapes = tuple(
                (local, None if tensor is None else tensor.shape)
                for store in (attributes["_parameters"], attributes["_buffers"])
                for local, tensor in store.items()
            )
            key = (name, canonical, type(module), kind.rule, shapes, kind.reads(module))
            try:
                found = self._found.get(key)
            except TypeError:  # a list where a rule reads widths
                key = found = None
            if found is not None:
                return found
        other = counterpart(name, module, self._targets.get(canonical))
        slices = module_slices(name, module, other, self._keys)
        cuts = tuple((local, join(name, local), self._cut(part)) for local, part in slices.items())
        if key is not None:
            self._found[key] = cuts
        return cuts

    def _cut(self, part: TensorSlice) -> Cut:
        store, is_parameter = self._stores[part.key]
        return Cut(part, store, part.key.rpartition(".")[2], is_parameter)

    def check(self, name: str, canonical: str, module: nn.Module) -> None:
        """Refuse a module without tensors that the largest network lacks, or has of another type."""
        other = self._targets.get(canonical)
        if type(module) is not type(other):
            counterpart(name, module, other)


class _Walk:
    """Walk over one network: what :func:`supernet.sharing.slicing.slices_of` and ``first_names`` do, in one go."""

    def __init__(self, builder: SkeletonBuilder[Any], skeleton: Skeleton) -> None:
        self.builder, self.skeleton = builder, skeleton
        self.types: dict[type[nn.Module], _Type] = {}
        self.names: dict[int, str] = {}  # the first name of every tensor
        self.slices: dict[str, TensorSlice] = {}
        self.seen: set[int] = set()  # modules

    def visit(self, module: nn.Module, canonical: str, name: str) -> None:
        """A module and all below it; names as in :func:`supernet.sharing.slicing.canonical_modules`."""
        kind = self.types.get(type(module)) or self.types.setdefault(type(module), _look_at(type(module)))
        attributes = module.__dict__
        if attributes["_parameters"] or attributes["_buffers"] or not kind.container:
            self._tensors(module, canonical, name, kind)
        else:
            self.builder.check(name, canonical, module)
        children: dict[str, nn.Module | None] = attributes["_modules"]
        if not children:
            return
        renamed: Mapping[str, str] = (
            getattr(module, "canonical", {}) if kind.renames else attributes.get("canonical", {})
        )
        prefix, canonical_prefix = f"{name}." if name else "", f"{canonical}." if canonical else ""
        visited = set()
        for key, child in children.items():
            if child is not None and child not in visited:
                visited.add(child)
                self.visit(child, canonical_prefix + renamed.get(key, key), prefix + key)

    def _tensors(self, module: nn.Module, canonical: str, name: str, kind: _Type) -> None:
        again = id(module) in self.seen
        self.seen.add(id(module))
        parameters: Store = module._parameters
        for local, full, cut in self.builder.cuts(name, canonical, module, kind):
            store = parameters if local in parameters else module._buffers
            first = self.names.setdefault(id(store[local]), full)
            if first in self.slices:
                check_tied(first, self.slices[first], full, cut.part)
            else:
                self.slices[first] = cut.part
                (self.skeleton.parameters if cut.is_parameter else self.skeleton.buffers)[first] = cut
            if not again:
                self.skeleton.places.append((store, local, first))


def _look_at(kind: type[nn.Module]) -> _Type:
    rule = rule_of(kind)
    plain = kind.__getattr__ is nn.Module.__getattr__
    reads = READS.get(rule)
    return _Type(
        rule,
        rule is rule_of(nn.Module),
        not plain or hasattr(kind, "canonical"),
        None if reads is None else _reading(*reads, own=plain and not any(hasattr(kind, name) for name in reads[1])),
    )


def _reading(attributes: tuple[str, ...], optional: tuple[str, ...], own: bool) -> Callable[[nn.Module], Hashable]:
    """From a module to its values of attributes, and of those that it may lack, which are its ``own`` or its class's."""
    get = attrgetter(*attributes) if attributes else lambda module: None

    def read(module: nn.Module) -> Hashable:
        values = module.__dict__
        return (get(module), *(values.get(name) if own else getattr(module, name, None) for name in optional))

    return read
