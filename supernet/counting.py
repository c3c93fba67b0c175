"""Multiply-accumulates and parameters of a network, exactly, without weights and without computing.

Every convolution, transposed convolution and linear layer costs *positions × elements of its weight*: output positions
for a convolution, input positions for a transposed one, rows for a linear one (batch included), whether a module or a
function computes it. That one rule is all the counting there is, and :mod:`supernet.cost` tabulates the same factors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = frozenset({torch.conv1d, torch.conv2d, torch.conv3d})
_TRANSPOSED = frozenset({torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d})

# fmt: off
_UNARY = frozenset({
    F.batch_norm, F.relu, F.relu6, F.hardtanh, F.hardswish, F.hardsigmoid, F.silu, F.gelu, F.leaky_relu,
    torch.relu, torch.relu_, torch.sigmoid, Tensor.relu, Tensor.relu_, Tensor.sigmoid,
})
# fmt: on
_BINARY = frozenset({Tensor.add, Tensor.add_, Tensor.__iadd__, Tensor.mul, torch.add, torch.mul})

#: A product of whole numbers: ``(positions, *weight dimensions)`` of a layer, or the dimensions of a parameter.
Factors = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """What one network costs.

    Attributes:
        macs: multiply-accumulates of one forward pass.
        params: elements of all parameters, used or not, shared ones once; buffers are not parameters.
        per_layer: multiply-accumulates by module name, in the order of the first call.
    """

    macs: int
    params: int
    per_layer: dict[str, int]


def count(module: nn.Module, input_shape: tuple[int, ...]) -> Cost:
    """Count the multiply-accumulates that one forward pass executes, and the parameters.

    Convolutions, transposed convolutions and linear layers count, at every call; bias, normalisation, activation,
    resizing, and products of two activations (the two of attention) do not.

    Args:
        module: any network that takes one tensor. It is neither computed nor changed, and may lie on the meta device.
        input_shape: of that tensor, batch first, e.g. ``(1, 3, H, W)``.
    """
    layers = {name: prod(factors) for name, factors in layer_factors(module, input_shape).items()}
    params = sum(prod(shape) for shape in parameter_factors(module).values())
    return Cost(sum(layers.values()), params, layers)


def layer_factors(module: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Factors]:
    """``(positions, *weight dimensions)`` of every counted layer that a forward pass calls, by module name.

    Calls of one layer, and layers of one weight, add up in its positions. A part of a parameter is named by its order.
    """
    with _evaluating(module):
        calls = _run_on_meta(module, input_shape)
    return {name: (positions, *weight) for name, (positions, weight) in calls.items()}


def parameter_factors(module: nn.Module) -> dict[str, Factors]:
    """The dimensions of every parameter, by its name."""
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


class _Counter(TorchFunctionMode):
    """Counts products, and returns the input of operations that keep its shape: on the meta device they take most time."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self.names = names  # of the weights, by identity
        self.calls: dict[str, tuple[int, tuple[int, ...]]] = {}  # positions and weight dimensions, by layer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if args and func in _UNARY:
            return args[0]
        if len(args) == 2 and func in _BINARY and getattr(args[0], "shape", 0) == getattr(args[1], "shape", 1):
            return args[0]
        out = func(*args, **kwargs)
        if func is F.linear or func in _CONVOLUTIONS or func in _TRANSPOSED:
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            if func in _TRANSPOSED:
                positions = args[0].numel() // weight.shape[0]
            else:
                positions = out.numel() // weight.shape[0]
            name = self.names.get(id(weight), f"product {len(self.calls)}")
            self.calls[name] = (self.calls.get(name, (0, ()))[0] + positions, tuple(weight.shape))
        return out


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, every submodule's own mode after."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _run_on_meta(module: nn.Module, input_shape: tuple[int, ...]) -> dict[str, tuple[int, tuple[int, ...]]]:
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    floats = [tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()]
    x = torch.empty(input_shape, device="meta", dtype=floats[0] if floats else None)
    elsewhere = not all(tensor.is_meta for tensor in tensors.values())
    if elsewhere:
        tensors = {name: tensor.to("meta") for name, tensor in tensors.items()}
    counter = _Counter({id(tensor): name.removesuffix(".weight") for name, tensor in tensors.items()})
    with torch.no_grad(), counter:
        if elsewhere:
            functional_call(module, tensors, (x,))
        else:
            module(x)
    return counter.calls
