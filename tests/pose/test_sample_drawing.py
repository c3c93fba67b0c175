"""Drawn annotations: mirrored ones are the same annotations on the other side."""

from __future__ import annotations

import numpy as np

from supernet.pose.keypoints import COCO
from supernet.pose.sample_drawing import BOX, IGNORED, DrawnSample, draw_sample, mirrored


def sample(named: int | None = None) -> DrawnSample:
    rng = np.random.default_rng(0)
    keypoints = np.concatenate([rng.uniform(20, 80, (2, 17, 2)), np.full((2, 17, 1), 2)], axis=2).astype(np.float32)
    ignored = np.zeros((100, 120), np.bool_)
    ignored[:10, :20] = True
    return DrawnSample(np.zeros((100, 120, 3), np.uint8), keypoints, [(30, 40, 50, 20)], ignored, named)


def test_mirroring_twice_changes_nothing() -> None:
    first = sample()
    once = mirrored(first, COCO)
    assert once.keypoints_PK3[0, 5, 0] == 119 - first.keypoints_PK3[0, 6, 0] and once.boxes == [(39, 40, 50, 20)]
    assert once.ignored_HW is not None and once.ignored_HW[0, 119] and not once.ignored_HW[0, 0]
    again = mirrored(once, COCO)
    np.testing.assert_allclose(again.keypoints_PK3, first.keypoints_PK3, rtol=1e-6)
    assert again.boxes == first.boxes


def test_boxes_ignored_regions_and_names_are_drawn() -> None:
    drawn = draw_sample(sample(), COCO, 240, names=False)
    assert drawn.shape == (200, 240, 3)
    np.testing.assert_allclose(drawn[80, 70], BOX, atol=30)  # its edge is smoothed
    assert np.abs(drawn[5, 20].astype(int) - np.round(0.55 * np.array(IGNORED))).max() <= 2
    named = [draw_sample(sample(who), COCO, 240, names=True) for who in (0, 1)]
    assert (named[0] != drawn).any() and (named[0] != named[1]).any()


def test_nobody_and_joints_far_away_can_be_drawn() -> None:
    far = sample()
    far.keypoints_PK3[0, :, 0] = 1e7
    draw_sample(far, COCO, 100, names=True)
    empty = DrawnSample(np.zeros((10, 10, 3), np.uint8), np.zeros((0, 17, 3), np.float32))
    assert draw_sample(empty, COCO, 100, names=True).shape == (100, 100, 3)
