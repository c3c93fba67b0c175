"""Annotations drawn for a person to check them: joints with their names, boxes, ignored regions, and mirrored copies.

Coordinates are x before y in pixels, (0, 0) the centre of the upper left pixel. Shape legend: P people, K joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from supernet.pose.geometry import Box
from supernet.pose.keypoints import Skeleton
from supernet.pose.visualisation import Colour, Image, draw_poses

BOX: Colour = (255, 214, 10)
IGNORED: Colour = (214, 39, 160)
_INK: Colour = (255, 255, 255)
_SHADOW: Colour = (20, 20, 20)
_FONT = 0.33


@dataclass(frozen=True, eq=False)
class DrawnSample:
    """What is drawn of one image.

    Attributes:
        image_rgb: uint8 (H, W, 3).
        keypoints_PK3: x, y, visibility.
        boxes: x, y, width, height of people.
        ignored_HW: where nothing is trained or evaluated; None where there is no such place.
        named: the row of the person whose joints are named; None takes the largest person.
    """

    image_rgb: Image
    keypoints_PK3: NDArray[np.float32]
    boxes: Sequence[Box] = ()
    ignored_HW: NDArray[np.bool_] | None = None
    named: int | None = None


def mirrored(sample: DrawnSample, skeleton: Skeleton) -> DrawnSample:
    """The sample as training mirrors it: pixels from right to left, left joints exchanged with right ones."""
    last = sample.image_rgb.shape[1] - 1
    keypoints_PK3 = sample.keypoints_PK3[:, list(skeleton.flip_index)].copy()
    keypoints_PK3[..., 0] = last - keypoints_PK3[..., 0]
    return replace(
        sample,
        image_rgb=np.ascontiguousarray(sample.image_rgb[:, ::-1]),
        keypoints_PK3=keypoints_PK3,
        boxes=[(last - x - width, y, width, height) for x, y, width, height in sample.boxes],
        ignored_HW=None if sample.ignored_HW is None else sample.ignored_HW[:, ::-1],
    )


def draw_sample(sample: DrawnSample, skeleton: Skeleton, side: int, *, names: bool) -> Image:
    """The sample with everything on it, its longer side so many pixels.

    Args:
        sample: what to draw.
        skeleton: of the people.
        side: of the result.
        names: write the joints' names beside those of one person.
    """
    height, width = sample.image_rgb.shape[:2]
    scale = side / max(height, width)
    image = sample.image_rgb
    if sample.ignored_HW is not None and sample.ignored_HW.any():
        image = image.copy()
        image[sample.ignored_HW] = (0.45 * image[sample.ignored_HW] + 0.55 * np.array(IGNORED)).astype(np.uint8)
    canvas = draw_poses(image, sample.keypoints_PK3, skeleton, threshold=0, scale=scale)
    for x, y, box_width, box_height in sample.boxes:
        corners = np.clip(np.array([x, y, x + box_width, y + box_height]) * scale, -1e4, 1e4).round().astype(int)
        cv2.rectangle(canvas, tuple(corners[:2]), tuple(corners[2:]), BOX, 1, cv2.LINE_AA)
    if names and len(sample.keypoints_PK3):
        named = _largest(sample.keypoints_PK3) if sample.named is None else sample.named
        _write_names(canvas, sample.keypoints_PK3[named], skeleton, scale)
    return canvas


def _largest(keypoints_PK3: NDArray[np.float32]) -> int:
    labelled = [person[person[:, 2] > 0, :2] for person in keypoints_PK3]
    return int(np.argmax([np.ptp(joints, axis=0).sum() if len(joints) else 0 for joints in labelled]))


def _write_names(canvas: Image, person_K3: NDArray[np.float32], skeleton: Skeleton, scale: float) -> None:
    """The joints' names beside them; one that would lie on another is moved down."""
    height, width = canvas.shape[:2]
    taken: list[tuple[int, int, int]] = []  # left, right, baseline
    for joint in sorted(np.flatnonzero(person_K3[:, 2] > 0), key=lambda index: float(person_K3[index, 1])):
        name = skeleton.joints[joint].replace("_", " ")
        x, y = (round(float(np.clip(value, -1e4, 1e4))) for value in person_K3[joint, :2] * scale)
        (long, high), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, _FONT, 1)
        left = max(0, x + 5 if x + 5 + long < width else x - 5 - long)
        base = min(height - 2, max(high, y + 3))
        while base < height - 2 and any(
            abs(base - other) < high + 2 and left < end and start < left + long for start, end, other in taken
        ):
            base += 1
        taken.append((left, left + long, base))
        for colour, thickness in ((_SHADOW, 3), (_INK, 1)):
            cv2.putText(canvas, name, (left, base), cv2.FONT_HERSHEY_SIMPLEX, _FONT, colour, thickness, cv2.LINE_AA)
