"""Places that detectors predict from: anchors of a region proposal network, points of FCOS.

Flat order of anchors: level, row, column, ratio; of points: level, row, column. Pixels of the input, x before y.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor

SCALE = 8  # side of a square anchor, in strides
RATIOS = (0.5, 1.0, 2.0)  # height / width


def anchors_of(sizes: Sequence[tuple[int, int]], strides: Sequence[int], like: Tensor) -> list[Tensor]:
    """Anchors of each level, (h · w · 3, 4): around (column · stride, row · stride), without half a pixel.

    Their sides have the digits of float32 whatever the wanted type, as those of the published detectors.

    Args:
        sizes: height and width of each level, in cells.
        strides: pixels of a cell of each level.
        like: a tensor of the wanted type and device.
    """
    root = torch.tensor(RATIOS, dtype=torch.float32, device=like.device).sqrt()
    found = []
    for (height, width), stride in zip(sizes, strides, strict=True):
        half = torch.stack([SCALE * stride * (1 / root), SCALE * stride * root], 1) / 2
        base = torch.cat([-half, half], 1)
        y, x = _grid(height, width, like)
        found.append(((torch.stack([x, y, x, y], 1) * stride)[:, None] + base.to(like)).view(-1, 4))
    return found


def points_of(sizes: Sequence[tuple[int, int]], strides: Sequence[int], like: Tensor) -> list[Tensor]:
    """Centres of the cells of each level, (h · w, 2): ((column + ½) · stride, (row + ½) · stride); arguments as above."""
    found = []
    for (height, width), stride in zip(sizes, strides, strict=True):
        y, x = _grid(height, width, like)
        found.append((torch.stack([x, y], 1) + 0.5) * stride)
    return found


def usable_anchors(
    anchors: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    padded_hw: tuple[int, int],
    inside_hw: tuple[int, int] | None = None,
) -> Tensor:
    """Which anchors may be trained: bool, one per anchor of all levels.

    Args:
        anchors: of each level.
        sizes: height and width of each level, in cells; larger than the image where a batch has larger ones.
        strides: pixels of a cell of each level.
        padded_hw: height and width of the image with its own padding; cells beyond have no anchors.
        inside_hw: of the image without padding, where anchors have to lie inside of it.
    """
    found = []
    for boxes, (height, width), stride in zip(anchors, sizes, strides, strict=True):
        y, x = _grid(height, width, boxes)
        valid = (y < ceil(padded_hw[0] / stride)) & (x < ceil(padded_hw[1] / stride))
        usable = valid.repeat_interleave(len(RATIOS))
        if inside_hw is not None:
            usable = usable & (boxes[:, :2] >= 0).all(1) & (boxes[:, 2] < inside_hw[1]) & (boxes[:, 3] < inside_hw[0])
        found.append(usable)
    return torch.cat(found)


def _grid(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of each cell, row by row: (h · w,) each."""
    rows = torch.arange(height, dtype=like.dtype, device=like.device)
    columns = torch.arange(width, dtype=like.dtype, device=like.device)
    return rows.repeat_interleave(width), columns.repeat(height)
