"""Count the MACs (multiply-accumulates) and parameters of a network exactly, on the meta device.

Every convolution, transposed convolution and linear layer costs *positions × elements of its weight*: output positions
for a convolution, input positions for a transposed one, rows for a linear one (batch included), whether a module or a
function computes it. That one rule is all the counting there is, and :mod:`supernet.cost.cost_model` tabulates the same factors;
:mod:`supernet.cost.conventions` counts the same operations as papers did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from ..sharing.tied_weights import call_with, places

OWN_NAMES: Mapping[str, str] = {}  # every tensor by its own name

M = TypeVar("M", bound=AbstractContextManager[Any])

# fmt: off
_PRODUCTS: dict[Any, str] = {
    F.linear: "linear", torch.conv1d: "conv", torch.conv2d: "conv", torch.conv3d: "conv",
    torch.conv_transpose1d: "deconv", torch.conv_transpose2d: "deconv", torch.conv_transpose3d: "deconv",
}
#: Operations that keep the shape of their input.
_UNARY: dict[Any, str] = {
    F.batch_norm: "norm", F.layer_norm: "norm",
    F.relu: "relu", F.relu6: "relu", F.hardtanh: "relu", F.leaky_relu: "relu", torch.relu: "relu", torch.relu_: "relu",
    Tensor.relu: "relu", Tensor.relu_: "relu", F.gelu: "gelu", F.silu: "silu", F.hardswish: "silu",
    F.hardsigmoid: "sigmoid", torch.sigmoid: "sigmoid", Tensor.sigmoid: "sigmoid",
    torch.softmax: "softmax", F.softmax: "softmax", Tensor.softmax: "softmax",
}
_OTHERS: dict[Any, str] = {
    F.interpolate: "resize", F.max_pool2d: "pool", F.avg_pool2d: "pool", F.adaptive_avg_pool2d: "average",
    Tensor.mean: "pool", torch.matmul: "matmul", Tensor.matmul: "matmul", Tensor.__matmul__: "matmul", torch.bmm: "matmul",
}
# fmt: on
_AFFINE: dict[Any, int] = {F.batch_norm: 3, F.layer_norm: 2}  # where the weight stands among the arguments
_BINARY = frozenset({Tensor.add, Tensor.add_, Tensor.__iadd__, Tensor.mul, torch.add, torch.mul})

#: A product of whole numbers: ``(positions, *weight dimensions)`` of a layer, or the dimensions of a parameter.
Factors = tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """One call of an operation.

    Attributes:
        kind: ``conv``, ``deconv``, ``linear``; ``norm``, ``relu``, ``gelu``, ``silu``, ``sigmoid``, ``softmax``; ``pool``,
            ``average`` (to a fixed size), ``resize``, ``matmul``.
        layer: the name of the module whose weight it uses; for a weight that is no parameter, and where there is none,
            a name by order.
        weight: dimensions of the weight, () where there is none.
        inputs: elements of the first input.
        outputs: elements of the output.
        bias: whether one is added.
        inner: length of the sums of a ``matmul``.
    """

    kind: str
    layer: str
    weight: tuple[int, ...]
    inputs: int
    outputs: int
    bias: bool = False
    inner: int = 0

    @property
    def positions(self) -> int:
        """How often each element of the weight is multiplied."""
        return self.inputs // self.weight[0] if self.kind == "deconv" else self.outputs // self.weight[0]

    @property
    def macs(self) -> int:
        """Multiply-accumulates with a weight; 0 for an operation without one."""
        return self.positions * prod(self.weight) if self.kind in ("conv", "deconv", "linear") else 0


@dataclass(frozen=True)
class NetworkCost:
    """Counts of one network.

    Attributes:
        macs: multiply-accumulates of one forward pass.
        params: elements of all parameters, used or not, shared ones once; buffers are not parameters.
        per_layer: multiply-accumulates by module name, in the order of the first call.
    """

    macs: int
    params: int
    per_layer: dict[str, int]


def count(module: nn.Module, input_shape: tuple[int, ...]) -> NetworkCost:
    """Count the multiply-accumulates that one forward pass executes, and the parameters.

    Convolutions, transposed convolutions and linear layers count, at every call; bias, normalisation, activation,
    resizing, and products of two activations (the two of attention) do not.

    Args:
        module: any network that takes one tensor. It is neither computed nor changed, and may lie on the meta device.
        input_shape: of that tensor, batch first, e.g. ``(1, 3, H, W)``.
    """
    layers = {name: prod(factors) for name, factors in layer_factors(module, input_shape).items()}
    params = sum(prod(shape) for shape in parameter_factors(module).values())
    return NetworkCost(sum(layers.values()), params, layers)


def layer_factors(
    module: nn.Module, input_shape: tuple[int, ...], names: Mapping[str, str] = OWN_NAMES
) -> dict[str, Factors]:
    """``(positions, *weight dimensions)`` of every counted layer that a forward pass calls, by module name.

    Calls of one layer, and layers of one weight, add up in its positions. Arguments as for :func:`run_on_meta`.
    """
    factors: dict[str, Factors] = {}
    for operation in operations(module, input_shape, names):
        if operation.kind in ("conv", "deconv", "linear"):
            before = factors.get(operation.layer, (0,))[0]
            factors[operation.layer] = (before + operation.positions, *operation.weight)
    return factors


def parameter_factors(module: nn.Module, names: Mapping[str, str] = OWN_NAMES) -> dict[str, Factors]:
    """The dimensions of every parameter, by its name, or by what ``names`` says in its place."""
    return {names.get(name, name): tuple(parameter.shape) for name, parameter in module.named_parameters()}


def operations(
    module: nn.Module, input_shape: tuple[int, ...], names: Mapping[str, str] = OWN_NAMES
) -> list[Operation]:
    """List the operations of one forward pass in evaluation mode, in order; arguments as for :func:`run_on_meta`."""
    return run_on_meta(module, input_shape, _Recorder, names)[0].operations


def run_on_meta(
    module: nn.Module,
    input_shape: tuple[int, ...],
    observer: Callable[[dict[str, Tensor]], M],
    names: Mapping[str, str] = OWN_NAMES,
) -> tuple[M, Tensor, Any]:
    """Run one forward pass on the meta device, in evaluation mode and without gradients, under an observer.

    Args:
        module: any network that takes one tensor; it is not changed, and may lie on any device.
        input_shape: of that tensor.
        observer: from the parameters and buffers by name to the mode that looks on.
        names: what a parameter or buffer is called in place of its own name.

    Returns:
        The observer, the input and the output.
    """
    tensors: dict[str, Tensor] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    floats = [tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()]
    x = torch.empty(input_shape, device="meta", dtype=floats[0] if floats else None)
    elsewhere = not all(tensor.is_meta for tensor in tensors.values())
    if elsewhere:
        tensors = {name: tensor.to("meta") for name, tensor in tensors.items()}
    mode = observer({names.get(name, name): tensor for name, tensor in tensors.items()})
    with _evaluating(module), torch.no_grad(), mode:
        return mode, x, call_with(module, tensors, places(module), x) if elsewhere else module(x)


class _Recorder(TorchFunctionMode):
    """Notes operations, and skips those that keep their input's shape: on the meta device they take most of the time."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.names = {id(tensor): name.removesuffix(".weight") for name, tensor in tensors.items()}
        self.operations: list[Operation] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if args and func in _UNARY:
            affine = kwargs.get("weight", args[_AFFINE[func]] if len(args) > _AFFINE.get(func, 9) else None)
            self._note(_UNARY[func], args[0], args[0], affine)
            return args[0]
        if len(args) == 2 and func in _BINARY and _covers(args[0], args[1]):
            return args[0]
        if func is torch.conv2d and len(args) == 7 and isinstance(args[4], tuple):
            out = args[0].new_empty(convolved(args[0].shape, args[1].shape, *args[3:6]))
        else:
            out = func(*args, **kwargs)
        if func in _PRODUCTS:
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            bias = (args[2] if len(args) > 2 else kwargs.get("bias")) is not None
            self._note(_PRODUCTS[func], args[0], out, weight, bias)
        elif func in _OTHERS:
            self._note(_OTHERS[func], args[0], out, inner=args[0].shape[-1] if _OTHERS[func] == "matmul" else 0)
        elif func is F.scaled_dot_product_attention:
            scores = args[0] @ args[1].transpose(-2, -1)
            self._note("matmul", args[0], scores, inner=args[0].shape[-1])
            self._note("softmax", scores, scores)
            self._note("matmul", scores, out, inner=scores.shape[-1])
        return out

    def _note(
        self, kind: str, x: Tensor, out: Tensor, weight: Tensor | None = None, bias: bool = False, inner: int = 0
    ) -> None:
        name = self.names.get(id(weight), f"{kind} {len(self.operations)}")
        shape = tuple(weight.shape) if weight is not None else ()
        self.operations.append(Operation(kind, name, shape, x.numel(), out.numel(), bias, inner))


def convolved(
    inputs: Sequence[int], weight: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """The output shape of a convolution: of inputs (B, C, …) and a weight (outputs, C / groups, …)."""
    sides = zip(inputs[2:], weight[2:], stride, padding, dilation, strict=True)
    return (inputs[0], weight[0], *((side + 2 * p - d * (kernel - 1) - 1) // s + 1 for side, kernel, s, p, d in sides))


def _covers(first: Any, second: Any) -> bool:
    """Whether the operation of two tensors has the shape of the first."""
    if not (isinstance(first, Tensor) and isinstance(second, Tensor) and first.ndim == second.ndim):
        return False
    return all(a == b or b == 1 for a, b in zip(first.shape, second.shape, strict=True))


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
