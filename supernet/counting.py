"""Multiply-accumulates and parameters of a network, exactly, without weights and without computing.

Every convolution, transposed convolution and linear layer costs *positions × elements of its weight*: output positions
for a convolution, input positions for a transposed one, rows for a linear one (batch included). That one rule is all
the counting there is, and :mod:`supernet.cost` tabulates the same factors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
COUNTED = (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear)

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
    resizing, and products written as functions (the two of attention, ``F.conv2d``) do not.

    Args:
        module: any network that takes one tensor. It is neither computed nor changed, and may lie on the meta device.
        input_shape: of that tensor, batch first, e.g. ``(1, 3, H, W)``.
    """
    layers = {name: prod(factors) for name, factors in layer_factors(module, input_shape).items()}
    params = sum(prod(shape) for shape in parameter_factors(module).values())
    return Cost(sum(layers.values()), params, layers)


def layer_factors(module: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Factors]:
    """``(positions, *weight dimensions)`` of every counted layer that a forward pass calls, by module name.

    Calls of one layer add up in its positions.
    """
    positions: dict[str, int] = {}
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, COUNTED)}

    def hook_of(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            positions[name] = positions.get(name, 0) + _positions(layer, inputs[0], output)

        return hook

    handles = [layer.register_forward_hook(hook_of(name)) for name, layer in layers.items()]
    try:
        with _evaluating(module):
            _run_on_meta(module, input_shape)
    finally:
        for handle in handles:
            handle.remove()
    return {name: (calls, *layers[name].weight.shape) for name, calls in positions.items()}


def parameter_factors(module: nn.Module) -> dict[str, Factors]:
    """The dimensions of every parameter, by its name."""
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


class _ShapesOnly(TorchFunctionMode):
    """Returns the input of an operation that keeps its shape: on the meta device these take most of the time."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if args and func in _UNARY:
            return args[0]
        if len(args) == 2 and func in _BINARY and getattr(args[0], "shape", 0) == getattr(args[1], "shape", 1):
            return args[0]
        return func(*args, **(kwargs or {}))


def _positions(layer: nn.Module, x: Tensor, out: Tensor) -> int:
    if isinstance(layer, _TRANSPOSED):
        return x.numel() // layer.in_channels
    outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return out.numel() // cast(int, outputs)


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


def _run_on_meta(module: nn.Module, input_shape: tuple[int, ...]) -> None:
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    floats = [tensor.dtype for tensor in state.values() if tensor.is_floating_point()]
    x = torch.empty(input_shape, device="meta", dtype=floats[0] if floats else None)
    with torch.no_grad(), _ShapesOnly():
        if all(tensor.is_meta for tensor in state.values()):
            module(x)
        else:
            functional_call(module, {name: tensor.to("meta") for name, tensor in state.items()}, (x,))
