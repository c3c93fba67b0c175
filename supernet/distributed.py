"""Rank-aware helpers around torch.distributed: reduce tensors, average gradients, synchronise BatchNorm.

There is no wrapper around the network. A step runs all its architectures, adds up their gradients, and averages them over
the processes once (:func:`average_gradients`). Without a process group everything here leaves its input as it is.

All processes have equally many images in a step and every loss is a mean over images, so that a plain mean over the
processes is the mean over the whole batch, however much there is on each image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

BUCKET_VALUES = 1 << 23  # of one message: 32 MiB of float32


def world_size() -> int:
    """Number of processes in the process group; 1 without one."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def total(tensor: Tensor) -> Tensor:
    """Sum a tensor over the processes, in place, and return it; NaN in one is NaN in all."""
    if world_size() > 1:
        distributed.all_reduce(tensor)
    return tensor


def average(tensor: Tensor) -> Tensor:
    """Average a tensor over the processes, in place, and return it."""
    return total(tensor).div_(world_size()) if world_size() > 1 else tensor


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    if world_size() == 1:
        return flag
    seen = torch.tensor(int(flag))
    distributed.all_reduce(seen, distributed.ReduceOp.MAX)
    return bool(seen)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes, once per step, after all of its passes.

    A gradient that is missing in some processes counts as zero there; one that is missing in all stays missing, so that
    the optimiser passes the parameter over, as it does with one process.
    """
    if world_size() == 1:
        return
    wanted = [parameter for parameter in parameters if parameter.requires_grad]
    used = torch.tensor([parameter.grad is not None for parameter in wanted], dtype=torch.uint8)
    distributed.all_reduce(used, distributed.ReduceOp.MAX)
    for parameter, somewhere in zip(wanted, used.tolist(), strict=True):
        if somewhere and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for bucket in _buckets([parameter.grad for parameter in wanted if parameter.grad is not None]):
        flat = average(torch.cat([gradient.flatten() for gradient in bucket]))
        for gradient, piece in zip(bucket, torch.split(flat, [gradient.numel() for gradient in bucket]), strict=True):
            gradient.copy_(piece.view(gradient.shape))


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Group tensors of one type into buckets that are sent together."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        full = sum(other.numel() for other in bucket) + tensor.numel() > BUCKET_VALUES
        if bucket and (full or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


class _Sum(torch.autograd.Function):
    """Differentiable sum over the processes: every process's loss depends on every process's value."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def _over_all(value: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return total


class SynchronisedBatchNorm(TorchFunctionMode):
    """Synchronised BatchNorm as a context: in training mode statistics are those of the images of all processes.

    It stands in for the one function that all BatchNorm modules call: no module is changed, it works on every device, and
    inside of a supernet. All processes have to run the same networks, on equally many images.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call ``func``, or what stands in for it."""
        mine = func is functional.batch_norm and world_size() > 1
        return (_batch_norm if mine else func)(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``functional.batch_norm`` with statistics over all processes: their mean first, then the squares around it."""
    if not training:
        return functional.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    kind = x.dtype
    x = x.float() if kind in (torch.float16, torch.bfloat16) else x
    dims = [0, *range(2, x.dim())]
    shape = [1, -1, *[1] * (x.dim() - 2)]
    count = x.numel() // x.shape[1] * world_size()
    mean = _over_all(x.sum(dims)) / count
    centred = x - mean.view(shape)
    variance = _over_all(centred.square().sum(dims)) / count
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * (count / max(count - 1, 1))).to(running_var.dtype), momentum)
    scale = torch.rsqrt(variance + eps)
    if weight is not None:
        scale = scale * weight
    y = centred * scale.view(shape)
    return (y if bias is None else torch.add(y, bias.view(shape))).to(kind)
