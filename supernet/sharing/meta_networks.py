"""Networks without weights with the slices of a supernet's tensors that belong into them, made within milliseconds.

A training step meets an architecture that was never seen before, so a whole network is never found in a cache. Most of the
time went into two things that repeat from network to network all the same: constructing torch's layers, which are copied
(:mod:`.layer_copies`), and applying the slicing rules, whose results are kept here by all that a rule can read of the smaller
module: shapes and attributes. Results of rules that are not this package's own are not kept. Both are functions of what they
are looked up by. The network's own constructor runs in full, every time, so there is nothing to guess about what depends on
which choice.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from .declarations import SharingError
from .gradients import part_of
from .layer_copies import HookAdded, copied_layers
from .meta import keeps_tensors, no_weights, without_weights
from .rules import Rule, rule_of
from .slicing import TensorSlice, canonical_modules, check_tied, counterpart, join, module_slices
from .tied_weights import first_names

MOST_KEPT = 2**15  # modules whose cuts are kept, of about 2 kB each

_INTERNAL = frozenset(vars(nn.Module()))  # what every module has, tensors and children in it

A = TypeVar("A")
Store = dict[str, Any]  # the parameters or the buffers of one module, by their names in it


class Cut(NamedTuple):
    """What one tensor of a network is cut out of: the part of ``store[key]`` of the largest network."""

    local: str  # name in its module
    name: str  # in the network
    part: TensorSlice
    store: Store
    key: str

    def tensor(self) -> Tensor:
        """The part as it is now, differentiable."""
        return part_of(self.store[self.key], self.part)


class Cuts(NamedTuple):
    """All that one module is cut out of, by the kind of the stored tensor."""

    parameters: tuple[Cut, ...]
    buffers: tuple[Cut, ...]


class MetaNetwork:
    """A network without weights, and the parts of the stored tensors that belong into it.

    Attributes:
        module: the network, on the meta device.
        cuts: for each of its modules with tensors, the module's attributes and what they are cut out of.
        tied: from a name of a tied tensor to its first name.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.cuts: list[tuple[dict[str, Any], Cuts]] = []
        self.tied: dict[str, str] = {}

    @property
    def slices(self) -> dict[str, TensorSlice]:
        """As :func:`supernet.sharing.slicing.slices_of` gives them."""
        cuts = (cut for _, both in self.cuts for cut in (*both.parameters, *both.buffers))
        return {cut.name: cut.part for cut in cuts if cut.name not in self.tied}

    def parameters(self) -> dict[str, Tensor]:
        """The parts of stored parameters by their first names, differentiable."""
        return {cut.name: cut.tensor() for _, cuts in self.cuts for cut in cuts.parameters if cut.name not in self.tied}

    def buffers(self, scratch: bool) -> dict[str, Tensor]:
        """The parts of stored buffers by their first names, or with ``scratch`` copies to be thrown away."""
        cuts = (cut for _, both in self.cuts for cut in both.buffers if cut.name not in self.tied)
        return {cut.name: cut.tensor().clone() if scratch else cut.tensor() for cut in cuts}

    def __call__(self, tensors: Mapping[str, Tensor], images: Tensor) -> Any:
        """Call the network on other tensors than its own, by their first names; it has its own again afterwards."""
        own = []
        try:
            for attributes, cuts in self.cuts:
                parameters, buffers = attributes["_parameters"], attributes["_buffers"]
                own.append((parameters, dict(parameters), buffers, dict(buffers)))
                for cut in (*cuts.parameters, *cuts.buffers):
                    store = parameters if cut.local in parameters else buffers
                    store[cut.local] = tensors[self.tied.get(cut.name, cut.name)]
                if "_flat_weights_names" in attributes:  # a recurrent layer keeps a list of its weights besides
                    attributes["_flat_weights"] = [parameters.get(one) for one in attributes["_flat_weights_names"]]
            return self.module(images)
        except HookAdded as error:
            raise SharingError(str(error)) from None
        finally:
            for parameters, own_parameters, buffers, own_buffers in reversed(own):  # a module may stand in two places
                parameters.update(own_parameters)
                buffers.update(own_buffers)
            for attributes, _ in self.cuts:
                if "_flat_weights_names" in attributes:
                    names = attributes["_flat_weights_names"]
                    attributes["_flat_weights"] = [attributes["_parameters"].get(one) for one in names]


class _Type(NamedTuple):
    """How the modules of one type are looked at."""

    rule: Rule
    container: bool  # without tensors of its own it has nothing to cut
    renames: bool  # the names of its children in the largest network may be no plain attribute
    kept: bool  # its rule reads nothing but tensors' shapes and, unless it is the default, the module's own attributes


class MetaNetworkBuilder(Generic[A]):
    """Make a supernet's networks without weights.

    Args:
        build: from an architecture to its network.
        network: the largest network, which holds the weights. What modules it has and the shapes of its tensors stay.
    """

    def __init__(self, build: Callable[[A], nn.Module], network: nn.Module) -> None:
        self.build, self.network = build, network
        self._copies = True
        self._values: bool | None = None  # whether the constructor needs values; not known before it has run once
        self._targets = {canonical: module for canonical, _, module in canonical_modules(network)}
        self._keys = first_names(network)
        self._stores: dict[str, tuple[Store, bool]] = {}  # by first names; whether it is one of parameters
        for module in network.modules():
            stores: list[tuple[Store, bool]] = [(module._parameters, True), (module._buffers, False)]
            for store, is_parameter in stores:
                for tensor in store.values():
                    if tensor is not None:
                        self._stores.setdefault(self._keys[tensor], (store, is_parameter))
        self._types: dict[type[nn.Module], _Type] = {}
        self._found: dict[Hashable, Cuts] = {}

    @torch.inference_mode(False)  # networks outlive the mode that they are first made in
    def __call__(self, arch: A) -> MetaNetwork:
        """The network of an architecture, without weights, and its slices.

        Raises:
            SharingError: as :func:`supernet.sharing.slicing.slices_of`.
        """
        meta = MetaNetwork(self._network(arch))
        self._types = {kind: look for kind, look in self._types.items() if rule_of(kind) is look.rule}
        self._visit(meta.module, "", "", meta.cuts)
        _tie(meta)
        return meta

    def _network(self, arch: A) -> nn.Module:
        if self._values is None:
            try:
                self._values = keeps_tensors(self._placeholders(arch))
            except (RuntimeError, TypeError):
                self._values = True
        return without_weights(self.build, arch) if self._values else self._placeholders(arch)

    def _placeholders(self, arch: A) -> nn.Module:
        if self._copies:
            try:
                with no_weights(), copied_layers():
                    return self.build(arch)
            except HookAdded:
                self._copies = False
        with no_weights():
            return self.build(arch)

    def _visit(self, module: nn.Module, canonical: str, name: str, cuts: list[tuple[dict[str, Any], Cuts]]) -> None:
        """Walk over a module and all below it, as :func:`supernet.sharing.slicing.canonical_modules` does."""
        kind = type(module)
        look = self._types.get(kind) or self._types.setdefault(kind, _look_at(kind))
        attributes = module.__dict__
        if attributes["_parameters"] or attributes["_buffers"] or not look.container:
            cuts.append((attributes, self._cuts(module, canonical, name, look)))
        elif kind is not type(self._targets.get(canonical)):
            counterpart(name, module, self._targets.get(canonical))  # refuses it
        children: dict[str, nn.Module | None] = attributes["_modules"]
        if not children:
            return
        renamed = getattr(module, "canonical", None) if look.renames else attributes.get("canonical")
        before, canonical_before = f"{name}." if name else "", f"{canonical}." if canonical else ""
        visited = set()
        for key, child in children.items():
            if child is not None and child not in visited:
                visited.add(child)
                own = before + key
                same = canonical is name and not renamed
                self._visit(child, own if same else canonical_before + (renamed or {}).get(key, key), own, cuts)

    def _cuts(self, module: nn.Module, canonical: str, name: str, look: _Type) -> Cuts:
        """The cuts of a module's own tensors, kept by all that they depend on."""
        key: Hashable = None
        if look.kept and (look.container or not module._modules) and "slices" not in module.__dict__:
            parameters, buffers = module._parameters, module._buffers
            shapes = [None if tensor is None else tensor.shape for tensor in parameters.values()]
            shapes += [None if tensor is None else tensor.shape for tensor in buffers.values()]
            own = () if look.container else [item for item in module.__dict__.items() if item[0] not in _INTERNAL]
            key = (
                name, canonical, type(module), look.rule, tuple(own),
                tuple(parameters), tuple(buffers), tuple(shapes),
            )  # fmt: skip
            try:
                found = self._found.get(key)
            except TypeError:  # an attribute is a list or the like
                key = found = None
            if found is not None:
                return found
        other = counterpart(name, module, self._targets.get(canonical))
        cuts: tuple[list[Cut], list[Cut]] = ([], [])
        for local, part in module_slices(name, module, other, self._keys).items():
            store, is_parameter = self._stores[part.key]
            cut = Cut(local, join(name, local), part, store, part.key.rpartition(".")[2])
            cuts[0 if is_parameter else 1].append(cut)
        made = Cuts(tuple(cuts[0]), tuple(cuts[1]))
        if key is not None:
            if len(self._found) >= MOST_KEPT:  # a space of very many combinations
                self._found.clear()
            self._found[key] = made
        return made


def _tie(meta: MetaNetwork) -> None:
    """Find the tensors that have several names, and refuse those that would be several parts of the stored ones."""
    ids = [
        id(tensor)
        for attributes, _ in meta.cuts
        for store in (attributes["_parameters"], attributes["_buffers"])
        for tensor in store.values()
        if tensor is not None
    ]
    if len(set(ids)) == len(ids):
        return
    first: dict[int, Cut] = {}
    for attributes, cuts in meta.cuts:
        parameters, buffers = attributes["_parameters"], attributes["_buffers"]
        for cut in (*cuts.parameters, *cuts.buffers):
            tensor = parameters[cut.local] if cut.local in parameters else buffers[cut.local]
            one = first.setdefault(id(tensor), cut)
            if one is not cut:
                check_tied(one.name, one.part, cut.name, cut.part)
                meta.tied[cut.name] = one.name


def _look_at(kind: type[nn.Module]) -> _Type:
    rule, default = rule_of(kind), rule_of(nn.Module)
    plain = kind.__getattr__ is nn.Module.__getattr__
    ours = rule.__module__.partition(".")[0] == __name__.partition(".")[0]
    return _Type(
        rule,
        container=rule is default,
        renames=not plain or hasattr(kind, "canonical"),
        kept=rule is default or (ours and kind.__module__.startswith("torch.nn.")),
    )
