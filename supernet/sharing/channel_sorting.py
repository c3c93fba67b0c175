"""Sort channels by importance (L1 norm) without changing what a network computes.

A supernet cuts a narrower layer out of a wider one by its leading channels, so the leading ones should be those that
matter. Channels of a layer may be reordered when everything that touches them is reordered alike: the layer that makes
them, its normalisation, depthwise convolutions on the way, whatever is added to them, and the layers that read them.
:func:`channel_groups` finds what is coupled so in any network that torch.fx can trace; what it does not understand, it
leaves as it is.

Once-for-all (Cai et al., 2020, §3.3) sorts by the L1 norm of the weights that read a channel, as here.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F  # noqa: N812

from ..errors import UserError

Axis = tuple[str, int]  # state-dict key, dimension

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_PER_CHANNEL = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
# fmt: off
_PASSING_MODULES = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid,
    nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Softplus, nn.Dropout, nn.Dropout2d, nn.MaxPool2d,
    nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Upsample, nn.ZeroPad2d, nn.ReflectionPad2d,
    nn.ReplicationPad2d,
)
_PASSING = frozenset({
    F.relu, F.relu6, F.leaky_relu, F.elu, F.gelu, F.silu, F.mish, F.hardtanh, F.hardswish, F.hardsigmoid, F.dropout,
    F.dropout2d, F.sigmoid, F.tanh, F.interpolate, F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d,
    F.adaptive_max_pool2d,
    torch.relu, torch.relu_, torch.sigmoid, torch.tanh, torch.clamp, torch.neg, operator.neg,
    "relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_", "clamp", "clamp_", "contiguous", "clone", "neg", "detach",
})
_ELEMENTWISE = frozenset({
    operator.add, operator.sub, operator.mul, operator.truediv, operator.iadd, operator.isub, operator.imul,
    torch.add, torch.sub, torch.mul, torch.div, torch.maximum, torch.minimum,
    "add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_",
})
# fmt: on


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that may be reordered together.

    Attributes:
        members: every (state-dict key, dimension) that has to be reordered alike.
        consumers: those of the members that are input dimensions of a weight.
        producers: those that are output dimensions of a weight.
        size: number of channels.
    """

    members: tuple[Axis, ...]
    consumers: tuple[Axis, ...]
    producers: tuple[Axis, ...]
    size: int


def channel_groups(module: nn.Module, input_shape: tuple[int, ...]) -> list[ChannelGroup]:
    """Find the groups of channels that may be reordered together, in the order of their first use.

    Not free are the channels of the input and of the outputs, and those that meet an operation whose effect on the
    order is not known: concatenation, chunk, shuffle, view, a grouped convolution, a layer with a parametrised weight.

    Args:
        module: a network that takes one tensor (B, C, ...); it is traced in both modes, not computed.
        input_shape: of that tensor, e.g. ``(1, 3, H, W)``.

    Raises:
        UserError: when torch.fx cannot trace the network, with its reason.
    """
    coupling, ghost = _Coupling(module), copy.deepcopy(module).to("meta")
    images = torch.empty((max(2, input_shape[0]), *input_shape[1:]), device="meta", dtype=_dtype(module))
    try:
        for training in (False, True):  # a head that only training uses reads channels too
            with torch.no_grad():
                _Walk(fx.symbolic_trace(ghost.train(training)), coupling).run(images)
    except Exception as error:  # this runs the network's own code, which may raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"cannot trace {type(module).__name__} to sort its channels: {reason}; leave it unsorted"
        ) from None
    return list(coupling.free_groups())


@torch.no_grad()
def sort_channels(module: nn.Module, input_shape: tuple[int, ...], importance: str = "l1") -> None:
    """Sort every free group of channels, the most important first; in place, parameters and running statistics.

    The network computes the same function in evaluation mode, up to the order in which sums are rounded. State kept
    elsewhere per channel (an optimizer's moments, an averaged copy) has to be made anew afterwards.

    Args:
        module: a network that takes one tensor; it holds its weights.
        input_shape: of that tensor, e.g. ``(1, 3, H, W)``.
        importance: only ``"l1"``: the L1 norm of the weights that read a channel, or, where none does, that make it.

    Raises:
        UserError: for another importance, or when the network cannot be traced.
    """
    if importance != "l1":
        raise UserError(f"importance {importance!r} is not known; it is 'l1'")
    groups, state = channel_groups(module, input_shape), module.state_dict(keep_vars=True)
    for group in groups:
        order = torch.argsort(channel_importance(state, group), descending=True, stable=True)
        for key, dim in group.members:
            tensor = state[key]
            tensor.copy_(tensor.index_select(dim, order.to(tensor.device)))


def channel_importance(state: dict[str, Any], group: ChannelGroup) -> Tensor:
    """L1 norm per channel of the weights that read the group's channels, float64 (channels,), on the CPU."""
    total = torch.zeros(group.size, dtype=torch.float64)
    for key, dim in group.consumers or group.producers or group.members:
        total += state[key].detach().double().abs().movedim(dim, 0).flatten(1).sum(dim=1).cpu()
    return total


class _Group:
    """A set of channels in the making: groups that turn out to be one are joined (union-find)."""

    def __init__(self, size: int, frozen: bool = False) -> None:
        self.size, self.frozen = size, frozen
        self.parent: _Group = self

    def root(self) -> _Group:
        group = self
        while group.parent is not group:
            group.parent = group.parent.parent
            group = group.parent
        return group

    def join(self, other: _Group) -> _Group:
        mine, theirs = self.root(), other.root()
        if mine is not theirs:
            mine.frozen |= theirs.frozen or mine.size != theirs.size
            theirs.parent = mine
        return mine


class _Coupling:
    """Which dimensions of which tensors belong to which group, found so far."""

    def __init__(self, module: nn.Module) -> None:
        self.tensors: dict[str, Tensor] = module.state_dict(keep_vars=True)
        first: dict[int, str] = {}  # a shared tensor is known by the first of its keys
        self.keys = {key: first.setdefault(id(tensor), key) for key, tensor in self.tensors.items()}
        self.groups: dict[Axis, _Group] = {}
        self.consumers: set[Axis] = set()
        self.producers: set[Axis] = set()

    def couple(self, key: str, dim: int, group: _Group | None = None) -> _Group:
        """Say that a dimension belongs to ``group``, or to a new group if it has none yet; the group it then has."""
        place = (self.keys[key], dim)
        known = self.groups.get(place)
        if known is None:
            known = self.groups[place] = group or _Group(self.tensors[key].shape[dim])
        return known.join(group) if group else known

    def free_groups(self) -> Iterator[ChannelGroup]:
        """The groups that nothing froze, with all that is coupled to them."""
        members: dict[_Group, list[Axis]] = {}
        for place, group in self.groups.items():
            members.setdefault(group.root(), []).append(place)
        for group, places in members.items():
            if not group.frozen and group.size > 1:
                yield ChannelGroup(
                    tuple(places),
                    tuple(place for place in places if place in self.consumers),
                    tuple(place for place in places if place in self.producers),
                    group.size,
                )

    def through(self, name: str, layer: nn.Module, x: Tensor, group: _Group) -> _Group | None:
        """The group after a module, or None when its effect on the order is not known."""
        if type(layer) in _PASSING_MODULES:
            return group
        own = [kind for kind in ("weight", "bias", "running_mean", "running_var") if _has(layer, kind)]
        if any(f"{name}.{kind}" not in self.keys for kind in own):
            return None  # computed from something else: a parametrisation, pruning
        per_channel = isinstance(layer, _PER_CHANNEL) or isinstance(layer, nn.PReLU)
        if isinstance(layer, (*_CONVOLUTIONS, *_TRANSPOSED)) and layer.groups > 1:
            per_channel = layer.groups == layer.in_channels == layer.out_channels
            if not per_channel:
                return None
        if per_channel:
            for kind in own:
                if len(self.tensors[f"{name}.{kind}"]) > 1:
                    self.couple(f"{name}.{kind}", 0, group)
            return group
        weight = f"{name}.weight"
        if not isinstance(layer, (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear)) or x.dim() != self.tensors[weight].dim():
            return None  # the latter: without a batch, or with the features behind other dimensions
        reads, makes = (0, 1) if isinstance(layer, _TRANSPOSED) else (1, 0)
        self.couple(weight, reads, group)
        outputs = self.couple(weight, makes)
        if "bias" in own:
            self.couple(f"{name}.bias", 0, outputs)
        self.consumers.add((self.keys[weight], reads))
        self.producers.add((self.keys[weight], makes))
        return outputs


class _Walk(fx.Interpreter):
    """Runs a traced network on the meta device and follows dimension 1 of every tensor."""

    def __init__(self, traced: fx.GraphModule, coupling: _Coupling) -> None:
        super().__init__(traced)
        self.coupling = coupling
        self.channels: dict[fx.Node, _Group] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Compute the node's shape, then say which group its channels are."""
        result = super().run_node(n)
        sources = [source for source in n.all_input_nodes if source in self.channels]
        if n.op == "output":
            self._freeze(sources)
        elif _holds_tensor(result):
            self.channels[n] = self._follow(n, sources, result) or self._freeze(sources)
            if (
                n.op == "get_attr" and str(n.target) in self.coupling.keys
            ):  # a tensor that the network reads by itself keeps its order
                for dim in range(result.dim()):
                    self.coupling.couple(str(n.target), dim).root().frozen = True
        return result

    def _follow(self, node: fx.Node, sources: list[fx.Node], result: Any) -> _Group | None:
        """The group of the result's channels, or None when it is not known what the operation does to their order."""
        groups, tensors = [self.channels[source] for source in sources], [self.env[source] for source in sources]
        if not isinstance(result, Tensor) or not sources:
            return None
        if node.op == "call_module" and len(node.all_input_nodes) == 1:
            return self.coupling.through(str(node.target), self.fetch_attr(str(node.target)), tensors[0], groups[0])
        if node.op in ("call_function", "call_method"):
            if len(sources) == 1 and (node.target in _PASSING or _is_spatial_mean(node, tensors[0])):
                return groups[0]
            ranks = {tensor.dim() for tensor in tensors if tensor.numel() > 1}
            if node.target in _ELEMENTWISE and ranks == {result.dim()}:
                width = result.shape[1]
                wide = [
                    group for group, x in zip(groups, tensors, strict=True) if x.numel() > 1 and x.shape[1] == width
                ]
                for group in wide[1:]:
                    wide[0].join(group)
                return wide[0]
        return None

    def _freeze(self, nodes: list[fx.Node]) -> _Group:
        for node in nodes:
            self.channels[node].root().frozen = True
        return _Group(0, frozen=True)


def _has(layer: nn.Module, kind: str) -> bool:
    return isinstance(getattr(layer, kind, None), Tensor)


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_tensor, value))
    if isinstance(value, dict):
        return any(map(_holds_tensor, value.values()))
    return isinstance(value, Tensor)


def _is_spatial_mean(node: fx.Node, x: Tensor) -> bool:
    """Whether a node averages over dimensions behind the channels."""
    if node.target not in ("mean", torch.mean) or len(node.args) > 2:
        return False
    dims = node.args[1] if len(node.args) == 2 else node.kwargs.get("dim")
    dims = dims if isinstance(dims, list | tuple) else [dims]
    return all(isinstance(dim, int) and dim % x.dim() >= 2 for dim in dims)


def _dtype(module: nn.Module) -> torch.dtype:
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype())
