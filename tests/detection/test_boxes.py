"""Boxes, suppression, assignment, sampling, losses and masks where the record has no example: naive loops, and empty inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from supernet.detection import losses
from supernet.detection.anchors import anchors_of, points_of, usable_anchors
from supernet.detection.assignment import (
    BACKGROUND,
    IGNORED,
    assign_by_iou,
    assign_points,
    sample,
    sample_proposals,
)
from supernet.detection.boxes import (
    decode_deltas,
    encode_deltas,
    from_distances,
    iou_matrix,
    iou_pairs,
    nms,
    nms_in_groups,
)
from supernet.detection.decoding import decode_boxes, decode_fcos
from supernet.detection.masks import mask_targets, paste
from supernet.detection.proposals import proposals_of

NONE = torch.zeros(0, 4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_boxes(count: int, seed: int = 0, side: float = 40) -> Tensor:
    corner, size = (torch.rand(count, 2, generator=generator(seed + 9 * k), dtype=torch.float64) for k in (1, 2))
    return torch.cat([corner * 100, corner * 100 + size * side + 1], 1)


def suppressed_by_hand(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if all(float(iou_matrix(boxes[[index]], boxes[[other]])) <= threshold for other in kept):
            kept.append(index)
    return kept


def test_suppression_is_the_loop_over_pairs() -> None:
    """Equal scores keep their order; groups do not see one another."""
    boxes = some_boxes(60)
    scores = torch.rand(60, generator=generator(3)).mul(20).round() / 20
    kept = suppressed_by_hand(boxes, scores, 0.3)
    assert 10 < len(kept) < 50
    assert nms(boxes, scores, 0.3).tolist() == kept
    groups = torch.arange(60) % 3
    each = [suppressed_by_hand(boxes, scores.where(groups == group, -1), 0.3) for group in range(3)]
    left = {index for group, found in enumerate(each) for index in found if index % 3 == group}
    found = nms_in_groups(boxes, scores, groups, 0.3).tolist()
    assert set(found) == left
    assert found == sorted(found, key=lambda index: (-float(scores[index]), index))


def test_suppression_across_blocks() -> None:
    """More boxes than are compared at once."""
    boxes, scores = some_boxes(1500, side=8), torch.rand(1500, generator=generator(1))
    overlaps, alive, kept = iou_matrix(boxes, boxes) > 0.4, torch.ones(1500, dtype=torch.bool), []
    for index in scores.argsort(descending=True).tolist():
        if alive[index]:
            kept.append(index)
            alive &= ~overlaps[index]
    assert nms(boxes, scores, 0.4).tolist() == kept


def test_overlap() -> None:
    """A quarter of each; none; a box without area; pair by pair as in the matrix."""
    first = torch.tensor([[0.0, 0, 2, 2], [5, 5, 6, 6], [1, 1, 1, 1]])
    second = torch.tensor([[1.0, 1, 3, 3], [0, 0, 1, 1], [1, 1, 1, 1]])
    assert iou_matrix(first, second)[0].tolist() == pytest.approx([1 / 7, 1 / 4, 0])
    assert iou_pairs(first, second).tolist() == pytest.approx([1 / 7, 0, 0])


def test_deltas_and_distances_come_back() -> None:
    anchors, boxes = some_boxes(20), some_boxes(20, seed=5)
    for stds in ((1.0, 1.0, 1.0, 1.0), (0.1, 0.1, 0.2, 0.2)):
        assert torch.allclose(decode_deltas(anchors, encode_deltas(anchors, boxes, stds), None, stds), boxes)
    points = (boxes[:, :2] + boxes[:, 2:]) / 2 + 0.25
    distances = torch.cat([points - boxes[:, :2], boxes[:, 2:] - points], 1)
    assert torch.allclose(from_distances(points, distances), boxes)
    huge = decode_deltas(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 99, -99]]), None)
    assert (huge[0, 2:] - huge[0, :2]).tolist() == pytest.approx([625, 0.16])  # 1000 / 16 and 16 / 1000 of the side
    assert decode_deltas(anchors, torch.zeros(20, 12), (30, 50)).view(-1, 4).max(0).values.tolist() == [50, 30, 50, 30]


def test_assignment_of_low_quality() -> None:
    """A ground truth without a good box takes its best ones; a later truth before an earlier one; the middle is ignored."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 4], [50, 50, 60, 60]])
    truth = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9]])
    assert assign_by_iou(boxes, truth, positive=0.95, negative=0.3).tolist() == [0, IGNORED, IGNORED, BACKGROUND]
    assert assign_by_iou(boxes, truth, positive=0.95, negative=0.3, at_least=0.3).tolist() == [
        1, IGNORED, IGNORED, BACKGROUND,
    ]  # fmt: skip
    assert assign_by_iou(boxes, truth, positive=0.95, negative=0.3, at_least=0.92).tolist()[0] == 0
    assert assign_by_iou(boxes, NONE, positive=0.5, negative=0.5, at_least=0.3).tolist() == [BACKGROUND] * 4
    assert assign_by_iou(NONE, truth, positive=0.5, negative=0.5).tolist() == []


def test_sampling() -> None:
    """No more positive ones than their part, background for the rest, never what is ignored, another seed other ones."""
    assigned = torch.tensor([0] * 50 + [IGNORED] * 30 + [BACKGROUND] * 100)
    positive, negative = sample(assigned, 40, 0.25, generator())
    assert len(positive) == 10 and len(negative) == 30
    assert (assigned[positive] == 0).all() and (assigned[negative] == BACKGROUND).all()
    assert positive.tolist() == sorted(set(positive.tolist()))
    assert sample(assigned, 40, 0.25, generator(1))[0].tolist() != positive.tolist()
    assert torch.equal(sample(assigned, 40, 0.25, generator())[1], negative)
    positive, negative = sample(assigned[45:], 400, 0.5, generator())
    assert (len(positive), len(negative)) == (5, 100)
    found = sample_proposals(some_boxes(30), NONE, iou=0.5, low_quality=True, generator=generator(), number=20)
    assert len(found.boxes) == 20 and not len(found.truth) and found.added == 0


def test_anchors_beyond_the_image_are_not_usable() -> None:
    """Cells of a larger image of the batch; with borders, what reaches over the image without padding."""
    sizes, strides = [(4, 6)], (16,)
    anchors = anchors_of(sizes, strides, torch.zeros(1))
    assert int(usable_anchors(anchors, sizes, strides, (33, 64)).sum()) == 3 * 4 * 3
    inside = usable_anchors(anchors_of([(40, 40)], (4,), torch.zeros(1)), [(40, 40)], (4,), (160, 160), (100, 120))
    boxes = anchors_of([(40, 40)], (4,), torch.zeros(1))[0][inside]
    assert boxes.min() >= 0 and boxes[:, 2].max() < 120 and boxes[:, 3].max() < 100 and len(boxes)
    assert points_of([(1, 2)], (8,), torch.zeros(1))[0].tolist() == [[4, 4], [12, 4]]


def test_points_belong_to_the_smallest_box_of_their_level() -> None:
    points = [torch.tensor([[10.0, 10], [30, 30]]), torch.tensor([[10.0, 10], [50, 50]])]
    truth = torch.tensor([[0.0, 0, 100, 100], [5, 5, 20, 20]])
    number, distances = assign_points(points, truth, ((-1, 64), (64, 1e8)))
    assert number.tolist() == [1, BACKGROUND, 0, BACKGROUND]
    assert distances[0].tolist() == [5, 5, 10, 10] and distances[2].tolist() == [10, 10, 90, 90]
    number, distances = assign_points(points, NONE, ((-1, 64), (64, 1e8)))
    assert number.tolist() == [BACKGROUND] * 4 and distances.shape == (4, 4)


def test_losses_without_ground_truth_are_finite() -> None:
    """And reach every output, so that no process of a group waits for a gradient."""
    scores, distances, centre = (torch.randn(6, n, requires_grad=True) for n in (3, 4, 1))
    found = losses.fcos_losses(
        scores, distances, centre[:, 0], torch.full((6,), 3), torch.zeros(6, 4), torch.zeros(6, 2)
    )
    sum(found).backward()  # type: ignore[union-attr]
    assert scores.grad is not None and scores.grad.any()
    assert distances.grad is not None and centre.grad is not None
    classes, boxes = losses.box_losses(scores, torch.zeros(6, 4), torch.full((6,), 2), torch.zeros(6, 4), beta=1)
    assert classes > 0 and boxes == 0
    classes, boxes = losses.box_losses(scores[:0], torch.zeros(0, 8), torch.zeros(0).long(), NONE, beta=0)
    assert classes == 0 and boxes == 0
    assert losses.mask_loss(torch.zeros(0, 3, 28, 28), torch.zeros(0).long(), torch.zeros(0, 28, 28)) == 0
    assert losses.rpn_divisor([(torch.arange(0), torch.arange(5)), (torch.arange(3), torch.arange(0))]) == 1 + 5 + 3 + 1


def test_nothing_is_found_in_nothing() -> None:
    """No candidates, no boxes; empty tensors of the right shapes."""
    anchors = anchors_of([(2, 2)], (4,), torch.zeros(1))
    boxes, scores = proposals_of(
        [torch.zeros(12)], [torch.zeros(12, 4)], [a - 500 for a in anchors], (8, 8), before=9, most=9
    )
    assert boxes.shape == (0, 4) and scores.shape == (0,)
    found = decode_boxes(NONE, torch.zeros(0, 4), torch.zeros(0, 12), (8, 8), (1.0, 1.0))
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,) and found.labels.shape == (0,)
    found = decode_fcos(
        [torch.full((4, 3), -9.0)], [torch.ones(4, 4)], [torch.zeros(4)], [torch.zeros(4, 2)], (8, 8), (1, 1)
    )
    assert found.boxes.shape == (0, 4)


def test_masks_at_the_border() -> None:
    """A full mask fills its box where that lies in the image; a box outside of it, or without sides, has none."""
    boxes = torch.tensor([[-4.0, -4, 6, 6], [2, 3, 8, 9], [20, 20, 30, 30], [5, 5, 5, 9]])
    found = paste(torch.ones(4, 28, 28), boxes, (10, 12))
    assert [int(mask.sum()) for mask in found] == [36, 36, 0, 0]
    assert found[1, 3:9, 2:8].all()
    masks = torch.zeros(1, 10, 12)
    masks[0, :, :6] = 1
    targets = mask_targets(
        masks, torch.zeros(3).long(), torch.tensor([[2.0, 2, 10, 8], [-9, 0, 6, 10], [20, 20, 30, 30]])
    )
    assert targets[0, :, :14].all() and not targets[0, :, 14:].any()
    assert targets[1].all() and not targets[2].any()
