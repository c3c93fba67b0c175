"""One pose of each person: scores that know the joints, and suppression of poses that another one repeats.

Source: the rules of HRNet's program (Sun et al., CVPR 2019; G-RMI, Papandreou et al., CVPR 2017), to the last bit, ties included.
Shape legend: N people of one image, K joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SOFT_MOST = 20  # people of an image that soft suppression keeps: COCO evaluates no more


@dataclass(frozen=True)
class SuppressionSettings:
    """HRNet's rules for people of one image.

    Attributes:
        lowest_joint: joints with more than this score count in a person's score.
        oks: of two people with a higher OKS, the weaker is dropped.
        soft: only weaken it in the order, and keep 20.
    """

    lowest_joint: float = 0.2
    oks: float = 0.9
    soft: bool = False


def rescored(keypoints_NK3: NDArray[np.float32], box_scores: NDArray[np.float64], lowest: float) -> NDArray[np.float64]:
    """Scores (N,) of people: the box's times the mean of the joint scores above ``lowest``; 0 where there is none."""
    scores_NK = keypoints_NK3[..., 2]
    counted_NK = scores_NK > lowest
    # one after another in float32, as the program adds them
    total_N = np.cumsum(np.where(counted_NK, scores_NK, np.float32(0)), axis=1, dtype=np.float32)[:, -1]
    return np.asarray(total_N.astype(np.float64) / np.maximum(counted_NK.sum(axis=1), 1) * box_scores)


def similarity(
    pose_K3: NDArray[np.float32],
    poses_NK3: NDArray[np.float32],
    area: float,
    areas_N: NDArray[np.float64],
    sigmas: NDArray[np.float64],
) -> NDArray[np.float64]:
    """OKS (N,) of one pose with others: joints at pixel distance d count exp(-d^2 / (2 (2 sigma)^2 mean area)), all alike.

    Args:
        pose_K3: x, y, score; scores are not looked at.
        poses_NK3: the others.
        area: of the pose, square pixels.
        areas_N: of the others.
        sigmas: (K,) the dataset's falloff constants.
    """
    difference_NK2 = poses_NK3[..., :2] - pose_K3[:, :2]
    distance_NK = difference_NK2[..., 0] ** 2 + difference_NK2[..., 1] ** 2
    mean_area_N1 = ((area + areas_N) / 2 + np.spacing(1))[:, None]
    error_NK = distance_NK / (sigmas * 2) ** 2 / mean_area_N1 / 2
    return np.asarray(np.exp(-error_NK).sum(axis=1) / pose_K3.shape[0])


def oks_nms(
    keypoints_NK3: NDArray[np.float32],
    scores: NDArray[np.float64],
    areas: NDArray[np.float64],
    sigmas: NDArray[np.float64],
    threshold: float,
) -> list[int]:
    """Who stays, best score first: nobody whose OKS with a better one who stays is above ``threshold``.

    Of equal scores, the later one counts as the better.
    """
    order: NDArray[Any] = scores.argsort()[::-1]
    kept: list[int] = []
    while order.size:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        oks = similarity(keypoints_NK3[best], keypoints_NK3[order], float(areas[best]), areas[order], sigmas)
        order = order[oks <= threshold]
    return kept


def soft_oks_nms(
    keypoints_NK3: NDArray[np.float32],
    scores: NDArray[np.float64],
    areas: NDArray[np.float64],
    sigmas: NDArray[np.float64],
    threshold: float,
) -> list[int]:
    """Who stays, best first: the 20 that lead when each one taken weakens the others by exp(-OKS^2 / threshold).

    The weakened scores decide the order alone; the program reports people with the scores they came with.
    """
    order: NDArray[Any] = scores.argsort()[::-1]
    scores = scores[order]
    kept: list[int] = []
    while order.size and len(kept) < SOFT_MOST:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        oks = similarity(keypoints_NK3[best], keypoints_NK3[order], float(areas[best]), areas[order], sigmas)
        scores = scores[1:] * np.exp(-(oks**2) / threshold)
        again = scores.argsort()[::-1]
        order, scores = order[again], scores[again]
    return kept
