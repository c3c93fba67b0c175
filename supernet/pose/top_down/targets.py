"""Targets of a top-down network: one Gaussian for each joint of one person.

Sources: HRNet (Sun et al., CVPR 2019), its ``gaussian`` targets; DARK (Zhang et al., CVPR 2020), section 3.2, for the
unbiased ones. A joint at (x, y), in pixels of the network input, lies at (x / s, y / s) of an output of stride s.
Shape legend: K joints, h w cells of the output.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.pose.keypoints import Skeleton

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class PersonTargetSettings:
    """What the targets of a person are drawn like.

    Attributes:
        stride: of the network's output, pixels of the input to a cell; 1 for SRPose, which has a sigma of 8.
        sigma: of the Gaussians, in cells.
        unbiased: DARK's targets.
        weigh_joints: the ends of the limbs count more (LOSS.USE_DIFFERENT_JOINTS_WEIGHT).
    """

    stride: int = 4
    sigma: float = 2.0
    unbiased: bool = False
    weigh_joints: bool = False


def person_targets(
    keypoints_K3: NDArray[np.floating],
    skeleton: Skeleton,
    input_hw: tuple[int, int],
    settings: PersonTargetSettings,
) -> tuple[Floats, Floats]:
    """Draw the targets for a person at a given place.

    The Gaussian stands on a whole cell, that of x / s + 0.5 truncated, in a window of 6 sigma + 1 cells (for a sigma
    that is not whole: of twice the truncated 3 sigma, and 1). A joint keeps its weight while its window touches the
    output or ends right before it. ``unbiased`` centres the Gaussian on x / s itself and draws it on the whole output.

    Args:
        keypoints_K3: (x, y, v) in pixels of the network input; labelled is v > 0.
        skeleton: Of the person.
        input_hw: Height and width of the network input, multiples of the stride.
        settings: How they are drawn.

    Returns:
        Heatmaps float32 (K, h, w) and the weights of the joints, float32 (K,): 0 where not labelled or outside.

    Raises:
        UserError: The input size is not a multiple of the stride, or sigma is not above 0.
    """
    stride, sigma, unbiased = settings.stride, settings.sigma, settings.unbiased
    if input_hw[0] % stride or input_hw[1] % stride:
        raise UserError(
            f"network input {input_hw[0]}x{input_hw[1]} (HxW) is not a multiple of the output stride {stride}: "
            "choose another input size"
        )
    if not sigma > 0:
        raise UserError(f"MODEL.SIGMA is {sigma}: give the Gaussian's sigma in heatmap pixels, above 0")
    height, width = input_hw[0] // stride, input_hw[1] // stride
    places_K2 = keypoints_K3[:, :2].astype(np.float64) / stride
    # int64 truncates towards 0, as the official programs do: a joint slightly left of the output is in its first cell.
    cells_K2 = (places_K2 + 0.5).astype(np.int64)
    reach = 3 * sigma if unbiased else int(3 * sigma)
    middles_K2 = places_K2 if unbiased else cells_K2
    first_K2, end_K2 = (middles_K2 - reach).astype(np.int64), (middles_K2 + reach + 1).astype(np.int64)
    touching_K = (first_K2 < (width, height)).all(1) & (end_K2 >= 0).all(1)
    weights_K = (touching_K & (keypoints_K3[:, 2] > 0)).astype(np.float32)
    heatmaps_Khw = np.zeros((len(weights_K), height, width), np.float32)
    drawn = np.flatnonzero(weights_K)
    if unbiased:
        x_K, y_K = places_K2[drawn].astype(np.float32).T
        squares_Kw = (np.arange(width, dtype=np.float32) - x_K[:, None]) ** 2
        squares_Kh = (np.arange(height, dtype=np.float32) - y_K[:, None]) ** 2
        heatmaps_Khw[drawn] = np.exp(-(squares_Kw[:, None] + squares_Kh[:, :, None]) / np.float32(2 * sigma**2))
    else:
        gaussian, r = _gaussian(sigma), int(reach)
        for joint, (x, y) in zip(drawn.tolist(), cells_K2[drawn].tolist(), strict=True):
            left, right, top, bottom = max(0, x - r), min(width, x + r + 1), max(0, y - r), min(height, y + r + 1)
            window = gaussian[top - y + r : bottom - y + r, left - x + r : right - x + r]
            heatmaps_Khw[joint, top:bottom, left:right] = window
    if settings.weigh_joints:
        weights_K *= np.asarray(skeleton.joint_weights, np.float32)
    return heatmaps_Khw, weights_K


@lru_cache(maxsize=16)
def _gaussian(sigma: float) -> Floats:
    """A Gaussian of height 1 on its window, in float32 as the official program computes it."""
    r = int(3 * sigma)
    squares = np.arange(-r, r + 1, dtype=np.float32) ** 2
    table: Floats = np.exp(-(squares + squares[:, None]) / np.float32(2 * sigma**2))
    table.flags.writeable = False
    return table
