"""Detections of one image from what a detector computes: of a box head, of a cascade of them, of FCOS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .boxes import decode_deltas, from_distances, nms_in_groups

NMS_IOU = 0.5
MOST = 100  # detections of an image
#: What deltas of the box heads are multiplied with, of each stage of a cascade; Faster and Mask R-CNN have the first.
STAGE_STDS = ((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067))


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first.

    Attributes:
        boxes: (N, 4), x0 y0 x1 y1 in pixels.
        scores: (N,), 0 to 1.
        labels: class of each, int64 (N,).
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def suppressed(boxes: Tensor, scores: Tensor, labels: Tensor) -> Detections:
    """The best detections, without those that overlap a better one of the same class."""
    kept = nms_in_groups(boxes, scores, labels, NMS_IOU)[:MOST]
    return Detections(boxes[kept], scores[kept], labels[kept])


def decode_boxes(
    rois: Tensor,
    scores: Tensor,
    deltas: Tensor,
    image_hw: tuple[int, int],
    scale_xy: tuple[float, float],
    *,
    stds: Sequence[float] = STAGE_STDS[0],
    lowest: float = 0.05,
) -> Detections:
    """Detections of a box head.

    Args:
        rois: boxes that it looked at (N, 4), pixels of the input.
        scores: class logits (N, C + 1), the background last; of a cascade their mean over the stages.
        deltas: (N, 4 C), or (N, 4) where they do not depend on the class; of a cascade those of its last stage.
        image_hw: height and width of the input without padding; boxes are clipped to it.
        scale_xy: by which width and height of the original image were multiplied; the boxes are divided by it.
        stds: of the deltas.
        lowest: what has no higher score is not detected; 0.001 in HTC.
    """
    probability = scores.softmax(1)[:, :-1]
    boxes = decode_deltas(rois, deltas, image_hw, stds).view(len(rois), deltas.shape[1] // 4, 4) / _twice(
        scale_xy, rois
    )
    boxes = boxes.expand(-1, probability.shape[1], 4)
    place, label = (probability > lowest).nonzero(as_tuple=True)
    return suppressed(boxes[place, label], probability[place, label], label)


def refined(rois: Tensor, deltas: Tensor, image_hw: tuple[int, int], stage: int) -> Tensor:
    """Boxes (N, 4) of the next stage of a cascade: those of this one with its deltas (N, 4), clipped."""
    return decode_deltas(rois, deltas, image_hw, STAGE_STDS[stage])


def decode_fcos(
    scores: Sequence[Tensor],
    distances: Sequence[Tensor],
    centerness: Sequence[Tensor],
    points: Sequence[Tensor],
    image_hw: tuple[int, int],
    scale_xy: tuple[float, float],
    *,
    lowest: float = 0.05,
    before: int = 1000,
) -> Detections:
    """Detections of FCOS; their scores are products of the class's and the centre-ness.

    Args:
        scores: class logits of each level (N_l, C).
        distances: to the sides, pixels (N_l, 4).
        centerness: logits (N_l,).
        points: (N_l, 2).
        image_hw: height and width of the input without padding; boxes are clipped to it.
        scale_xy: by which width and height of the original image were multiplied; the boxes are divided by it.
        lowest: classes without a higher score (of the class alone) are not detected.
        before: so many of each level are looked at, those with the best class score.
    """
    boxes, confidence, labels = [], [], []
    for logits, sides, centre, places in zip(scores, distances, centerness, points, strict=True):
        probability = logits.sigmoid()
        place, label = (probability > lowest).nonzero(as_tuple=True)
        best = probability[place, label].argsort(descending=True, stable=True)[:before]
        place, label = place[best], label[best]
        boxes.append(from_distances(places[place], sides[place], image_hw))
        confidence.append(probability[place, label] * centre[place].sigmoid())
        labels.append(label)
    found = torch.cat(boxes) / _twice(scale_xy, boxes[0])
    return suppressed(found, torch.cat(confidence), torch.cat(labels))


def _twice(scale_xy: tuple[float, float], like: Tensor) -> Tensor:
    return like.new_tensor([*scale_xy, *scale_xy])
