"""Coordinate classification (SimCC): targets over the bins of each axis, and joints of a network's logits.

Sources: SimCC (Li et al., ECCV 2022) and RTMPose (Jiang et al., 2023) as mmpose trains and evaluates them. Bin i of an axis
stands for the coordinate i / BINS pixels of the network input. Shape legend: B people, K joints, X and Y bins of the two axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supernet.errors import UserError
from supernet.pose.geometry import CROP_UNITS
from supernet.pose.keypoints import Skeleton

BINS = 2  # of a pixel of the network input
REACH = 3  # sigmas to either side of a joint within which it is seen
LABELLED = 0.5  # least visibility of a joint that has a target

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SimCCTargetSettings:
    """What the targets of a person are drawn like.

    Attributes:
        sigma: of the Gaussians in bins; 0 follows the input, as RTMPose's: the root of a 16th of the axis's bins, to a 100th.
        normalized: a Gaussian adds up to 1 (SimCC's baselines); otherwise it has the height 1 (RTMPose).
        weigh_joints: the ends of the limbs count more (LOSS.USE_DIFFERENT_JOINTS_WEIGHT).

    Raises:
        UserError: ``sigma`` is negative.
    """

    sigma: float = 0.0
    normalized: bool = False
    weigh_joints: bool = False

    def __post_init__(self) -> None:
        """Check the width."""
        if not self.sigma >= 0:
            raise UserError(
                f"MODEL.SIMCC_SIGMA is {self.sigma}: give a sigma in bins, or 0 for one that follows the input"
            )

    def sigma_of(self, bins: int) -> float:
        """Sigma on an axis of so many bins, in bins."""
        return self.sigma or round(math.sqrt(bins / 16), 2)


def simcc_targets(
    keypoints_K3: NDArray[np.floating[Any]],
    skeleton: Skeleton,
    input_hw: tuple[int, int],
    settings: SimCCTargetSettings,
) -> tuple[Floats, Floats, Floats]:
    """Draw the targets for a person at a given place: one Gaussian an axis and joint, over all bins.

    It stands on a whole bin, that of the coordinate rounded half to even. A joint counts while the window of three sigmas about
    it touches the input on both axes.

    Args:
        keypoints_K3: (x, y, v) in pixels of the network input; labelled is v > 0.
        skeleton: of the person.
        input_hw: height and width of the network input.
        settings: how they are drawn.

    Returns:
        Targets of x (K, X) and of y (K, Y), and the weights of the joints (K,), float32; 0 where not labelled or outside.
    """
    weights_K = np.clip(keypoints_K3[:, 2], 0, 1).astype(np.float32)
    sizes = (BINS * input_hw[1], BINS * input_hw[0])
    sigmas = [settings.sigma_of(bins) for bins in sizes]
    bins_K2 = np.rint(keypoints_K3[:, :2] * np.asarray(BINS, keypoints_K3.dtype)).astype(np.int64)
    reach = REACH * np.array(sigmas)
    outside_K = ((bins_K2 - reach >= sizes) | (bins_K2 + reach + 1 < 0)).any(axis=1)
    weights_K[outside_K] = 0
    drawn_K = (keypoints_K3[:, 2] >= LABELLED) & ~outside_K
    targets = []
    for axis, (bins, sigma) in enumerate(zip(sizes, sigmas, strict=True)):
        squares = (np.arange(bins, dtype=np.float64) - bins_K2[:, axis, None]) ** 2
        gaussians = (np.exp(-squares / (2 * sigma**2)) * drawn_K[:, None]).astype(np.float32)
        if settings.normalized:
            gaussians = (gaussians / np.float64(sigma * math.sqrt(2 * math.pi))).astype(np.float32)
        targets.append(gaussians)
    if settings.weigh_joints:
        weights_K *= np.asarray(skeleton.joint_weights, np.float32)
    return targets[0], targets[1], weights_K


@dataclass(frozen=True)
class SimCCDecodingSettings:
    """How logits become joints.

    Attributes:
        flip: average with the logits of the mirrored image.
        shift: move the mirrored ones by one bin to the left first: a mirrored pixel is W - 1 - x, a mirrored bin 2 W - 1 - i.
            mmpose does not.
        refine: look for the peak between the bins, by the parabola through the highest one and its neighbours. mmpose does not.
    """

    flip: bool = False
    shift: bool = False
    refine: bool = False


def one_person_vectors(outputs: Any) -> tuple[Tensor, Tensor]:
    """A network's outputs in eval mode, if they are one person's logits over x (B, K, X) and y (B, K, Y).

    Raises:
        UserError: they are something else.
    """
    if not isinstance(outputs, Tensor) and len(outputs) == 2 and all(output.dim() == 3 for output in outputs):
        return outputs[0], outputs[1]
    raise UserError(
        "MODEL.TARGET_TYPE is simcc, and the network makes heatmaps: write gaussian or unbiased, or choose SPACE.FAMILY "
        "rtmpose or simcc"
    )


def merge_mirrored_vectors(
    vectors: tuple[Tensor, Tensor], mirrored: tuple[Tensor, Tensor], flip_index: Sequence[int], shift: bool
) -> tuple[Tensor, Tensor]:
    """The mean of logits and of those of the mirrored image, mirrored back, left and right joints exchanged.

    With ``shift``, bin i of the mirrored ones is bin i + 1 of what it was on the x axis, and the last stays as it is.
    """
    x_BKX, y_BKY = (vector[:, list(flip_index)] for vector in mirrored)
    x_BKX = x_BKX.flip(2)
    if shift:
        x_BKX = torch.cat([x_BKX[..., 1:], x_BKX[..., -1:]], dim=2)
    return (vectors[0] + x_BKX) * 0.5, (vectors[1] + y_BKY) * 0.5


def simcc_peaks(
    vectors: tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]], refine: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The highest bin of each axis, the first among equals, in pixels of the network input.

    Args:
        vectors: logits over x (B, K, X) and y (B, K, Y).
        refine: see :class:`SimCCDecodingSettings`.

    Returns:
        x, y (B, K, 2), or -0.5 each where nothing is above 0 on one of the axes, as mmpose has it; and the lesser of the two
        highest logits (B, K).
    """
    places, values = [], []
    for vector in vectors:
        index_BK = vector.argmax(axis=2)
        value_BK = np.take_along_axis(vector, index_BK[..., None], axis=2)[..., 0]
        place_BK = index_BK.astype(np.float64)
        places.append(place_BK + _vertex(vector, index_BK) if refine else place_BK)
        values.append(value_BK)
    score_BK = np.minimum(*values)
    xy_BK2 = np.where(score_BK[..., None] > 0, np.stack(places, axis=-1), -1.0) / BINS
    return xy_BK2, score_BK.astype(np.float64)


def decode_simcc(
    vectors: tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]],
    centers_B2: NDArray[np.floating[Any]],
    scales_B2: NDArray[np.floating[Any]],
    settings: SimCCDecodingSettings,
) -> Floats:
    """Joints (B, K, 3): x, y in pixels of the image, not clipped to it, and the lesser of the two highest logits.

    Args:
        vectors: logits of each person's crop over x (B, K, X) and y (B, K, Y).
        centers_B2: of the crops, pixels of the image.
        scales_B2: of the crops, 200 pixels.
        settings: how to refine; flipping has been done.
    """
    xy_BK2, score_BK = simcc_peaks(vectors, settings.refine)
    size = np.array([vector.shape[2] / BINS for vector in vectors])
    scales_B12 = (np.asarray(scales_B2, np.float64) * CROP_UNITS)[:, None]
    image_BK2 = xy_BK2 / size * scales_B12 + np.asarray(centers_B2, np.float64)[:, None] - scales_B12 / 2
    return np.concatenate([image_BK2, score_BK[..., None]], axis=2).astype(np.float32)


def _vertex(vector: NDArray[np.floating[Any]], index_BK: NDArray[np.intp]) -> NDArray[np.float64]:
    """Where the parabola through three bins is highest, in bins from the middle one, at most half a bin; 0 at the ends."""
    last = vector.shape[2] - 1
    inside = (index_BK > 0) & (index_BK < last)
    middle_BK = np.clip(index_BK, 1, last - 1)
    before, here, after = (
        np.take_along_axis(vector, middle_BK[..., None] + step, axis=2)[..., 0].astype(np.float64)
        for step in (-1, 0, 1)
    )
    bend = before - 2 * here + after
    return np.where(inside & (bend < 0), 0.5 * (before - after) / np.where(bend < 0, bend, -1.0), 0.0)
