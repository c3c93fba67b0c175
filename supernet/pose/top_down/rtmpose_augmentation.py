"""RTMPose's augmentation of one person's crop: half body, truncated-normal jitter of the box, colours, blur, and a hidden part.

Source: Jiang et al., "RTMPose" (2023), as mmpose trains it. Coordinates are x before y, pixels. Shape legend: K joints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.pose.datasets.people import PersonInstance
from supernet.pose.geometry import CROP_UNITS
from supernet.pose.keypoints import Skeleton
from supernet.pose.top_down.crop import Vector, crop_region, padded_scale

BOX_PADDING, HALF_BODY_PADDING = 1.25, 1.5
SHIFT_PROBABILITY, ROTATION_PROBABILITY = 0.3, 0.6
UPPER_PROBABILITY = 0.7  # of the upper half where both could be shown
FEWEST_UPPER, FEWEST_LOWER = 2, 3  # labelled joints of a half that is shown
HSV_GAINS = (5, 30, 30)  # largest change of hue (of 180), saturation and value (of 255)
BLUR_PROBABILITY, BLUR_SIDES = 0.1, (3, 5, 7)
HIDDEN = (0.2, 0.4)  # sides of the hidden rectangle, as parts of the input's


@dataclass(frozen=True)
class RTMPoseAugmentation:
    """What is drawn for each training crop.

    Attributes:
        scale_factor: the crop's size is multiplied by 1 + this x v, v a normal number of deviation 1 within -1 and 1.
        rotation_factor: degrees x v; 6 crops of 10 are turned.
        shift_factor: of the padded box's width and height, x v; 3 crops of 10 are shifted.
        flip_probability: of mirroring.
        half_body_probability: of showing the upper or lower half of the joints only.
        half_body_joints: only people with more labelled joints than this are halved.
        dropout: probability of hiding a rectangle of the input.

    Raises:
        UserError: a number is out of its range.
    """

    scale_factor: float = 0.4
    rotation_factor: float = 80.0
    shift_factor: float = 0.16
    flip_probability: float = 0.5
    half_body_probability: float = 0.3
    half_body_joints: int = 8
    dropout: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.scale_factor < 1:
            raise UserError(f"DATASET.SCALE_FACTOR is {self.scale_factor}: give a number from 0 to below 1")
        if not self.rotation_factor >= 0 or not self.shift_factor >= 0:
            raise UserError("DATASET.ROT_FACTOR and DATASET.SHIFT_FACTOR have to be 0 or more")
        if not 0 <= self.flip_probability <= 1:
            raise UserError(f"DATASET.FLIP is {self.flip_probability}: give a probability from 0 to 1")
        if not 0 <= self.dropout <= 1:
            raise UserError(f"DATASET.DROPOUT is {self.dropout}: give a probability from 0 to 1")

    def of_last_epochs(self) -> RTMPoseAugmentation:
        """The second stage of a training: no shift, less of the scale and the rotation, and every second crop whole."""
        return replace(
            self,
            shift_factor=0.0,
            scale_factor=self.scale_factor * 0.625,
            rotation_factor=self.rotation_factor * 0.75,
            dropout=self.dropout * 0.5,
        )


def drawn_region(
    person: PersonInstance,
    skeleton: Skeleton,
    aspect: float,
    augmentation: RTMPoseAugmentation,
    rng: np.random.Generator,
) -> tuple[Vector, Vector, float, bool]:
    """Where a person's crop lies: its middle, its size / 200 pixels, rotation in degrees, and whether it is mirrored."""
    mirrored = bool(rng.random() < augmentation.flip_probability)
    center, size = _box(person)
    labelled_K = person.keypoints_K3[:, 2] > 0
    halved = rng.random() < augmentation.half_body_probability
    if halved and np.count_nonzero(labelled_K) > augmentation.half_body_joints:
        center, size = _half_body(person, skeleton, labelled_K, rng) or (center, size)
    if rng.random() < SHIFT_PROBABILITY:
        center = center + augmentation.shift_factor * size * [_truncated(rng), _truncated(rng)]
    growth = 1 + augmentation.scale_factor * _truncated(rng)
    turned = rng.random() < ROTATION_PROBABILITY
    rotation = augmentation.rotation_factor * _truncated(rng)
    width, height = (size * growth).tolist()
    return center, padded_scale(width, height, aspect, 1.0), rotation if turned else 0.0, mirrored


def disturbed(
    image_rgb: NDArray[np.uint8], augmentation: RTMPoseAugmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A network input (H, W, 3) with other colours, perhaps blurred, and perhaps with a black rectangle."""
    gains = (rng.uniform(-1, 1, 3) * HSV_GAINS * rng.integers(0, 2, 3)).astype(np.int16)
    hsv = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + gains[0]) % 180
    hsv[..., 1:] = np.clip(hsv[..., 1:] + gains[1:], 0, 255)
    found = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    if rng.random() < BLUR_PROBABILITY:
        side = int(rng.choice(BLUR_SIDES))
        found = cv2.blur(found, (side, side))
    if rng.random() < BLUR_PROBABILITY:
        found = cv2.medianBlur(found, int(rng.choice(BLUR_SIDES)))
    result = np.asarray(found, np.uint8)
    if rng.random() < augmentation.dropout:
        height, width = (int(side * rng.uniform(*HIDDEN)) for side in image_rgb.shape[:2])
        top, left = rng.integers(image_rgb.shape[0] - height + 1), rng.integers(image_rgb.shape[1] - width + 1)
        result[top : top + height, left : left + width] = 0
    return result


def _box(person: PersonInstance) -> tuple[Vector, Vector]:
    """Middle and padded size of a person's box in pixels, not grown to an aspect; MPII's as its file gives it."""
    if person.bbox is None:
        center, scale = crop_region(person, 1.0)
        return center, scale * CROP_UNITS
    x, y, width, height = person.bbox
    return np.array([x + width / 2, y + height / 2]), BOX_PADDING * np.array([width, height])


def _half_body(
    person: PersonInstance, skeleton: Skeleton, labelled_K: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Vector, Vector] | None:
    """Mean and padded extent of the labelled joints of one half; None where neither has enough, or they lie on one point."""
    upper_K = np.zeros(len(labelled_K), np.bool_)
    upper_K[list(skeleton.upper_body)] = True
    upper, lower = (person.keypoints_K3[labelled_K & half_K, :2] for half_K in (upper_K, ~upper_K))
    halves = [half for half, fewest in ((upper, FEWEST_UPPER), (lower, FEWEST_LOWER)) if len(half) >= fewest]
    if not halves:
        return None
    shown = halves[0] if len(halves) == 1 or rng.random() < UPPER_PROBABILITY else halves[1]
    extent = shown.max(0) - shown.min(0)
    return (shown.mean(0), HALF_BODY_PADDING * extent) if extent.any() else None


def _truncated(rng: np.random.Generator) -> float:
    """A normal number of deviation 1, drawn until it lies within -1 and 1."""
    normal = NormalDist()
    return normal.inv_cdf(rng.uniform(normal.cdf(-1), normal.cdf(1)))
