"""Differentiable parts of large parameters whose gradients are added where they belong, without a tensor of zeros for each.

The gradient of ``weight[:64, :64]`` is for autograd a tensor as large as ``weight``, of zeros but for that part, for each
dimension that is cut and for each architecture of a step anew. Here the part's gradient is added to that part of
``weight.grad``. It is so only where the parameter's hooks and its owner see no difference: in a plain ``backward()``, for a
parameter on the CPU that has no hooks. Wherever autograd is asked for more (``torch.autograd.grad``, a graph of the gradient,
hooks, function transforms), it is given the whole gradient as ever. A hook of the node that accumulates the gradient, which
cannot be seen, finds all of it in ``weight.grad`` afterwards, as a reducer of gradients reads it, and none in its arguments.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .slicing import TensorSlice

LARGE = 2**14  # elements of a parameter, from which on zeros take longer than a call of Python


def part_of(stored: Tensor, part: TensorSlice) -> Tensor:
    """``part.of(stored)``, with gradients of the same values, up to the order of sums where a tensor is used twice."""
    if (
        type(stored) is nn.Parameter
        and not part.whole
        and part.is_view
        and stored.numel() >= LARGE
        and stored.requires_grad
        and stored.is_leaf
        and stored.device.type == "cpu"
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
    ):
        made: Tensor = _Part.apply(stored, part)  # type: ignore[no-untyped-call]
        return made
    return part.of(stored)


class _Part(torch.autograd.Function):
    """A part of a parameter, a view of it."""

    @staticmethod
    def forward(ctx: Any, stored: Tensor, part: TensorSlice) -> Tensor:
        ctx.stored, ctx.part = stored, part
        return part.of(stored)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, None]:
        stored, part, (gradient,) = ctx.stored, ctx.part, gradients
        if _is_accumulated(ctx, stored, gradient):
            if stored.grad is None:
                stored.grad = torch.zeros_like(stored)
                part.of(stored.grad).copy_(gradient)
            else:
                part.of(stored.grad).add_(gradient)
            return None, None
        whole = torch.zeros_like(stored, requires_grad=False)
        part.of(whole).copy_(gradient)
        return whole, None


def _is_accumulated(ctx: Any, stored: Tensor, gradient: Tensor) -> bool:
    """Whether all that happens to the gradient is that it is added to ``stored.grad``, so that this may be done at once."""
    if torch.is_grad_enabled() or stored._backward_hooks or getattr(stored, "_post_accumulate_grad_hooks", None):
        return False
    if gradient.dtype != stored.dtype or (stored.grad is not None and stored.grad.layout is not torch.strided):
        return False
    try:
        return bool(torch._C._will_engine_execute_node(ctx.next_functions[0][0]))
    except RuntimeError:  # torch.autograd.grad, which wants it for itself
        return False
