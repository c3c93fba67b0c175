"""Losses of detectors: region proposals, boxes, masks, semantic segmentation, FCOS.

Every loss is a sum over samples divided by a number that its function says. Legend: N samples, P positive ones (the first), C
classes; class C is the background of :func:`box_losses`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .boxes import from_distances, iou_pairs

EPSILON = float(torch.finfo(torch.float32).eps)  # mmdetection adds it to some numbers that it divides by
SEMANTIC_WEIGHT = 0.2
IGNORED_PIXEL = 255
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


def smooth_l1(predicted: Tensor, target: Tensor, beta: float) -> Tensor:
    """Sum of |x| - β / 2, or x² / (2 β) where |x| < β; β = 0 is the sum of absolute differences."""
    return F.smooth_l1_loss(predicted, target, reduction="sum", beta=beta)


def rpn_losses(
    scores: Tensor, deltas: Tensor, targets: Tensor, positive: Tensor, negative: Tensor, divisor: float, beta: float
) -> tuple[Tensor, Tensor]:
    """Objectness and box losses of sampled anchors, of one image or level.

    Args:
        scores: objectness logits of all anchors (A,).
        deltas: of all anchors (A, 4).
        targets: deltas to the ground truth of the positive anchors (P, 4).
        positive: indices (P,).
        negative: indices.
        divisor: number of sampled anchors of the batch (:func:`rpn_divisor`).
        beta: of :func:`smooth_l1`: 0 for Faster and Mask R-CNN, 1 / 9 for cascades.
    """
    sampled = torch.cat([scores[positive], scores[negative]])
    labels = torch.cat([torch.ones_like(scores[positive]), torch.zeros_like(scores[negative])])
    objectness = F.binary_cross_entropy_with_logits(sampled, labels, reduction="sum")
    boxes = smooth_l1(deltas[positive], targets, beta)
    return objectness / (divisor + EPSILON), boxes / (divisor + EPSILON)


def rpn_divisor(samples: Sequence[tuple[Tensor, Tensor]]) -> int:
    """Positive and negative anchors of all images of a batch, each at least one per image."""
    return sum(max(len(positive), 1) + max(len(negative), 1) for positive, negative in samples)


def box_losses(scores: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Class and box losses of sampled boxes, both divided by their number N.

    Args:
        scores: class logits (N, C + 1), the background last.
        deltas: (N, 4 C), or (N, 4) where they do not depend on the class.
        labels: (N,), C for the background.
        targets: deltas (N, 4); those of the background are not read.
        beta: of :func:`smooth_l1`: 0 for Faster and Mask R-CNN, 1 for cascades.
    """
    number = max(len(labels), 1) + EPSILON
    classes = F.cross_entropy(scores, labels, reduction="sum") / number
    positive = (labels < scores.shape[1] - 1).nonzero()[:, 0]
    each = deltas.view(len(deltas), deltas.shape[1] // 4, 4)
    which = labels[positive] if each.shape[1] > 1 else torch.zeros_like(positive)
    return classes, smooth_l1(each[positive, which], targets[positive], beta) / number


def mask_loss(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross-entropy of the channel of each box's class; 0 where there is no box.

    Args:
        logits: (P, C, h, w).
        labels: (P,).
        targets: (P, h, w), 0 or 1.
    """
    chosen = logits[torch.arange(len(labels), device=logits.device), labels]
    if not len(labels):
        return chosen.sum()
    return F.binary_cross_entropy_with_logits(chosen, targets.to(chosen))


def semantic_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """0.2 × cross-entropy, divided by the number of all pixels, also of those that are ignored (255).

    Args:
        logits: (B, C, h, w).
        labels: (B, h, w), int64.
    """
    total = F.cross_entropy(logits, labels, ignore_index=IGNORED_PIXEL, reduction="sum")
    return SEMANTIC_WEIGHT * total / labels.numel()


def focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum of sigmoid focal losses of (N, C) with labels (N,), C for none (Lin et al., "RetinaNet", ICCV 2017)."""
    hot = F.one_hot(labels, logits.shape[1] + 1)[:, :-1].to(logits)
    probability = logits.sigmoid()
    wrong = torch.where(hot > 0, 1 - probability, probability)
    weight = torch.where(hot > 0, FOCAL_ALPHA, 1 - FOCAL_ALPHA) * wrong**FOCAL_GAMMA
    return (weight * F.binary_cross_entropy_with_logits(logits, hot, reduction="none")).sum()


def centerness_of(distances: Tensor) -> Tensor:
    """Centre-ness (N,) of points by their distances to the sides (N, 4): 1 in the middle of the box, 0 at its sides."""
    across, down = distances[:, [0, 2]], distances[:, [1, 3]]
    ratios = across.amin(1) / across.amax(1) * (down.amin(1) / down.amax(1))
    return ratios.sqrt()


def fcos_losses(
    scores: Tensor,
    distances: Tensor,
    centerness: Tensor,
    labels: Tensor,
    targets: Tensor,
    points: Tensor,
    positives: float | None = None,
    centerness_sum: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Class, box and centre-ness losses of all points of a batch.

    The class loss is divided by the number of positive points, as is that of centre-ness; the box loss, -log IoU, is weighted by
    the target of centre-ness and divided by its sum.

    Args:
        scores: class logits (N, C).
        distances: predicted, pixels (N, 4).
        centerness: logits (N,).
        labels: (N,), C for the background.
        targets: distances (N, 4); those of the background are not read.
        points: (N, 2), pixels.
        positives: number of positive points, a mean over processes; None for those of here.
        centerness_sum: of the targets of centre-ness, a mean over processes; None for that of here.
    """
    positive = (labels < scores.shape[1]).nonzero()[:, 0]
    divisor = max(len(positive) if positives is None else positives, 1.0)
    classes = focal_loss(scores, labels) / divisor
    if not len(positive):
        return classes, distances[positive].sum(), centerness[positive].sum()
    wanted = targets[positive]
    central = centerness_of(wanted)
    total = max(float(central.sum()) if centerness_sum is None else centerness_sum, 1e-6) + EPSILON
    overlaps = iou_pairs(
        from_distances(points[positive], distances[positive]), from_distances(points[positive], wanted)
    ).clamp(min=1e-6)
    boxes = (-overlaps.log() * central).sum() / total
    centre = F.binary_cross_entropy_with_logits(centerness[positive], central, reduction="sum") / divisor
    return classes, boxes, centre
