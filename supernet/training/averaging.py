"""Averaged weights: the running average of a training's weights and buffers, and how much of it a step keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def averaging_decay(most: float, done: int, gamma: float = 0.0) -> float:
    """The decay of the running average at the step after ``done`` others: it rises to ``most``, so that early weights fade.

    Args:
        most: the decay of a long training.
        done: steps before this one.
        gamma: steps of an exponential rise, as mmpose's, whose first step keeps nothing; 0 rises as (1 + t) / (10 + t).
    """
    if gamma:
        return most * (1 - math.exp(-(1 + done) / gamma)) if done else 0.0
    return min(most, (1 + done) / (10 + done))


@torch.no_grad()
def update_average(average: Mapping[str, Tensor], state: Mapping[str, Tensor], decay: float) -> None:
    """Move a running average towards a state, in place; whole numbers are copied."""
    for name, tensor in state.items():
        if tensor.dtype.is_floating_point:
            average[name].lerp_(tensor, 1 - decay)
        else:
            average[name].copy_(tensor)
