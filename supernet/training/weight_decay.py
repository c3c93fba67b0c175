"""Which weights decay: those of convolutions and linear layers, not the scales and shifts of normalisation, and no bias."""

from __future__ import annotations

from typing import Any

from torch import nn


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: tensors of two or more dimensions with ``weight_decay``, all others with 0.

    A decaying scale of BatchNorm only shrinks what the next layer reads (He et al., "Bag of Tricks", CVPR 2019, section 3.1).
    """
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in learnt if parameter.dim() > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in learnt if parameter.dim() <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
