"""Region proposals: the best boxes of a region proposal network, decoded and suppressed level by level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .boxes import decode_deltas, nms_in_groups

NMS_IOU = 0.7


def levels_named(outputs: Mapping[str, Tensor], name: str) -> list[Tensor]:
    """Outputs ``name.0``, ``name.1`` and so on, at least in float32."""
    found: list[Tensor] = []
    while f"{name}.{len(found)}" in outputs:
        found.append(precise(outputs[f"{name}.{len(found)}"]))
    return found


def precise(output: Tensor) -> Tensor:
    """An output at least in float32: half precision is too coarse for pixels."""
    return output.to(torch.promote_types(output.dtype, torch.float32))


def flat_levels(tensors: Sequence[Tensor], image: int, width: int) -> list[Tensor]:
    """Of one image: each level (B, A · width, h, w) as (h · w · A, width), in the order of anchors and points."""
    return [level[image].permute(1, 2, 0).reshape(-1, width) for level in tensors]


def proposals_of(
    scores: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Sequence[Tensor],
    image_hw: tuple[int, int],
    *,
    before: int,
    most: int,
) -> tuple[Tensor, Tensor]:
    """Proposals of one image, (N, 4), and their scores (N,), best first.

    Args:
        scores: objectness logits of each level, (A,) in the order of its anchors.
        deltas: of each level, (A, 4).
        anchors: of each level, (A, 4).
        image_hw: height and width of the image in pixels, without padding; boxes are clipped to it.
        before: so many of each level are looked at, the best ones.
        most: so many are returned at most.
    """
    boxes, confidence, levels = [], [], []
    for level, (logits, changes, places) in enumerate(zip(scores, deltas, anchors, strict=True)):
        best = logits.argsort(descending=True, stable=True)[:before]
        boxes.append(decode_deltas(places[best], changes[best], image_hw))
        confidence.append(logits[best].sigmoid())
        levels.append(torch.full_like(best, level))
    found, score, level_of = torch.cat(boxes), torch.cat(confidence), torch.cat(levels)
    real = (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])
    found, score, level_of = found[real], score[real], level_of[real]
    kept = nms_in_groups(found, score, level_of, NMS_IOU)[:most]
    return found[kept], score[kept]
