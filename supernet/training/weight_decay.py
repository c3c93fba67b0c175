"""Which weights decay: those of convolutions and linear layers, not the scales and shifts of normalisation, and no bias."""

from __future__ import annotations

from typing import Any

from torch import nn

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: normalisation layers and biases with 0, all others with ``weight_decay``.

    A decaying scale of BatchNorm only shrinks what the next layer reads (He et al., "Bag of Tricks", CVPR 2019, section 3.1). As
    in mmengine (``norm_decay_mult=0, bias_decay_mult=0``), factors of other layers decay, such as those of RTMPose's scale norm.
    """
    decays: dict[nn.Parameter, bool] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                decays.setdefault(parameter, not isinstance(module, _NORMS) and name != "bias")
    groups = [
        {"params": [parameter for parameter, decay in decays.items() if decay], "weight_decay": weight_decay},
        {"params": [parameter for parameter, decay in decays.items() if not decay], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
