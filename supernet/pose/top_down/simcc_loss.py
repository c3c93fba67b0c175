"""Loss of coordinate classification: the Kullback-Leibler divergence of a network's bins from their targets.

Sources: SimCC (Li et al., ECCV 2022) and RTMPose (Jiang et al., 2023), as mmpose computes it (KL-discrete). Computed in
float32, or in float64 where the outputs are, on their device. Shape legend: B people, K joints, n bins of an axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from supernet.errors import UserError

from .simcc import one_person_vectors

LABEL_BETA = 10.0  # mmpose's, whatever the factor on the logits is


@dataclass(frozen=True)
class SimCCLoss:
    """The training loss of a network that classifies coordinates.

    A joint costs, on each axis, the mean over bins of label (log label - log softmax(beta x logits)), times its weight. This is
    added up over people, joints and axes, and divided by the number of joints alone: the loss grows with the batch, as mmpose's
    does.

    Attributes:
        weighted: joints that are not labelled cost nothing.
        beta: factor on the logits; 10 for RTMPose, 1 for SimCC's baselines.
        label_softmax: the label is the softmax of 10 x target (RTMPose), not the target itself.

    Raises:
        UserError: ``beta`` is not above 0.
    """

    weighted: bool = True
    beta: float = 10.0
    label_softmax: bool = True

    def __post_init__(self) -> None:
        """Check the factor."""
        if not self.beta > 0:
            raise UserError(f"LOSS.SIMCC_BETA is {self.beta}: give a factor above 0")

    def __call__(self, outputs: Sequence[Tensor], batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a network's outputs.

        Args:
            outputs: logits over x and over y, (B, K, n) each.
            batch: ``simcc_x`` and ``simcc_y`` of the same shapes and ``weights`` (B, K), on the outputs' device.

        Returns:
            The loss, a scalar to differentiate, and itself detached as ``simcc`` for the log.

        Raises:
            UserError: the network makes heatmaps.
        """
        labels = []
        for logits_BKn, name in zip(one_person_vectors(outputs), ("simcc_x", "simcc_y"), strict=True):
            target_BKn = batch[name].to(_exact(logits_BKn).dtype)
            labels.append(functional.softmax(LABEL_BETA * target_BKn, dim=2) if self.label_softmax else target_BKn)
        loss = self._divergence(outputs, labels, batch["weights"])
        return loss, {"simcc": loss.detach()}

    def distillation(
        self, outputs: Sequence[Tensor], teacher_outputs: Sequence[Tensor], batch: Mapping[str, Any]
    ) -> Tensor:
        """The same loss with the teacher's softmax as the labels; no gradient goes to the teacher."""
        labels = [functional.softmax(self.beta * _exact(logits.detach()), dim=2) for logits in teacher_outputs]
        return self._divergence(outputs, labels, batch["weights"])

    def _divergence(self, outputs: Sequence[Tensor], labels: Sequence[Tensor], weights_BK: Tensor) -> Tensor:
        total = torch.zeros((), device=weights_BK.device)
        for logits_BKn, label_BKn in zip(outputs, labels, strict=True):
            if logits_BKn.shape != label_BKn.shape or logits_BKn.shape[:2] != weights_BK.shape:
                sizes = " and ".join(str(tuple(tensor.shape)) for tensor in (logits_BKn, label_BKn, weights_BK))
                raise ValueError(f"logits, targets and weights of sizes {sizes} do not belong together")
            log_BKn = functional.log_softmax(self.beta * _exact(logits_BKn), dim=2)
            cost_BK = functional.kl_div(log_BKn, label_BKn, reduction="none").mean(2)
            total = total + (cost_BK * weights_BK.to(cost_BK) if self.weighted else cost_BK).sum()
        return total / weights_BK.shape[1]


def _exact(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
