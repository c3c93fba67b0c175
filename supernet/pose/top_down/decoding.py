"""Top-down decoding: heatmaps of one person in, joints in pixels of the image out, as HRNet and DARK are evaluated.

Sources: HRNet's program (Sun et al., CVPR 2019); DARK (Zhang et al., "Distribution-Aware Coordinate Representation for Human
Pose Estimation", CVPR 2020) and its program. Coordinates are x before y; a cell's whole number is its centre.
Shape legend: B people, K joints, h w cells of a heatmap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supernet.errors import UserError
from supernet.pose.top_down.crop import crop_matrix

Heatmaps = NDArray[np.float32]
FINEST_LOGARITHM = 1e-10  # DARK's program takes no logarithm of less


@dataclass(frozen=True)
class DecodingSettings:
    """How heatmaps become joints.

    Attributes:
        flip: average with the heatmaps of the mirrored image.
        shift: move the mirrored ones by one cell to the right first, which hides that strided networks are not symmetric.
        refine: look for the peak between the cells: DARK where ``blur_kernel`` is given, else a quarter of a cell towards the
            higher neighbour. Without, a joint lies in the middle of a cell, as SRPose's full-size heatmaps allow.
        blur_kernel: DARK's side of the Gaussian that smooths the heatmaps first, in cells: 11 for heatmaps drawn with a sigma
            of 2, 17 for 3; 0 is no DARK.

    Raises:
        UserError: ``blur_kernel`` is even or negative.
    """

    flip: bool = False
    shift: bool = False
    refine: bool = True
    blur_kernel: int = 0

    def __post_init__(self) -> None:
        """Check the kernel."""
        if self.blur_kernel < 0 or (self.blur_kernel and self.blur_kernel % 2 == 0):
            raise UserError(f"TEST.BLUR_KERNEL is {self.blur_kernel}: write an odd number of cells, or 0 for no DARK")


def merge_mirrored(heatmaps_BKhw: Tensor, mirrored_BKhw: Tensor, flip_index: Sequence[int], shift: bool) -> Tensor:
    """The mean of heatmaps and of those of the mirrored image, mirrored back, left and right joints exchanged.

    With ``shift``, column x of the mirrored ones is column x - 1 of what they were, and the first stays as it is.
    """
    back_BKhw = mirrored_BKhw.flip(3)[:, list(flip_index)]
    if shift:
        back_BKhw = torch.cat([back_BKhw[..., :1], back_BKhw[..., :-1]], dim=3)
    return (heatmaps_BKhw + back_BKhw) * 0.5


def peaks(heatmaps_BKhw: Heatmaps) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The highest cell of every heatmap, the first in row-major order among equals.

    Returns:
        Its x, y (B, K, 2), or 0, 0 where nothing is above 0, as HRNet's program has it; and its value (B, K).
    """
    width = heatmaps_BKhw.shape[3]
    flat_BKn = heatmaps_BKhw.reshape(*heatmaps_BKhw.shape[:2], -1)
    index_BK = flat_BKn.argmax(axis=2)
    value_BK = np.take_along_axis(flat_BKn, index_BK[..., None], axis=2)[..., 0]
    xy_BK2 = np.stack([index_BK % width, index_BK // width], axis=-1).astype(np.float32)
    return xy_BK2 * (value_BK > 0)[..., None], value_BK


def quarter_shift(heatmaps_BKhw: Heatmaps, xy_BK2: NDArray[np.float32]) -> NDArray[np.float32]:
    """Peaks moved by a quarter of a cell towards the higher neighbour, in x and in y; those near the edge stay.

    HRNet's rule: only 1 < x < w - 1 and 1 < y < h - 1 move, and neighbours of one height leave a joint where it is.
    """
    b, k, x, y = _inside(xy_BK2, heatmaps_BKhw.shape[2:], below=1)
    slope = np.stack(
        [
            heatmaps_BKhw[b, k, y, x + 1] - heatmaps_BKhw[b, k, y, x - 1],
            heatmaps_BKhw[b, k, y + 1, x] - heatmaps_BKhw[b, k, y - 1, x],
        ],
        axis=-1,
    )
    moved_BK2 = xy_BK2.copy()
    moved_BK2[b, k] += np.sign(slope) * np.float32(0.25)
    return moved_BK2


def dark(heatmaps_BKhw: Heatmaps, xy_BK2: NDArray[np.float32], blur_kernel: int) -> NDArray[np.float32]:
    """Peaks moved to where the Gaussian that a heatmap resembles has its centre (DARK, equations 4 to 9).

    The heatmap is smoothed (zeros beyond its edge) and given its old height again; a step of Newton's method on its
    logarithm goes from the highest cell to the centre. Cells within two of the edge stay where they are.

    Args:
        heatmaps_BKhw: not changed.
        xy_BK2: the highest cells.
        blur_kernel: side of the smoothing Gaussian in cells, odd; its sigma follows as OpenCV has it, 0.15 side + 0.35.
    """
    moved_BK2 = xy_BK2.copy()
    for b, k, x, y in zip(*_inside(xy_BK2, heatmaps_BKhw.shape[2:], below=2), strict=True):
        confidence_hw = heatmaps_BKhw[b, k]
        smooth_hw = np.asarray(
            cv2.GaussianBlur(
                confidence_hw.astype(np.float64), (blur_kernel, blur_kernel), 0, borderType=cv2.BORDER_CONSTANT
            ),
            np.float32,
        )
        highest = smooth_hw.max()
        if highest <= 0:
            continue
        window = smooth_hw[y - 2 : y + 3, x - 2 : x + 3] * (confidence_hw.max() / highest)
        log = np.log(np.maximum(window, np.float32(FINEST_LOGARITHM))).astype(np.float64)  # centre at [2, 2]
        dx, dy = (log[2, 3] - log[2, 1]) / 2, (log[3, 2] - log[1, 2]) / 2
        dxx, dyy = (log[2, 4] - 2 * log[2, 2] + log[2, 0]) / 4, (log[4, 2] - 2 * log[2, 2] + log[0, 2]) / 4
        dxy = (log[3, 3] - log[1, 3] - log[3, 1] + log[1, 1]) / 4
        determinant = dxx * dyy - dxy**2
        if determinant != 0:
            moved_BK2[b, k] -= np.array([dyy * dx - dxy * dy, dxx * dy - dxy * dx]) / determinant
    return moved_BK2


def decode(
    heatmaps_BKhw: Heatmaps,
    centers_B2: NDArray[np.floating],
    scales_B2: NDArray[np.floating],
    settings: DecodingSettings,
) -> NDArray[np.float32]:
    """Joints (B, K, 3): x, y in pixels of the image, not clipped to it, and the heatmap's value.

    Args:
        heatmaps_BKhw: of each person's crop.
        centers_B2: of the crops, pixels of the image.
        scales_B2: of the crops, 200 pixels.
        settings: how to refine; flipping has been done.
    """
    xy_BK2, value_BK = peaks(heatmaps_BKhw)
    if settings.refine and settings.blur_kernel:
        xy_BK2 = dark(heatmaps_BKhw, xy_BK2, settings.blur_kernel)
    elif settings.refine:
        xy_BK2 = quarter_shift(heatmaps_BKhw, xy_BK2)
    size_wh = (heatmaps_BKhw.shape[3], heatmaps_BKhw.shape[2])
    found_BK3 = np.empty((*value_BK.shape, 3), np.float32)
    found_BK3[..., 2] = value_BK
    for found_K3, xy_K2, center, scale in zip(found_BK3, xy_BK2, centers_B2, scales_B2, strict=True):
        matrix = crop_matrix(center, scale, 0.0, size_wh, inverse=True)
        found_K3[:, :2] = xy_K2.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return found_BK3


def _inside(
    xy_BK2: NDArray[np.float32], size_hw: tuple[int, ...], below: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Person, joint, x and y of the peaks with 1 < x < w - below and 1 < y < h - below."""
    x_BK, y_BK = xy_BK2[..., 0].astype(np.intp), xy_BK2[..., 1].astype(np.intp)
    b, k = np.nonzero((x_BK > 1) & (x_BK < size_hw[1] - below) & (y_BK > 1) & (y_BK < size_hw[0] - below))
    return b, k, x_BK[b, k], y_BK[b, k]
