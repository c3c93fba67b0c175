"""One person's crop: where it lies, how it is drawn at random for training, and the map to the network input.

Coordinates are x before y; a map takes pixels of the image, (0, 0) the centre of the upper left pixel, to pixels
of the network input, in HRNet's convention: centre to (W/2, H/2), width to W. Sizes are in units of 200 pixels.
Source: HRNet (Sun et al., CVPR 2019), its training and test transforms. Shape legend: K joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.pose.datasets.people import PersonInstance
from supernet.pose.geometry import CROP_UNITS, Box, Matrix, warp_image
from supernet.pose.keypoints import Skeleton
from supernet.pose.top_down.targets import person_targets

Vector = NDArray[np.floating[Any]]  # (2,): x, y
PersonSample = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]

_BOX_PADDING, _HALF_BODY_PADDING = 1.25, 1.5
_ROTATION_PROBABILITY = 0.6


@dataclass(frozen=True)
class PersonAugmentation:
    """What is drawn for each training crop; every number means what it means in HRNet's configuration.

    Attributes:
        scale_factor: The crop's size is multiplied by a normal number of mean 1 and this deviation, cut at one
            deviation either way.
        rotation_factor: Deviation of the rotation about the crop's middle, degrees, cut at two deviations; 6 crops of
            10 are turned.
        flip_probability: Of mirroring.
        half_body_probability: Of showing the upper or lower half of the joints alone; HRNet's files write -1 for never.
        half_body_joints: Only people with more labelled joints than this are halved.

    Raises:
        UserError: A number is out of its range.
    """

    scale_factor: float = 0.35
    rotation_factor: float = 45.0
    flip_probability: float = 0.5
    half_body_probability: float = 0.3
    half_body_joints: int = 8

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.scale_factor < 1:
            raise UserError(f"DATASET.SCALE_FACTOR is {self.scale_factor}: give a number from 0 to below 1")
        if not self.rotation_factor >= 0:
            raise UserError(f"DATASET.ROT_FACTOR is {self.rotation_factor}: give degrees, 0 or more")
        if not 0 <= self.flip_probability <= 1:
            raise UserError(f"DATASET.FLIP is {self.flip_probability}: give a probability from 0 to 1")
        if not self.half_body_probability <= 1:
            raise UserError(f"DATASET.PROB_HALF_BODY is {self.half_body_probability}: give a probability up to 1")

    @classmethod
    def none(cls) -> PersonAugmentation:
        """Nothing is drawn: the crop of testing."""
        return cls(0.0, 0.0, 0.0, 0.0)


def center_scale(bbox: Box, aspect: float) -> tuple[Vector, Vector]:
    """The crop around a box: grown to the network input's aspect about its middle, then padded by 1.25.

    Args:
        bbox: x, y, width, height.
        aspect: Width / height of the network input.

    Returns:
        Middle in pixels and size / 200 pixels, float32 (2,) each, as HRNet computes them.
    """
    x, y, width, height = bbox
    center = np.array([x + width * 0.5, y + height * 0.5], np.float32)
    return center, _scale(width, height, aspect, _BOX_PADDING)


def crop_region(person: PersonInstance, aspect: float) -> tuple[Vector, Vector]:
    """Middle and size of a person's crop, of a box or as MPII's file gives them; see :func:`center_scale`."""
    if person.bbox is not None:
        return center_scale(person.bbox, aspect)
    assert person.center is not None and person.scale is not None, "a person has a box, or a centre and a scale"
    return person.center, person.scale


def crop_matrix(
    center: Vector, scale: Vector, rotation: float, size_wh: tuple[int, int], inverse: bool = False
) -> Matrix:
    """The map from the image to a crop, float64 (2, 3), or back.

    It is fixed by three points in float32, as HRNet does it: the middle, the middle of the upper edge (half the crop's
    width away, whatever its height), and the corner that makes a right angle there.

    Args:
        center: Middle of the crop.
        scale: Width (and height, which does not count) of the crop / 200 pixels.
        rotation: Degrees; positive turns what is seen anti-clockwise.
        size_wh: Width and height of the crop in pixels of the network input, or of its heatmaps.
        inverse: Give the map back to the image.
    """
    reach = float((np.asarray(scale) * CROP_UNITS)[0]) * -0.5
    angle = np.pi * rotation / 180
    upwards = np.array([-reach * np.sin(angle), reach * np.cos(angle)])
    width, height = size_wh
    here = _right_angle(np.asarray(center), np.asarray(center) + upwards)
    there = _right_angle(np.array([width * 0.5, height * 0.5]), np.array([width * 0.5, (height - width) * 0.5]))
    return np.asarray(cv2.getAffineTransform(*((there, here) if inverse else (here, there))), np.float64)


def crop_image(
    image_rgb: NDArray[np.uint8], center: Vector, scale: Vector, input_hw: tuple[int, int]
) -> NDArray[np.uint8]:
    """The network input (H, W, 3) of a crop as it is tested: not turned, black beyond the image."""
    return warp_image(image_rgb, crop_matrix(center, scale, 0.0, (input_hw[1], input_hw[0])), input_hw)


def person_sample(
    image_rgb: NDArray[np.uint8],
    person: PersonInstance,
    skeleton: Skeleton,
    input_hw: tuple[int, int],
    augmentation: PersonAugmentation,
    rng: np.random.Generator,
    *,
    stride: int = 4,
    sigma: float = 2.0,
    unbiased: bool = False,
    weigh_joints: bool = False,
) -> PersonSample:
    """Augment one person's crop and draw its answers.

    Args:
        image_rgb: The image, (H, W, 3).
        person: On it.
        skeleton: Of the person.
        input_hw: Height and width of the network input.
        augmentation: What may be drawn.
        rng: Always moved by three uniform and three normal numbers.
        stride: Of the network's output; this and the rest are those of :func:`person_targets`.
        sigma: Of the Gaussians, heatmap pixels.
        unbiased: DARK's targets.
        weigh_joints: The ends of the limbs count more (LOSS.USE_DIFFERENT_JOINTS_WEIGHT).

    Returns:
        The network input, uint8 RGB (H, W, 3); heatmaps, float32 (K, h, w); weights of the joints, float32 (K,).
    """
    halved, turned, mirrored = rng.random(3)
    half, growth, turn = rng.standard_normal(3)
    aspect = input_hw[1] / input_hw[0]
    # In float64, as officially: a joint between two cells must not be rounded into the other one.
    keypoints_K3 = person.keypoints_K3.astype(np.float64)
    region = None
    labelled = int(np.count_nonzero(keypoints_K3[:, 2] > 0))
    if labelled > augmentation.half_body_joints and halved < augmentation.half_body_probability:
        region = _half_body(person.keypoints_K3, skeleton, aspect, prefer_upper=half < 0.5)
    center, scale = region or crop_region(person, aspect)
    spread, most = augmentation.scale_factor, augmentation.rotation_factor
    scale = scale * scale.dtype.type(min(max(growth * spread + 1, 1 - spread), 1 + spread))
    rotation = min(max(turn * most, -2 * most), 2 * most) if turned <= _ROTATION_PROBABILITY else 0.0
    if mirrored < augmentation.flip_probability:
        # The image itself is mirrored: a mirrored map would round the pixels' weights another way.
        last = image_rgb.shape[1] - 1
        image_rgb = np.asarray(cv2.flip(image_rgb, 1), np.uint8)
        center = np.array([last - center[0], center[1]], center.dtype)
        keypoints_K3 = keypoints_K3[list(skeleton.flip_index)]
        keypoints_K3[:, 0] = last - keypoints_K3[:, 0]
    matrix = crop_matrix(center, scale, rotation, (input_hw[1], input_hw[0]))
    keypoints_K3[:, :2] = keypoints_K3[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    heatmaps_Khw, weights_K = person_targets(
        keypoints_K3,
        input_hw,
        stride=stride,
        sigma=sigma,
        unbiased=unbiased,
        joint_weights=skeleton.joint_weights if weigh_joints else None,
    )
    return warp_image(image_rgb, matrix, input_hw), heatmaps_Khw, weights_K


def _half_body(
    keypoints_K3: NDArray[np.float32], skeleton: Skeleton, aspect: float, *, prefer_upper: bool
) -> tuple[Vector, Vector] | None:
    """The crop around the labelled joints of one half, about their mean; None where they give no crop.

    The preferred half needs three joints; otherwise the other half is taken if it has three, else the upper one.
    ``prefer_upper`` is drawn as HRNet draws it: a normal number is below 0.5 in 69 of 100 cases.
    """
    labelled_K = keypoints_K3[:, 2] > 0
    upper_K = np.zeros(len(keypoints_K3), np.bool_)
    upper_K[list(skeleton.upper_body)] = True
    upper, lower = keypoints_K3[labelled_K & upper_K, :2], keypoints_K3[labelled_K & ~upper_K, :2]
    shown = upper if (prefer_upper and len(upper) > 2) or len(lower) <= 2 else lower
    if len(shown) < 2:
        return None
    width, height = (shown.max(0) - shown.min(0)).tolist()
    if width == height == 0:
        return None
    return shown.mean(0), _scale(width, height, aspect, _HALF_BODY_PADDING)


def _scale(width: float, height: float, aspect: float, padding: float) -> Vector:
    """A size in pixels grown to the aspect and padded, / 200."""
    if width > aspect * height:
        height = width / aspect
    elif width < aspect * height:
        width = height * aspect
    return np.array([width / CROP_UNITS, height / CROP_UNITS], np.float32) * np.float32(padding)


def _right_angle(middle: Vector, edge: Vector) -> NDArray[np.float32]:
    """Three points (3, 2): the middle, a point of the edge, and one a quarter turn further."""
    points = np.array([middle, edge, (0, 0)], np.float32)
    across = points[0] - points[1]
    points[2] = points[1] + np.array([-across[1], across[0]], np.float32)
    return points
