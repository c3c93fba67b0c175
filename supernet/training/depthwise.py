"""Weight gradients of depthwise convolutions on CPUs, at the speed of a narrow kernel.

oneDNN has a fast kernel for the weight gradient of a depthwise convolution that is at most three columns wide, whatever its
height; a wider one runs on a general path, at a tenth of the speed. But columns of a kernel have gradients of their own: those
of three columns are the weight gradient of a convolution with these three columns alone, on the image moved by as much. So a
7×7 kernel is differentiated in strips of 7×3, 7×3 and 7×1. Sums are taken in another order, nothing else changes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

COLUMNS = 3  # the widest kernel that oneDNN differentiates fast

Pair = tuple[int, int]


class StripwiseDepthwise(TorchFunctionMode):
    """Within this context the weights of wide depthwise convolutions on a CPU are differentiated in strips.

    It stands in for the one function that all convolution modules call: no module is changed, and it works inside of a supernet.
    Outputs are the same to the last bit, gradients up to the order of sums. Convolutions that are not float32, not on a CPU,
    dilated, or under autocast are left alone.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call ``func``, or what stands in for it."""
        return (_conv2d if func is functional.conv2d else func)(*args, **(kwargs or {}))


def _conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """``functional.conv2d``, differentiated in strips where that is faster."""
    if (
        weight.shape[-1] > COLUMNS
        and groups == weight.shape[0] == x.shape[-3]
        and _pair(dilation) == (1, 1)
        and not isinstance(padding, str)
        and x.dim() == 4
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.requires_grad
        and torch.is_grad_enabled()
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and not torch.is_autocast_enabled("cpu")
    ):
        y: Tensor = _Stripwise.apply(x, weight, bias, _pair(stride), _pair(padding))  # type: ignore[no-untyped-call]
        return y
    return functional.conv2d(x, weight, bias, stride, padding, dilation, groups)


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


class _Stripwise(torch.autograd.Function):
    """A depthwise convolution of x (B, C, H, W) with weight (C, 1, h, w) and bias (C,)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(x, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _backward(gradient, x, weight, ctx.stride, ctx.padding, wanted=0)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(gradient, x, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None, None


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """The gradient of ``weight``, strip by strip; ``gradient`` is that of the output."""
    height, width = (
        step * (outputs - 1) + kernel
        for step, outputs, kernel in zip(stride, gradient.shape[2:], weight.shape[2:], strict=True)
    )
    top, left = padding
    # oneDNN is not fast with every padding of a high kernel, so it is given none
    read = functional.pad(x, (left, width - left - x.shape[3], top, height - top - x.shape[2]))
    strips = []
    for first in range(0, weight.shape[3], COLUMNS):
        part = weight[..., first : first + COLUMNS]
        end = width - weight.shape[3] + first + part.shape[3]
        strips.append(_backward(gradient, read[..., first:end], part, stride, (0, 0), wanted=1))
    return torch.cat(strips, dim=-1)


def _backward(gradient: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, *, wanted: int) -> Tensor:
    """The gradient of ``x`` (wanted 0) or of ``weight`` (1)."""
    mask = [wanted == 0, wanted == 1, False]
    found: Tensor = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), mask
    )[wanted]
    return found
