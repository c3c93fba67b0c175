"""Decoding, targets and losses against the record of mmdetection's own code (``tests/data/detection``), in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from supernet.detection import losses
from supernet.detection.anchors import anchors_of, points_of, usable_anchors
from supernet.detection.assignment import (
    BACKGROUND,
    IGNORED,
    Sampled,
    assign_by_iou,
    assign_points,
    sample_proposals,
)
from supernet.detection.boxes import encode_deltas
from supernet.detection.decoding import STAGE_STDS, Detections, decode_boxes, decode_fcos, refined
from supernet.detection.masks import mask_targets, paste
from supernet.detection.proposals import flat_levels, proposals_of
from tests import reference

RECORD: dict[str, Any] = reference.load_json("detection/decoding_targets_losses")
STRIDES = (4, 8, 16, 32, 64)
IMAGE, PADDED = (250, 310), (256, 320)
SCALE = (0.5, 0.5)
TRUTH = torch.tensor(RECORD["gt_boxes"], dtype=torch.float64)
LABELS = torch.tensor(RECORD["gt_labels"])


def normal(seed: int, shape: Sequence[int], scale: float = 1.0, mean: float = 0.0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape) * scale + mean)


def near(found: Tensor | float, expected: Any, tolerance: float = 2e-11) -> None:
    """Equal to as many digits as the record has."""
    values = torch.as_tensor(found, dtype=torch.float64)
    torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64), rtol=tolerance, atol=tolerance)


def sizes(entry: dict[str, Any] = RECORD) -> list[tuple[int, int]]:
    return [(height, width) for height, width in entry["feature_sizes"]]


def anchors() -> list[Tensor]:
    """As the original had them when it was trained: float32."""
    return [level.double() for level in anchors_of(sizes(), STRIDES, TRUTH.float())]


def rpn_outputs() -> tuple[list[Tensor], list[Tensor]]:
    """Objectness and deltas of the record, flat."""
    scores = [normal(100 + level, (1, 3, *size), 1.5) for level, size in enumerate(sizes())]
    deltas = [normal(200 + level, (1, 12, *size), 0.3) for level, size in enumerate(sizes())]
    return [level[:, 0] for level in flat_levels(scores, 0, 1)], flat_levels(deltas, 0, 4)


def proposals(before: int, most: int) -> Tensor:
    """With the score as fifth column."""
    places = anchors_of(sizes(), STRIDES, TRUTH)  # of the type of the outputs
    boxes, scores = proposals_of(*rpn_outputs(), places, IMAGE, before=before, most=most)
    return torch.cat([boxes, scores[:, None]], 1)


def rois() -> Tensor:
    rng = np.random.default_rng(7)
    corner, side = rng.uniform(-5, 200, (60, 2)), rng.uniform(8, 140, (60, 2))
    return torch.from_numpy(np.concatenate([corner, corner + side], 1))


def assert_detected(found: Detections, entry: dict[str, Any], count: str = "count") -> None:
    assert len(found.boxes) == entry[count]
    near(torch.cat([found.boxes, found.scores[:, None]], 1)[:40], entry["dets"])
    assert found.labels[:40].tolist() == entry["labels"]


def test_anchors() -> None:
    entry, found = RECORD["anchors"], anchors()
    for level, expected in zip(found, entry["first_4_of_level"], strict=True):
        near(level[:4], expected, 1e-8)  # nine digits
    assert sum(map(len, found)) == entry["count"]


def test_proposals() -> None:
    found, entry = proposals(1000, 1000), RECORD["rpn_proposals_test"]
    assert len(found) == entry["count"]
    near(found[:30], entry["first_30"])
    near(found.sum(0), entry["sum"])
    found, entry = proposals(2000, 1000), RECORD["rpn_proposals_train"]
    near(found.sum(0), entry["sum"])
    near(found[-1], entry["last"])


def assigned_anchors(inside: tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    """Numbers of the usable anchors, and what each of them is assigned."""
    usable = usable_anchors(anchors(), sizes(), STRIDES, PADDED, inside).nonzero()[:, 0]
    return usable, assign_by_iou(torch.cat(anchors())[usable], TRUTH, positive=0.7, negative=0.3, at_least=0.3)


def test_assigned_anchors() -> None:
    usable, assigned = assigned_anchors(None)
    entry, positive = RECORD["rpn_assign"], (assigned >= 0).nonzero()[:, 0]
    assert len(usable) == entry["valid_anchors"]
    assert int((assigned == BACKGROUND).sum()) == entry["negative"]
    assert int((assigned == IGNORED).sum()) == entry["ignored"]
    assert positive.tolist() == entry["positive_indices_among_valid"]
    assert (assigned[positive] + 1).tolist() == entry["their_gt_1_based"]


@pytest.mark.parametrize(("name", "inside", "beta"), [("faster", None, 0.0), ("cascade", IMAGE, 1 / 9)])
def test_rpn_losses(name: str, inside: tuple[int, int] | None, beta: float) -> None:
    """On the anchors that the original sampled; level by level, as it says them."""
    entry = RECORD[f"rpn_loss_{name}"]
    usable, assigned = assigned_anchors(inside)
    truth_of = torch.full((sum(map(len, anchors())),), IGNORED)
    truth_of[usable] = assigned
    positive, negative = (torch.tensor(entry[f"sampled_{which}_anchor_indices"]) for which in ("positive", "negative"))
    assert positive.tolist() == (truth_of >= 0).nonzero()[:, 0].tolist()
    assert (truth_of[negative] == BACKGROUND).all()
    targets = encode_deltas(torch.cat(anchors())[positive], TRUTH[truth_of[positive]])
    near(targets, entry["bbox_targets_of_positive"])
    divisor = losses.rpn_divisor([(positive, negative)])
    start = 0
    for level, (scores, deltas) in enumerate(zip(*rpn_outputs(), strict=True)):
        mine, others = ((which >= start) & (which < start + len(scores)) for which in (positive, negative))
        objectness, boxes = losses.rpn_losses(
            scores, deltas, targets[mine], positive[mine] - start, negative[others] - start, divisor, beta
        )
        near(objectness, entry["loss_rpn_cls"][level])
        near(boxes, entry["loss_rpn_bbox"][level])
        start += len(scores)


def test_detections() -> None:
    scores, deltas = normal(301, (60, 81), 2.5), normal(302, (60, 320), 1.0)
    assert_detected(decode_boxes(rois(), scores, deltas, IMAGE, SCALE), RECORD["roi_detections"])


def test_detections_of_a_cascade() -> None:
    entry, boxes = RECORD["cascade_detections"], rois()
    for stage in range(2):
        boxes = refined(boxes, normal(320 + stage, (60, 4)), IMAGE, stage)
        near(boxes[:5], entry[f"refined_{stage + 1}_first_5"])
    scores = torch.stack([normal(330 + stage, (60, 81), 2.5) for stage in range(3)]).mean(0)
    found = decode_boxes(boxes, scores, normal(322, (60, 4)), IMAGE, SCALE, stds=STAGE_STDS[2])
    assert_detected(found, entry)


def test_pasted_masks() -> None:
    entry = RECORD["mask_paste"]
    probabilities = normal(303, (8, 80, 28, 28), 2.0).sigmoid()[torch.arange(8), torch.tensor(entry["labels"])]
    found = paste(probabilities, rois()[:8] / 0.5, (500, 620))
    for mask, expected in zip(found.numpy(), entry["rle"], strict=True):
        run_lengths = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert int(mask.sum()) == expected["area"]
        assert run_lengths["counts"].decode() == expected["counts"]


def sampled_by_the_original(entry: dict[str, Any], iou: float, low_quality: bool) -> Sampled:
    """Our positive boxes, which have to be the original's, and its negative ones, which ours have to contain."""
    boxes = proposals(2000, 1000)[:, :4]
    ours = sample_proposals(boxes, TRUTH, iou=iou, low_quality=low_quality, generator=None, number=10**4)
    positive = len(ours.truth)
    near(ours.boxes[:positive], entry["positives"])
    assert ours.truth.tolist() == entry["positive_gt"]
    assert ours.added == len(TRUTH)
    negative = torch.tensor(entry["negatives"], dtype=torch.float64)
    away = torch.cdist(negative, ours.boxes[positive:], compute_mode="donot_use_mm_for_euclid_dist")
    assert float(away.min(1).values.max()) < 1e-6
    return Sampled(torch.cat([ours.boxes[:positive], ours.boxes[positive:][away.argmin(1)]]), ours.truth, ours.added)


def labels_and_targets(sampled: Sampled, stds: Sequence[float]) -> tuple[Tensor, Tensor]:
    labels = torch.full((len(sampled.boxes),), 80)
    labels[: len(sampled.truth)] = LABELS[sampled.truth]
    targets = torch.zeros_like(sampled.boxes)
    targets[: len(sampled.truth)] = encode_deltas(sampled.boxes[: len(sampled.truth)], TRUTH[sampled.truth], stds)
    return labels, targets


def test_box_and_mask_losses_of_mask_rcnn() -> None:
    entry = RECORD["roi_train_mask_rcnn"]
    sampled = sampled_by_the_original(entry, 0.5, low_quality=True)
    labels, targets = labels_and_targets(sampled, STAGE_STDS[0])
    positive, number = len(sampled.truth), len(labels)
    assert number - positive == entry["negatives_count"]
    near(targets[:positive], entry["bbox_targets_of_positives"])
    classes, boxes = losses.box_losses(
        normal(311, (number, 81)), normal(312, (number, 320), 0.2), labels, targets, beta=0
    )
    near(classes, entry["loss_cls"])
    near(boxes, entry["loss_bbox"])
    y, x = torch.meshgrid(torch.arange(256), torch.arange(320), indexing="ij")
    centres, sides = (TRUTH[:, :2] + TRUTH[:, 2:]) / 2, TRUTH[:, 2:] - TRUTH[:, :2]
    masks = torch.stack(
        [
            ((x - cx) / (w / 2)) ** 2 + ((y - cy) / (h / 2)) ** 2 <= 1
            for (cx, cy), (w, h) in zip(centres.tolist(), sides.tolist(), strict=True)
        ]
    )
    found = mask_targets(masks, sampled.truth, sampled.boxes[:positive])
    assert found.sum((1, 2)).tolist() == entry["mask_target_sums"]
    near(losses.mask_loss(normal(313, (positive, 80, 28, 28)), labels[:positive], found), entry["loss_mask"])


@pytest.mark.parametrize("stage", range(3))
def test_box_losses_of_a_cascade(stage: int) -> None:
    entry = RECORD["cascade_train_losses"][f"stage_{stage}"]
    sampled = sampled_by_the_original(entry, entry["iou"], low_quality=False)
    labels, targets = labels_and_targets(sampled, STAGE_STDS[stage])
    number = len(labels)
    classes, boxes = losses.box_losses(
        normal(340 + stage, (number, 81)), normal(350 + stage, (number, 4), 0.5), labels, targets, beta=1
    )
    near(classes, entry["loss_cls"])
    near(boxes, entry["loss_bbox"])


def fcos_outputs() -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """Class logits, distances, centre-ness logits and points of each level."""
    levels = sizes(RECORD["fcos"])
    scores = [normal(400 + level, (1, 80, *size), 1.5, -4.0) for level, size in enumerate(levels)]
    distances = [normal(410 + level, (1, 4, *size), 0.5).exp() * 2 * (8 << level) for level, size in enumerate(levels)]
    centerness = [normal(420 + level, (1, 1, *size)) for level, size in enumerate(levels)]
    points = points_of(levels, [8 << level for level in range(5)], TRUTH)
    return (
        flat_levels(scores, 0, 80),
        flat_levels(distances, 0, 4),
        [level[:, 0] for level in flat_levels(centerness, 0, 1)],
        points,
    )


def test_detections_of_fcos() -> None:
    *outputs, points = fcos_outputs()
    for level, expected in zip(points, RECORD["fcos"]["first_2_points_of_level"], strict=True):
        near(level[:2], expected)
    assert_detected(decode_fcos(*outputs, points, IMAGE, SCALE), RECORD["fcos"], "detections_count")


def test_targets_and_losses_of_fcos() -> None:
    entry, (scores, distances, centerness, points) = RECORD["fcos"], fcos_outputs()
    number, targets = assign_points(points, TRUTH)
    labels = torch.where(number >= 0, LABELS[number], 80)
    lengths = [len(level) for level in points]
    assert [int((part < 80).sum()) for part in labels.split(lengths)] == entry["positive_points_per_level"]
    assert [int(part.sum()) for part in labels.split(lengths)] == entry["labels_sum_per_level"]
    sums = [part[of < 80].sum(0) for part, of in zip(targets.split(lengths), labels.split(lengths), strict=True)]
    near(torch.stack(sums), entry["target_sum_of_positives_per_level"])
    found = losses.fcos_losses(
        torch.cat(scores), torch.cat(distances), torch.cat(centerness), labels, targets, torch.cat(points)
    )
    near(torch.stack(found), [entry["losses"][name] for name in ("loss_cls", "loss_bbox", "loss_centerness")])


def test_semantic_loss() -> None:
    labels = torch.from_numpy(np.random.default_rng(501).integers(0, 183, (1, 1, 32, 40)))[:, 0]
    labels[:, :4] = 255
    near(losses.semantic_loss(normal(500, (1, 183, 32, 40)), labels), RECORD["htc_semantic_loss"]["loss"])
