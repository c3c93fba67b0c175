"""RTMPose's augmentation: ranges and shares of what is drawn, targets that go along, and the switch of the last epochs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from supernet.errors import UserError
from supernet.pose.datasets.people import PersonInstance
from supernet.pose.keypoints import COCO
from supernet.pose.top_down.rtmpose_augmentation import RTMPoseAugmentation, disturbed, drawn_region
from supernet.pose.top_down.samples import person_sample
from supernet.pose.top_down.simcc import SimCCTargetSettings

BOX = (100.0, 50.0, 60.0, 80.0)
PLAIN = RTMPoseAugmentation(0.0, 0.0, 0.0, 0.0, 0.0, 8, 0.0)


def person(labelled: int = 17) -> PersonInstance:
    rng = np.random.default_rng(3)
    keypoints = np.column_stack([100 + 60 * rng.random(17), 50 + 80 * rng.random(17), np.arange(17) < labelled])
    return PersonInstance(Path("x.jpg"), 1, 1, BOX, None, None, keypoints.astype(np.float32), 1.0, 4800.0)


def test_nothing_drawn_is_the_box() -> None:
    """Its padded size at the input's aspect, about its middle."""
    center, scale, rotation, mirrored = drawn_region(person(), COCO, 0.75, PLAIN, np.random.default_rng(0))
    assert center.tolist() == [130.0, 90.0] and (scale * 200).tolist() == pytest.approx([75.0, 100.0])
    assert rotation == 0 and not mirrored


def test_ranges_and_shares() -> None:
    """Normal numbers within one deviation: 68 of 100 of all normal numbers, of which half lie within 0.44."""
    rng, augmentation = np.random.default_rng(0), replace(RTMPoseAugmentation(), half_body_probability=0.0)
    draws = [drawn_region(person(), COCO, 0.75, augmentation, rng) for _ in range(3000)]
    growth = np.array([scale[1] * 200 / 100 for _, scale, _, _ in draws])
    shift = np.abs(np.array([center for center, *_ in draws]) - [130, 90]) / [75, 100]
    rotation = np.array([rotation for _, _, rotation, _ in draws])
    assert 0.6 <= growth.min() < 0.63 and 1.37 < growth.max() <= 1.4
    assert abs(np.mean(np.abs(growth - 1) < 0.4 * 0.442) - 0.5) < 0.04
    assert shift.max() <= 0.16 and abs(np.mean(shift.any(axis=1)) - 0.3) < 0.04
    assert np.abs(rotation).max() <= 80 and abs(np.mean(rotation != 0) - 0.6) < 0.04
    assert abs(np.mean([mirrored for *_, mirrored in draws]) - 0.5) < 0.04


def test_half_bodies() -> None:
    """Of people with more than 8 joints; the upper half in 7 of 10 cases, the only one with enough joints always."""
    rng, always = np.random.default_rng(0), replace(PLAIN, half_body_probability=1.0)
    somebody = person()
    means = [somebody.keypoints_K3[half, :2].mean(0) for half in (slice(0, 11), slice(11, 17))]
    centers = [drawn_region(somebody, COCO, 0.75, always, rng)[0] for _ in range(600)]
    upper = [np.allclose(center, means[0]) for center in centers]
    assert all(np.allclose(center, means[0 if up else 1]) for center, up in zip(centers, upper, strict=True))
    assert abs(np.mean(upper) - 0.7) < 0.06
    few = person(13)  # two joints of the lower half
    mean = few.keypoints_K3[:11, :2].mean(0)
    assert all(np.allclose(drawn_region(few, COCO, 0.75, always, rng)[0], mean) for _ in range(20))
    assert drawn_region(person(8), COCO, 0.75, always, rng)[0].tolist() == [130.0, 90.0]


def test_colours_blur_and_hidden_part() -> None:
    rng, image = np.random.default_rng(0), np.full((128, 96, 3), (120, 90, 60), np.uint8)
    hidden = []
    for _ in range(200):
        found = disturbed(image, RTMPoseAugmentation(), rng)
        assert found.dtype == np.uint8 and found.shape == image.shape
        rows, columns = (np.flatnonzero((found == 0).all(axis=2).any(axis=axis)) for axis in (1, 0))
        hidden.append((len(rows) / 128, len(columns) / 96))
    assert np.min(hidden) >= 0.18 and np.max(hidden) <= 0.4
    colours = {tuple(disturbed(image, PLAIN, rng)[64, 48].tolist()) for _ in range(50)}
    assert len(colours) > 20 and all(abs(red - 120) <= 45 for red, _, _ in colours)


def test_a_sample_and_the_last_epochs() -> None:
    """Targets stand where the joints are shown; at the end of a training there is no shift and half of the dropout."""
    image = np.zeros((200, 300, 3), np.uint8)
    sample = person_sample(image, person(), COCO, (64, 64), PLAIN, SimCCTargetSettings(), np.random.default_rng(0))
    network_input, x, y, weights = sample
    assert network_input.shape == (64, 64, 3) and x.shape == y.shape == (17, 128) and weights.all()
    shown = (person().keypoints_K3[:, :2] - [130, 90]) * 64 / 100 + 32
    assert (np.abs(np.stack([x.argmax(1), y.argmax(1)], axis=1) / 2 - shown) <= 0.2501).all()
    last = RTMPoseAugmentation().of_last_epochs()
    assert (last.shift_factor, last.scale_factor, last.rotation_factor, last.dropout) == (0.0, 0.25, 60.0, 0.5)
    with pytest.raises(UserError, match="DATASET.DROPOUT is 2"):
        RTMPoseAugmentation(dropout=2)
