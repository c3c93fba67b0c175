"""FCOS as a task: losses of a batch, and detections of its images, from the network's outputs by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .anchors import points_of
from .assignment import assign_points
from .decoding import Detections, decode_fcos
from .losses import fcos_losses
from .proposals import flat_levels, levels_named
from .samples import InputImage, Truth

STRIDES = (8, 16, 32, 64, 128)


def _points(scores: Sequence[Tensor]) -> list[Tensor]:
    sizes = [(int(level.shape[2]), int(level.shape[3])) for level in scores]
    return points_of(sizes, STRIDES, scores[0])


def detect_fcos(
    outputs: Mapping[str, Tensor], images: Sequence[InputImage], *, lowest: float = 0.05
) -> list[Detections]:
    """Detections of each image, in pixels of the original.

    Args:
        outputs: ``cls_score.l``, ``bbox_pred.l`` and ``centerness.l`` of each level.
        images: of the batch.
        lowest: classes without a higher score are not detected.
    """
    scores, distances, centre = (levels_named(outputs, name) for name in ("cls_score", "bbox_pred", "centerness"))
    points, classes = _points(scores), scores[0].shape[1]
    return [
        decode_fcos(
            flat_levels(scores, index, classes),
            flat_levels(distances, index, 4),
            [level[:, 0] for level in flat_levels(centre, index, 1)],
            points,
            image.hw,
            image.scale_xy,
            lowest=lowest,
        )
        for index, image in enumerate(images)
    ]


def fcos_batch_losses(outputs: Mapping[str, Tensor], truths: Sequence[Truth]) -> dict[str, Tensor]:
    """Class, box and centre-ness losses of a batch; arguments as in :func:`detect_fcos`, and the ground truth of each image."""
    scores, distances, centre = (levels_named(outputs, name) for name in ("cls_score", "bbox_pred", "centerness"))
    points, classes = _points(scores), scores[0].shape[1]
    labels, targets = [], []
    for truth in truths:
        number, sides = assign_points(points, truth.boxes)
        known = torch.cat([truth.labels, truth.labels.new_tensor([classes])])  # -1 is the background
        labels.append(known[number])
        targets.append(sides)
    batch = range(len(truths))
    found = fcos_losses(
        torch.cat([level for index in batch for level in flat_levels(scores, index, classes)]),
        torch.cat([level for index in batch for level in flat_levels(distances, index, 4)]),
        torch.cat([level[:, 0] for index in batch for level in flat_levels(centre, index, 1)]),
        torch.cat(labels),
        torch.cat(targets),
        torch.cat(points).repeat(len(truths), 1),
    )
    return dict(zip(("classes", "boxes", "centerness"), found, strict=True))
