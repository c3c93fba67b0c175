"""Detectors' checkpoints of mmdetection 1.x and of HRNet's authors, in the names and the order of classes of mmdetection 2.x.

In 1.x class 0 is the background, which 2.x has last or not at all; heads of regions have no ``roi_head.`` before their names; and
FCOS, until 2.1, called its last layers otherwise. Files of 2.x are left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_HEADS = ("bbox_head.", "mask_head.", "semantic_head.")
_FCOS = re.compile(r"^bbox_head\.fcos_(cls|reg|centerness)\.")


def convert(weights: Mapping[str, Tensor], classes: int) -> dict[str, Tensor]:
    """Rename and reorder what an old file has; a new file comes back unchanged.

    Args:
        weights: a state dict of a detector.
        classes: number of classes without the background.
    """
    renamed = {_FCOS.sub(r"bbox_head.conv_\1.", key): value for key, value in weights.items()}
    two_stages = any(key.startswith("rpn_head.") for key in renamed)
    if not two_stages or any(key.startswith("roi_head.") for key in renamed):
        return renamed
    return {
        f"roi_head.{key}" if key.startswith(_HEADS) else key: _background_last(key, value, classes)
        for key, value in renamed.items()
    }


def _background_last(key: str, value: Tensor, classes: int) -> Tensor:
    """Rows of class 0, the background: behind the others for class logits, away for boxes and masks."""
    layer = key.rsplit(".", 2)[-2]
    if layer == "fc_cls" and len(value) == classes + 1:
        return torch.cat([value[1:], value[:1]])
    if layer == "fc_reg" and len(value) == 4 * (classes + 1):
        return value[4:]
    if layer == "conv_logits" and key.startswith("mask_head.") and len(value) == classes + 1:
        return value[1:]
    return value
