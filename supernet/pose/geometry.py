"""Affine maps between an image and a network's input, boxes, and HRNet's unit of size: shared by both approaches.

Coordinates are x before y in pixels, (0, 0) the centre of the upper left pixel. Shape legend: P people, K joints.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]  # (2, 3): x before y, of points (x, y, 1)
Box = tuple[float, float, float, float]  # x, y, width, height

CROP_UNITS = 200  # pixels: HRNet and HigherHRNet write sizes in units of this


def warp_image(image: NDArray[np.uint8], matrix: Matrix, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """A uint8 image (H, W) or (H, W, 3) under the map, bilinear; 0 (black) where the image does not reach."""
    warped = cv2.warpAffine(image, matrix, (size_hw[1], size_hw[0]), flags=cv2.INTER_LINEAR)
    return warped.astype(np.uint8, copy=False)


def warp_keypoints(
    keypoints_PK3: NDArray[np.float32], matrix: Matrix, flip_index: Sequence[int] | None = None
) -> NDArray[np.float32]:
    """Keypoints (x, y, v) under the map, float32; with ``flip_index``, joints become those of a mirrored image."""
    warped_PK3 = keypoints_PK3.copy()
    warped_PK3[..., :2] = keypoints_PK3[..., :2].astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return warped_PK3 if flip_index is None else warped_PK3[:, list(flip_index)]
