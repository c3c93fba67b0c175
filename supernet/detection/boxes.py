"""Boxes: IoU, box deltas and side distances, clipping, non-maximum suppression.

A box is x0, y0, x1, y1 in pixels, x before y; a side is x1 - x0, without a further pixel. Legend: N, M boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

#: How much larger or smaller than its anchor a decoded box can be, as a logarithm (both ways).
MOST_SCALE = abs(math.log(16 / 1000))
UNIT_STDS = (1.0, 1.0, 1.0, 1.0)
_BLOCK = 512  # boxes whose overlaps are computed at once


def areas(boxes: Tensor) -> Tensor:
    """Areas (N,) of boxes (N, 4)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def iou_matrix(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of each of (N, 4) with each of (M, 4): (N, M)."""
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    union = areas(first)[:, None] + areas(second)[None, :] - overlap
    return overlap / union.clamp(min=1e-6)


def iou_pairs(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of box n of one with box n of the other, both (N, 4): (N,)."""
    overlap = (torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])).clamp(min=0)
    overlap = overlap.prod(-1)
    return overlap / (areas(first) + areas(second) - overlap).clamp(min=1e-6)


def encode_deltas(anchors: Tensor, boxes: Tensor, stds: Sequence[float] = UNIT_STDS) -> Tensor:
    """Deltas (N, 4) from anchors to boxes: shift of the centre in sides of the anchor, logarithm of the sides' ratio, / ``stds``.

    Girshick et al., "R-CNN", CVPR 2014, appendix C.
    """
    sides, targets = anchors[:, 2:] - anchors[:, :2], boxes[:, 2:] - boxes[:, :2]
    shift = ((boxes[:, :2] + boxes[:, 2:]) / 2 - (anchors[:, :2] + anchors[:, 2:]) / 2) / sides
    return torch.cat([shift, (targets / sides).log()], 1) / anchors.new_tensor(stds)


def decode_deltas(
    anchors: Tensor, deltas: Tensor, image_hw: tuple[int, int] | None, stds: Sequence[float] = UNIT_STDS
) -> Tensor:
    """Boxes (N, 4 K) from anchors (N, 4) and K sets of deltas (N, 4 K), within the image where its size is given.

    Args:
        anchors: what the deltas are of.
        deltas: see :func:`encode_deltas`.
        image_hw: height and width of the image in pixels, without padding.
        stds: what the deltas are multiplied with.
    """
    scaled = deltas.view(len(deltas), deltas.shape[1] // 4, 4) * deltas.new_tensor(stds)
    sides = (anchors[:, 2:] - anchors[:, :2])[:, None]
    centre = ((anchors[:, :2] + anchors[:, 2:]) / 2)[:, None] + sides * scaled[..., :2]
    half = sides * scaled[..., 2:].clamp(-MOST_SCALE, MOST_SCALE).exp() / 2
    boxes = torch.cat([centre - half, centre + half], -1)
    return (boxes if image_hw is None else clip(boxes, image_hw)).flatten(1)


def from_distances(points: Tensor, distances: Tensor, image_hw: tuple[int, int] | None = None) -> Tensor:
    """Boxes (N, 4) from points (N, 2) and their distances to the left, upper, right and lower side, clipped to the image."""
    boxes = torch.cat([points - distances[:, :2], points + distances[:, 2:]], 1)
    return boxes if image_hw is None else clip(boxes, image_hw)


def clip(boxes: Tensor, image_hw: tuple[int, int]) -> Tensor:
    """Boxes (…, 4), cut off at the sides of the image: x from 0 to W, y from 0 to H."""
    height, width = image_hw
    most = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), most)


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Suppress boxes that overlap a better one by more than ``threshold`` (IoU): indices of the others, best first.

    Equal scores keep their order. Boxes (N, 4), scores (N,).
    """
    order = scores.argsort(descending=True, stable=True)
    kept: list[Tensor] = []
    for block in torch.split(order, _BLOCK):
        if kept:
            block = block[(iou_matrix(boxes[block], boxes[torch.cat(kept)]) <= threshold).all(1)]
        suppressing = (iou_matrix(boxes[block], boxes[block]) > threshold).cpu().numpy()
        alive = torch.ones(len(block), dtype=torch.bool).numpy()
        for index in range(len(block)):
            if alive[index]:
                alive[index + 1 :] &= ~suppressing[index, index + 1 :]
        kept.append(block[torch.from_numpy(alive).to(block.device)])
    return torch.cat(kept) if kept else order


def nms_in_groups(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """:func:`nms` within each group (class or level): indices of what is left, best first over all groups."""
    kept = [
        members[nms(boxes[members], scores[members], threshold)]
        for members in ((groups == group).nonzero()[:, 0] for group in groups.unique())  # type: ignore[no-untyped-call]
    ]
    if not kept:
        return torch.zeros(0, dtype=torch.long, device=boxes.device)
    left = torch.cat(kept).sort().values  # equal scores in their first order
    return left[scores[left].argsort(descending=True, stable=True)]
