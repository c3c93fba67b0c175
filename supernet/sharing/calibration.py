"""BatchNorm calibration: replace the running statistics of an extracted network by those of some images.

A subnet of a supernet has never seen the running statistics that it is cut out with. They are replaced by the pooled mean and
variance over the calibration images: the mean of the batches' variances plus the variance of their means. Several processes
pool what each found on its own batches.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..distributed import total, world_size
from ..errors import UserError


class _Pool:
    """Pooled mean and variance of one BatchNorm's input."""

    def __init__(self, norm: _BatchNorm) -> None:
        self.norm = norm
        self.count = 0
        self.mean = torch.zeros_like(_running(norm)[0], dtype=torch.float64)
        self.square = torch.zeros_like(self.mean)
        self.shift = 0.0  # of the pooled mean by the latest input, the largest of a channel, in standard deviations

    def add(self, _: nn.Module, args: tuple[Tensor, ...], __: Any) -> None:
        """Forward hook: take in the statistics of an input, which a BatchNorm of momentum 1 has just now."""
        new = args[0].numel() // args[0].shape[1]  # values per channel
        mean, unbiased = (value.double() for value in _running(self.norm))
        variance = unbiased * ((new - 1) / new)
        share = new / (self.count + new)
        shift = (mean - self.mean) * share
        self.count += new
        self.mean += shift
        self.square += (variance + mean**2 - self.square) * share
        self.shift = float((shift.abs() / (self.variance() + self.norm.eps).sqrt()).max())

    def sums(self) -> Tensor:
        """Count, and per channel the sums of values and of squares: what adds up over processes, one after another."""
        return torch.cat([self.mean.new_tensor([self.count]), self.mean * self.count, self.square * self.count])

    def take(self, sums: Tensor) -> None:
        """Become the pool of these sums."""
        self.count = int(sums[0])
        self.mean, self.square = (sums[1:] / max(self.count, 1)).chunk(2)

    def variance(self) -> Tensor:
        """Pooled variance, of the population."""
        return (self.square - self.mean**2).clamp_min(0)

    def store(self) -> None:
        """Write the pooled statistics into the module; one that no image reached keeps what it had."""
        if not self.count:
            return
        mean, variance = _running(self.norm)
        mean.copy_(self.mean)
        variance.copy_(self.variance() * (self.count / max(self.count - 1, 1)))


def _running(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var


@torch.no_grad()
def calibrate(network: nn.Module, batches: Iterable[Any], *, tolerance: float = 0.0) -> int:
    """Replace the running statistics of every BatchNorm by those of ``batches``; the network is then in eval mode.

    A BatchNorm that an image passes several times has the statistics of all of these passes.

    In a process group all processes call this for the same network, each with some of the batches or none. All then have the
    statistics of all batches: sums in float64, so that they do not depend on who had which batch.

    Args:
        network: an extracted network, changed in place.
        batches: inputs of the network, (B, C, H, W) on its device.
        tolerance: stop early when no pooled mean moves by more than this many standard deviations; 0 uses every batch.

    Returns:
        The number of images used, by all processes.

    Raises:
        UserError: when there is no batch.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    pools = [_Pool(norm) for norm in norms]
    hooks = [norm.register_forward_hook(pool.add) for norm, pool in zip(norms, pools, strict=True)]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    images = 0
    try:
        for norm in norms:
            norm.train()
            norm.momentum = 1.0  # the running statistics become those of the latest batch
        for batch in batches:
            network(batch)
            images += len(batch)
            if max((pool.shift for pool in pools), default=0.0) < tolerance:
                break
    finally:
        for hook in hooks:
            hook.remove()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.eval()
    if world_size() > 1:
        images = _over_processes(pools, images)
    if images == 0:
        raise UserError("no calibration image: set DATASET.CALIBRATION_IMAGES to at least 1")
    for pool in pools:
        pool.store()
    return images


def _over_processes(pools: list[_Pool], images: int) -> int:
    """Make every pool that of all processes, by one message; returns the images of all."""
    parts = [pool.sums() for pool in pools]
    device = parts[0].device if parts else None
    sums = total(torch.cat([torch.tensor([images], dtype=torch.float64, device=device), *parts]))
    for pool, mine in zip(pools, torch.split(sums[1:], [len(part) for part in parts]), strict=True):
        pool.take(mine)
    return int(sums[0])
