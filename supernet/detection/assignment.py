"""Assign ground truth: to anchors and proposals by IoU, to points of FCOS by place and size; and sample some of them.

Ground truth has a number from 0; -1 stands for the background and -2 for what is neither. Legend: N boxes or points, G boxes of
ground truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .boxes import areas, iou_matrix

BACKGROUND, IGNORED = -1, -2
#: Of the largest side distance in pixels, for each level of FCOS; both ends belong to it (Tian et al., ICCV 2019, §3.2).
FCOS_RANGES = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, 1e8))


def assign_by_iou(
    boxes: Tensor, truth: Tensor, *, positive: float, negative: float, at_least: float | None = None
) -> Tensor:
    """Number of the ground truth of each box, or :data:`BACKGROUND`, or :data:`IGNORED`: int64 (N,).

    Args:
        boxes: (N, 4).
        truth: (G, 4).
        positive: a box whose best IoU is at least this belongs to that ground truth.
        negative: one whose best IoU is below is background.
        at_least: every box that has a ground truth's best IoU belongs to it if that is at least so much, whatever it would be
            otherwise, a later ground truth before an earlier one; None leaves that rule out.
    """
    assigned = torch.full((len(boxes),), IGNORED, dtype=torch.long, device=boxes.device)
    if not len(truth) or not len(boxes):
        return assigned.fill_(BACKGROUND)
    overlaps = iou_matrix(truth, boxes)
    best, which = overlaps.max(0)
    assigned[best < negative] = BACKGROUND
    assigned[best >= positive] = which[best >= positive]
    if at_least is not None:
        for number, most in enumerate(overlaps.max(1).values.tolist()):
            if most >= at_least:
                assigned[overlaps[number] == most] = number
    return assigned


def sample(
    assigned: Tensor, number: int, positive_part: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Indices of positive and of negative boxes, ascending: at random ``number`` of them, where there are so many.

    Args:
        assigned: see :func:`assign_by_iou`.
        number: how many in all.
        positive_part: at most this part of them is positive; the others are background.
        generator: of random numbers, on the CPU.
    """
    positive = _at_most(int(number * positive_part), (assigned >= 0).nonzero()[:, 0], generator)
    negative = _at_most(number - len(positive), (assigned == BACKGROUND).nonzero()[:, 0], generator)
    return positive, negative


def _at_most(number: int, indices: Tensor, generator: torch.Generator | None) -> Tensor:
    if len(indices) <= number:
        return indices
    chosen = torch.randperm(len(indices), generator=generator)[:number].sort().values
    return indices[chosen.to(indices.device)]


@dataclass(frozen=True)
class Sampled:
    """Boxes of one image that a head is trained on, the positive ones first.

    Attributes:
        boxes: (N, 4).
        truth: number of the ground truth of the P positive ones, int64 (P,).
        added: how many of the first are ground truth themselves.
    """

    boxes: Tensor
    truth: Tensor
    added: int


def sample_proposals(
    proposals: Tensor,
    truth: Tensor,
    *,
    iou: float,
    low_quality: bool,
    generator: torch.Generator | None,
    number: int = 512,
    positive_part: float = 0.25,
) -> Sampled:
    """Assign proposals (N, 4), and the ground truth (G, 4) itself as further ones, and sample what a head is trained on.

    Args:
        proposals: of one image.
        truth: its ground truth.
        iou: at least this is positive, the rest background.
        low_quality: a ground truth that no proposal overlaps so much may have those that overlap it most; by at least ``iou``.
        generator: see :func:`sample`.
        number: see :func:`sample`.
        positive_part: see :func:`sample`.
    """
    assigned = assign_by_iou(proposals, truth, positive=iou, negative=iou, at_least=iou if low_quality else None)
    itself = torch.arange(len(truth), device=assigned.device)
    assigned, boxes = torch.cat([itself, assigned]), torch.cat([truth.to(proposals), proposals])
    positive, negative = sample(assigned, number, positive_part, generator)
    added = int((positive < len(truth)).sum())
    return Sampled(torch.cat([boxes[positive], boxes[negative]]), assigned[positive], added)


def assign_points(
    points: Sequence[Tensor], truth: Tensor, ranges: Sequence[tuple[float, float]] = FCOS_RANGES
) -> tuple[Tensor, Tensor]:
    """Ground truth of FCOS's points: the smallest box around a point whose largest side distance the level is for.

    Args:
        points: of each level, (N_l, 2).
        truth: (G, 4).
        ranges: of the largest side distance, for each level, pixels.

    Returns:
        For the points of all levels, the number of the ground truth or :data:`BACKGROUND`, int64 (N,), and the distances to the
        left, upper, right and lower side of that box, (N, 4), of no meaning for the background.
    """
    joined = torch.cat(list(points))
    if not len(truth):
        return joined.new_full((len(joined),), BACKGROUND, dtype=torch.long), joined.new_zeros(len(joined), 4)
    bounds = torch.cat(
        [level.new_tensor(span).expand(len(level), 2) for level, span in zip(points, ranges, strict=True)]
    )
    distances = torch.cat([joined[:, None] - truth[None, :, :2], truth[None, :, 2:] - joined[:, None]], -1)  # (N, G, 4)
    largest = distances.max(-1).values
    inside = distances.min(-1).values > 0
    fits = (largest >= bounds[:, :1]) & (largest <= bounds[:, 1:])
    sizes = areas(truth).expand(len(joined), -1).masked_fill(~(inside & fits), torch.inf)
    smallest, which = sizes.min(1)
    number = torch.where(smallest == torch.inf, BACKGROUND, which)
    return number, distances[torch.arange(len(joined), device=joined.device), which]
