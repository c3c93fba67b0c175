"""Targets of a bottom-up network: heatmaps, where the tags stand, and what is not evaluated.

Source: HigherHRNet (Cheng et al., CVPR 2020) and associative embedding (Newell et al., NIPS 2017). A keypoint at
(x, y), in pixels of the network input, lies at (x / s, y / s) of an output of stride s, in the cell of the truncated
coordinates. Everything is drawn for the size of its own sample.
Shape legend: B samples, P people, M rows for people, K joints, h w cells of an output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.pose.datasets.annotations import Person
from supernet.pose.datasets.masks import region
from supernet.pose.geometry import Matrix, warp_image


@dataclass(frozen=True)
class TargetSettings:
    """What the targets of an image are drawn like.

    Attributes:
        strides: of the network's outputs, pixels of the input to a cell; the tags belong to the first.
        sigma: of the Gaussians, in cells of every output; a negative one means a 64th of each output's smaller side, as in
            HigherHRNet's generators, and at least 1.
        max_people: rows for tags; more people than that have heatmaps but no tags.
        tag_per_joint: the tag maps are (K, h, w), otherwise (1, h, w).
        tag_radius: the tag of a joint is that of any cell of the first output within this many of it: decoding reads tags at
            peaks, and between cells, which are not quite where the joint is.
    """

    strides: tuple[int, ...] = (4, 2)
    sigma: float = 2.0
    max_people: int = 30
    tag_per_joint: bool = True
    tag_radius: int = 0


@dataclass(frozen=True, eq=False)
class Peaks:
    """Where the Gaussians of one output stand: they are drawn where they are wanted, so that a batch is written once.

    Attributes:
        size_Khw: Of the heatmaps.
        sigma: Of the Gaussians, in cells.
        at_3N: int64, for each visible joint of each person its heatmap, row and column.
    """

    size_Khw: tuple[int, int, int]
    sigma: float
    at_3N: NDArray[np.int64]

    def draw(self, heatmaps_Khw: NDArray[np.float32]) -> None:
        """Draw into contiguous zeros: Gaussians of height 1, the larger value where they meet."""
        _, height, width = self.size_Khw
        gaussian = _gaussian(self.sigma)
        r = len(gaussian) // 2
        _, y_N, x_N = self.at_3N
        whole_N = (y_N >= r) & (y_N < height - r) & (x_N >= r) & (x_N < width - r)
        for joint, y, x in self.at_3N[:, ~whole_N].T.tolist():
            top, left = max(0, y - r), max(0, x - r)
            part = heatmaps_Khw[joint, top : y + r + 1, left : x + r + 1]
            bottom, right = top + part.shape[0], left + part.shape[1]
            np.maximum(part, gaussian[top - y + r : bottom - y + r, left - x + r : right - x + r], out=part)
        if not whole_N.any():
            return
        windows = np.lib.stride_tricks.sliding_window_view(heatmaps_Khw, gaussian.shape, (1, 2), writeable=True)
        joint_n, y_n, x_n = self.at_3N[:, whole_N]
        at = (joint_n, y_n - r, x_n - r)
        while len(at[0]):  # of windows that meet, the last one written is right; the others are drawn again
            windows[at] = np.maximum(windows[at], gaussian)
            short = (windows[at] < gaussian).any((1, 2))
            at = (at[0][short], at[1][short], at[2][short])


@dataclass(frozen=True, eq=False)
class Targets:
    """The targets of one image.

    Attributes:
        peaks: Per stride, one Gaussian for each visible joint.
        masks: Per stride float32 (h, w): 0 where nothing is evaluated, else 1.
        joints: int64 (M, K, 2): index into the flattened tag maps of the first stride, and 1 where the joint is visible
            (else both 0). People without a visible joint have no row; rows left over are 0.
    """

    peaks: tuple[Peaks, ...]
    masks: tuple[NDArray[np.float32], ...]
    joints: NDArray[np.int64]

    @cached_property
    def heatmaps(self) -> tuple[NDArray[np.float32], ...]:
        """Per stride float32 (K, h, w), drawn."""
        maps = tuple(np.zeros(peaks.size_Khw, np.float32) for peaks in self.peaks)
        for peaks, heatmaps_Khw in zip(self.peaks, maps, strict=True):
            peaks.draw(heatmaps_Khw)
        return maps


def make_targets(
    keypoints_PK3: NDArray[np.float32],
    masks: Sequence[NDArray[np.float32]] | None,
    input_hw: tuple[int, int],
    settings: TargetSettings,
    tag_shift_2PK: NDArray[np.int64] | None = None,
) -> Targets:
    """The targets for people at given places.

    Args:
        keypoints_PK3: (x, y, v) in pixels of the network input; visible is v > 0 and inside.
        masks: Per stride (h, w); None evaluates everything.
        input_hw: Height and width of the network input, multiples of every stride.
        settings: How they are drawn. The index of a tag is k h w + y w + x, or y w + x where joints share their tags.
        tag_shift_2PK: Cells down and to the right from a joint to where its tag is, if not at the joint.

    Raises:
        UserError: The input size is not a multiple of a stride.
    """
    for stride in settings.strides:
        if input_hw[0] % stride or input_hw[1] % stride:
            raise UserError(
                f"network input {input_hw[0]}x{input_hw[1]} (HxW) is not a multiple of the output stride {stride}: "
                "choose another input size"
            )
    num_joints = keypoints_PK3.shape[1]
    peaks = []
    joints_MK2 = np.zeros((settings.max_people, num_joints, 2), np.int64)
    for output, stride in enumerate(settings.strides):
        height, width = input_hw[0] // stride, input_hw[1] // stride
        x_PK, y_PK = (keypoints_PK3[..., :2] / stride).astype(np.int64).transpose(2, 0, 1)
        inside_PK = (x_PK >= 0) & (x_PK < width) & (y_PK >= 0) & (y_PK < height)
        visible_PK = inside_PK & (keypoints_PK3[..., 2] > 0)
        at_3N = np.array([np.nonzero(visible_PK)[1], y_PK[visible_PK], x_PK[visible_PK]])
        cells = settings.sigma if settings.sigma > 0 else max(1.0, min(height, width) / 64)
        peaks.append(Peaks((num_joints, height, width), cells, at_3N))
        if output == 0:
            if tag_shift_2PK is not None:
                y_PK = np.clip(y_PK + tag_shift_2PK[0], 0, height - 1)
                x_PK = np.clip(x_PK + tag_shift_2PK[1], 0, width - 1)
            index_PK = y_PK * width + x_PK
            if settings.tag_per_joint:
                index_PK += np.arange(num_joints) * (height * width)
            rows = np.flatnonzero(visible_PK.any(1))[: settings.max_people]
            joints_MK2[: len(rows), :, 0] = np.where(visible_PK, index_PK, 0)[rows]
            joints_MK2[: len(rows), :, 1] = visible_PK[rows]
    if masks is None:
        masks = [np.ones(output.size_Khw[1:], np.float32) for output in peaks]
    return Targets(tuple(peaks), tuple(masks), joints_MK2)


def make_masks(
    people: Sequence[Person],
    image_hw: tuple[int, int],
    matrix: Matrix,
    input_hw: tuple[int, int],
    strides: Sequence[int],
) -> tuple[NDArray[np.float32], ...]:
    """Per stride (h, w): 1 where the image is evaluated, 0 on crowds, on people without labelled keypoints, and beyond it.

    Their regions are the file's segmentations, or their boxes where it has none, under the map of the image (at least
    half of a cell is covered), as in HigherHRNet's loader.

    Raises:
        UserError: A segmentation is for an image of another size.
    """
    sizes = [(input_hw[0] // stride, input_hw[1] // stride) for stride in strides]
    ignored = [person for person in people if person.ignored]
    if not ignored and _fills(image_hw, matrix, input_hw):
        return tuple(np.ones(size, np.float32) for size in sizes)
    evaluated = (~region(ignored, image_hw)).view(np.uint8) * np.uint8(255)
    return tuple(
        (warp_image(evaluated, matrix / stride, size) >= 128).astype(np.float32)
        for size, stride in zip(sizes, strides, strict=True)
    )


def _fills(image_hw: tuple[int, int], matrix: Matrix, input_hw: tuple[int, int]) -> bool:
    """Whether the whole input shows the image."""
    corners = np.array([[x, y] for x in (0, input_hw[1] - 1) for y in (0, input_hw[0] - 1)], np.float64)
    x, y = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T)
    return bool(min(x.min(), y.min()) >= 0 and x.max() <= image_hw[1] - 1 and y.max() <= image_hw[0] - 1)


@lru_cache(maxsize=16)
def _gaussian(sigma: float) -> NDArray[np.float32]:
    """A Gaussian on (2 r + 1)^2 cells, r = 3 sigma + 1: HigherHRNet's 6 sigma + 3 cells."""
    radius = math.floor(3 * sigma + 1.5)
    squares = np.arange(-radius, radius + 1, dtype=np.float64) ** 2
    table = np.exp(-(squares[:, None] + squares) / (2 * sigma**2)).astype(np.float32)
    table.flags.writeable = False
    return table
