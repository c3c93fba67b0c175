"""Top-down training samples: one person's crop, drawn at random, with its targets; and batches of them.

Source: HRNet (Sun et al., CVPR 2019), its training transforms. Shape legend: B samples, K joints, h w cells of the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supernet.errors import UserError
from supernet.pose.datasets.people import PersonInstance
from supernet.pose.geometry import warp_image
from supernet.pose.keypoints import Skeleton
from supernet.pose.top_down.crop import Vector, crop_matrix, crop_region, padded_scale
from supernet.pose.top_down.rtmpose_augmentation import RTMPoseAugmentation, disturbed, drawn_region
from supernet.pose.top_down.simcc import SimCCTargetSettings, simcc_targets
from supernet.pose.top_down.targets import PersonTargetSettings, person_targets

#: Network input, targets (heatmaps, or bins of x and bins of y), weights of the joints.
PersonSample = tuple[NDArray[Any], ...]
TargetSettings = PersonTargetSettings | SimCCTargetSettings

_HALF_BODY_PADDING = 1.5
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
        half_body_probability: Of showing the upper or lower half of the joints only; HRNet's files write -1 for never.
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


def person_sample(
    image_rgb: NDArray[np.uint8],
    person: PersonInstance,
    skeleton: Skeleton,
    input_hw: tuple[int, int],
    augmentation: PersonAugmentation | RTMPoseAugmentation,
    settings: TargetSettings,
    rng: np.random.Generator,
) -> PersonSample:
    """Augment one person's crop and draw its targets.

    Args:
        image_rgb: The image, (H, W, 3).
        person: On it.
        skeleton: Of the person.
        input_hw: Height and width of the network input.
        augmentation: What may be drawn.
        settings: Of the targets.
        rng: HRNet's augmentation always moves it by three uniform and three normal numbers.

    Returns:
        The network input, uint8 RGB (H, W, 3); heatmaps, float32 (K, h, w), or targets of x (K, X) and of y (K, Y); weights of
        the joints, float32 (K,).
    """
    aspect = input_hw[1] / input_hw[0]
    if isinstance(augmentation, RTMPoseAugmentation):
        region = drawn_region(person, skeleton, aspect, augmentation, rng)
    else:
        region = _drawn_region(person, skeleton, aspect, augmentation, rng)
    center, scale, rotation, mirrored = region
    # In float64, as officially: a joint between two cells must not be rounded into the other one.
    keypoints_K3 = person.keypoints_K3.astype(np.float64)
    if mirrored:
        # The image itself is mirrored: a mirrored map would round the pixels' weights another way.
        last = image_rgb.shape[1] - 1
        image_rgb = np.asarray(cv2.flip(image_rgb, 1), np.uint8)
        center = np.array([last - center[0], center[1]], center.dtype)
        keypoints_K3 = keypoints_K3[list(skeleton.flip_index)]
        keypoints_K3[:, 0] = last - keypoints_K3[:, 0]
    matrix = crop_matrix(center, scale, rotation, (input_hw[1], input_hw[0]))
    keypoints_K3[:, :2] = keypoints_K3[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    network_input = warp_image(image_rgb, matrix, input_hw)
    if isinstance(augmentation, RTMPoseAugmentation):
        network_input = disturbed(network_input, augmentation, rng)
    if isinstance(settings, SimCCTargetSettings):
        return network_input, *simcc_targets(keypoints_K3, skeleton, input_hw, settings)
    return network_input, *person_targets(keypoints_K3, skeleton, input_hw, settings)


def collate(samples: Sequence[PersonSample]) -> dict[str, Tensor]:
    """A batch of samples of one size: ``images`` uint8 (B, H, W, 3), targets, ``weights`` (B, K).

    Targets are ``heatmaps`` (B, K, h, w), or ``simcc_x`` (B, K, X) and ``simcc_y`` (B, K, Y).
    """
    images, *targets, weights = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
    names = ("heatmaps",) if len(targets) == 1 else ("simcc_x", "simcc_y")
    return {"images": images, **dict(zip(names, targets, strict=True)), "weights": weights}


def _drawn_region(
    person: PersonInstance,
    skeleton: Skeleton,
    aspect: float,
    augmentation: PersonAugmentation,
    rng: np.random.Generator,
) -> tuple[Vector, Vector, float, bool]:
    """Where a person's crop lies: its middle, its size / 200 pixels, rotation in degrees, and whether it is mirrored."""
    halved, turned, mirrored = rng.random(3)
    half, growth, turn = rng.standard_normal(3)
    region = None
    labelled = int(np.count_nonzero(person.keypoints_K3[:, 2] > 0))
    if labelled > augmentation.half_body_joints and halved < augmentation.half_body_probability:
        region = _half_body(person.keypoints_K3, skeleton, aspect, prefer_upper=half < 0.5)
    center, scale = region or crop_region(person, aspect)
    spread, most = augmentation.scale_factor, augmentation.rotation_factor
    scale = scale * scale.dtype.type(min(max(growth * spread + 1, 1 - spread), 1 + spread))
    rotation = min(max(turn * most, -2 * most), 2 * most) if turned <= _ROTATION_PROBABILITY else 0.0
    return center, scale, rotation, bool(mirrored < augmentation.flip_probability)


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
    return shown.mean(0), padded_scale(width, height, aspect, _HALF_BODY_PADDING)
