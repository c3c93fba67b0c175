"""Masks within boxes: targets cut out of the masks of an image, and predicted masks pasted into one.

A mask is (H, W), rows first. Pixel (x, y) covers x to x + 1 and y to y + 1; boxes are x0, y0, x1, y1 in pixels.
"""

from __future__ import annotations

from math import ceil, floor

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .boxes import clip

SIZE = 28  # rows and columns of a predicted mask
THRESHOLD = 0.5


def mask_targets(masks: Tensor, truth: Tensor, boxes: Tensor, size: int = SIZE) -> Tensor:
    """Targets (P, size, size), bool: what of its mask each box holds, by RoIAlign's mean of samples, from one half on.

    Args:
        masks: of the ground truth (G, H, W), 0 or 1.
        truth: whose mask is the target of each box, int64 (P,).
        boxes: (P, 4); what lies outside of the image is cut off first.
        size: rows and columns.
    """
    targets = torch.zeros(len(boxes), size, size, dtype=torch.bool, device=masks.device)
    inside = clip(boxes, (masks.shape[1], masks.shape[2]))
    for index, (number, (x0, y0, x1, y1)) in enumerate(zip(truth.tolist(), inside.tolist(), strict=True)):
        top, rows = _means(y0, y1, size, masks.shape[1], inside)
        left, columns = _means(x0, x1, size, masks.shape[2], inside)
        part = masks[number, top : top + rows.shape[1], left : left + columns.shape[1]].to(inside)
        targets[index] = rows @ part @ columns.T >= THRESHOLD
    return targets


def _means(start: float, end: float, size: int, length: int, like: Tensor) -> tuple[int, Tensor]:
    """Along one axis: the first pixel that is sampled, and the weights (size, pixels) of each bin's mean of bilinear samples."""
    step = (end - start) / size
    grid = ceil(step)
    if grid <= 0:
        return 0, like.new_zeros(size, 1)
    bins = torch.arange(size, dtype=like.dtype, device=like.device)[:, None]
    samples = (torch.arange(grid, dtype=like.dtype, device=like.device) + 0.5) * step / grid
    at = start - 0.5 + bins * step + samples  # (size, grid), in pixel centres
    inside = (at >= -1) & (at <= length)
    at = at.clamp(0, length - 1)
    first, last = floor(float(at.min())), min(floor(float(at.max())) + 1, length - 1)
    pixels = torch.arange(first, last + 1, dtype=like.dtype, device=like.device)
    near = (1 - (at[..., None] - pixels).abs()).clamp(min=0) * inside[..., None]
    return first, near.sum(1) / grid


def paste(probabilities: Tensor, boxes: Tensor, image_hw: tuple[int, int]) -> Tensor:
    """Masks (N, H, W), bool, of an image: each one stretched into its box, bilinear, from one half on; nothing outside.

    Args:
        probabilities: (N, h, w), 0 to 1.
        boxes: (N, 4), pixels of the image.
        image_hw: height and width of the image.
    """
    height, width = image_hw
    pasted = torch.zeros(len(boxes), height, width, dtype=torch.bool, device=boxes.device)
    for index, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        left, right = max(floor(x0) - 1, 0), min(ceil(x1) + 1, width)
        top, bottom = max(floor(y0) - 1, 0), min(ceil(y1) + 1, height)
        if right <= left or bottom <= top or x1 <= x0 or y1 <= y0:
            continue
        x = (torch.arange(left, right, dtype=boxes.dtype, device=boxes.device) + 0.5 - x0) / (x1 - x0) * 2 - 1
        y = (torch.arange(top, bottom, dtype=boxes.dtype, device=boxes.device) + 0.5 - y0) / (y1 - y0) * 2 - 1
        grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)[None]
        values = F.grid_sample(probabilities[index][None, None].to(boxes), grid, align_corners=False)
        pasted[index, top:bottom, left:right] = values[0, 0] >= THRESHOLD
    return pasted
