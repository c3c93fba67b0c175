"""Adam that leaves alone what a step did not use: weights, moments and decay of slices whose gradient is zero.

A step of a supernet touches the slices of the architectures that it drew; everywhere else the gradient is exactly zero. Adam
would go on moving those weights by their old momentum and let their second moments fade, so that a slice that is drawn again
after a while jumps by more than the learning rate. Here each weight counts its own steps, as if no other had been taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class LazyAdam(torch.optim.Optimizer):
    """Adam (Kingma and Ba, ICLR 2015) with decoupled weight decay, element by element only where the gradient is not zero.

    Where every gradient of every step differs from zero it computes what ``torch.optim.AdamW`` computes.

    Args:
        params: parameters, or groups of them with their own ``lr``, ``betas``, ``eps`` and ``weight_decay``.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state |= {name: torch.zeros_like(parameter) for name in ("steps", "mean", "square")}
        first, second = group["betas"]
        used = (gradient != 0).to(parameter.dtype)
        steps = state["steps"].add_(used)
        mean = state["mean"].lerp_(gradient, used * (1 - first))
        square = state["square"].lerp_(gradient.square(), used * (1 - second))
        counted = steps.clamp_min(1)  # where nothing was ever used there is nothing to divide either
        root = (square / (1 - second**counted)).sqrt_().add_(group["eps"])
        change = (mean / (1 - first**counted)).div_(root)
        if group["weight_decay"]:
            change.add_(parameter, alpha=group["weight_decay"])
        parameter.addcmul_(change, used, value=-group["lr"])
