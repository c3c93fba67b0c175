"""RoIAlign: the features within boxes, brought to one size by exact bilinear sampling; plain PyTorch, differentiable.

A bin of a box is the mean of bilinear samples, so it is a weighted sum of feature vectors, and the weights are products of
one weight per row and one per column. All bins of all boxes become the bags of one ``embedding_bag`` over the feature vectors
of all levels; no box is looped over. What He et al., "Mask R-CNN" (ICCV 2017) describe, in the variant of mmcv and detectron2
that is called *aligned*, with as many samples per bin and axis as its size in cells, rounded up.

Coordinates are pixels of the image, x before y, (0, 0) the upper left corner of the first pixel. Legend: R boxes, S bins per
axis, G samples per bin and axis, K = G + 1 cells that these touch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

FINEST = (
    56  # pixels; boxes of twice this side and more leave the finest level (Lin et al., "FPN", CVPR 2017, equation 1)
)


def roi_align(features: Sequence[Tensor], rois: Tensor, size: int, scales: Sequence[float]) -> Tensor:
    """The features of each box, from the level that fits its size: (R, C, size, size), differentiable in the features.

    A box without width or height gives zeros; samples farther than one cell outside of the features count as zero.

    Args:
        features: of each level (B, C, h, w), fine to coarse.
        rois: (R, 5), the index of the image in the batch, then x0, y0, x1, y1 in pixels; never differentiated.
        size: bins per axis.
        scales: cells per pixel of each level, such as 1 / 4.
    """
    channels = features[0].shape[1]
    if features[0].is_meta:
        return _shape_only(features, len(rois), channels, size)
    if not len(rois):
        return sum((x.sum() * 0 for x in features), start=features[0].new_zeros(0, channels, size, size))
    rois = rois.detach().to(torch.promote_types(rois.dtype, features[0].dtype))  # half-precision boxes would be wrong
    level = level_of(rois[:, 1:], len(features))
    heights, widths = (torch.tensor([x.shape[dim] for x in features], device=rois.device)[level] for dim in (2, 3))
    cells = sum(x.shape[2] * x.shape[3] for x in features)  # of one image
    before = torch.tensor([0, *(x.shape[2] * x.shape[3] for x in features)], device=rois.device).cumsum(0)[level]
    first = rois[:, 0].long() * cells + before
    corners = rois[:, 1:] * rois.new_tensor(scales)[level, None] - 0.5
    step = (corners[:, 2:] - corners[:, :2]) / size  # (R, 2), cells of a bin
    grid = step.ceil().clamp(min=0).long()

    touched = (grid + 1).prod(1)  # cells of a bin
    starts = (touched.cumsum(0) - touched) * size * size
    bags = torch.empty(int(touched.sum()) * size * size, dtype=torch.long, device=rois.device)
    weights = torch.empty(len(bags), dtype=rois.dtype, device=rois.device)
    for gx, gy in sorted({(gx, gy) for gx, gy in grid.tolist()}):
        chosen = (grid == grid.new_tensor((gx, gy))).all(1).nonzero()[:, 0]
        rows, row_weights = _axis(corners[chosen, 1], step[chosen, 1], gy, size, heights[chosen])
        columns, column_weights = _axis(corners[chosen, 0], step[chosen, 0], gx, size, widths[chosen])
        rows = first[chosen, None, None] + rows * widths[chosen, None, None]
        index = (rows[:, :, None, :, None] + columns[:, None, :, None, :]).flatten(1)
        place = starts[chosen, None] + torch.arange(index.shape[1], device=rois.device)
        bags[place] = index
        weights[place] = (row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]).flatten(1)
    offsets = starts[:, None] + touched[:, None] * torch.arange(size * size, device=rois.device)
    table = torch.cat([x.permute(0, 2, 3, 1).flatten(1, 2) for x in features], dim=1).flatten(0, 1)
    pooled = F.embedding_bag(bags, table, offsets.flatten(), mode="sum", per_sample_weights=weights.to(table))
    return pooled.view(-1, size, size, channels).permute(0, 3, 1, 2)


def level_of(boxes: Tensor, levels: int) -> Tensor:
    """The level that each box (R, 4) is read from, int64 (R,): one coarser for each doubling of its side from 112 px on."""
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)
    level = torch.floor(torch.log2((sides[:, 0] * sides[:, 1]).sqrt() / FINEST + 1e-6))
    return level.clamp(0, levels - 1).long()


def _axis(start: Tensor, step: Tensor, grid: int, size: int, length: Tensor) -> tuple[Tensor, Tensor]:
    """Along one axis: the cells (R, S, K) that a bin's samples touch, and the sum of their bilinear weights / G.

    Args:
        start: of each box (R,), in cells, the centre of cell 0 at 0.
        step: cells of a bin, (R,).
        grid: G, samples of a bin; 0 for boxes without extent, all of whose weights are 0.
        size: S.
        length: cells of the axis, (R,).
    """
    bins = torch.arange(size, device=start.device, dtype=start.dtype)[:, None]
    samples = (torch.arange(grid, device=start.device, dtype=start.dtype) + 0.5) / max(grid, 1)
    last = length[:, None, None] - 1
    at = start[:, None, None] + (bins + samples) * step[:, None, None]  # (R, S, G)
    inside = (at >= -1) & (at <= length[:, None, None])
    at = at.clamp(min=0).minimum(last.to(at))
    lowest = at[:, :, :1].floor() if grid else at.new_zeros(len(start), size, 1)
    cells = lowest + torch.arange(grid + 1, device=start.device, dtype=start.dtype)  # (R, S, K)
    near = (1 - (at[..., None] - cells[:, :, None, :]).abs()).clamp(
        min=0
    )  # bilinear: 1 on the cell, 0 on its neighbours
    weights = (near * inside[..., None]).sum(2) / max(grid, 1)
    return cells.long().minimum(last), weights


def _shape_only(features: Sequence[Tensor], rois: int, channels: int, size: int) -> Tensor:
    """On the meta device, where boxes have no values: one operator that reads all levels and makes the output."""
    read = [x[:0, :, :1, :1].expand(0, channels, size, size) for x in features]
    return torch.cat([*read, features[0].new_empty(1).expand(rois, channels, size, size)])
