"""Top-down decoding as a part of the network, for exported files: a crop in, joints out.

Only what is a fixed number of tensor operations is here: the highest cell or bin, HRNet's shift by a quarter of a cell, and the
parabola through three bins. People of
bottom-up maps are grouped by a matching whose size hangs on what is found; that stays outside.
Shape legend: B people, K joints, h w cells of a heatmap, n = h w.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .simcc import BINS


class WithJoints(nn.Module):
    """A top-down network whose outputs are joints instead of heatmaps.

    Args:
        network: from (B, 3, H, W) to heatmaps (B, K, h, w).
        refine: move peaks by a quarter of a cell towards the higher neighbour, as
            :func:`supernet.pose.top_down.decoding.quarter_shift` does.
    """

    def __init__(self, network: nn.Module, refine: bool) -> None:
        super().__init__()
        self.network, self.refine = network, refine

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Joints (B, K, 2), x before y in pixels of the input (cell times stride), and their confidence (B, K).

        A joint without confidence above 0 lies at 0, 0, as in HRNet's program.
        """
        heatmaps_BKhw = self.network(images)
        height, width = heatmaps_BKhw.shape[2:]
        flat_BKn = heatmaps_BKhw.flatten(2)
        index_BK = flat_BKn.argmax(dim=2)
        confidence_BK = flat_BKn.gather(2, index_BK[..., None])[..., 0]
        index_BK = torch.where(confidence_BK > 0, index_BK, 0)
        x_BK, y_BK = index_BK % width, torch.div(index_BK, width, rounding_mode="floor")
        x_shift: float | Tensor = 0.0
        y_shift: float | Tensor = 0.0
        if self.refine:
            inside = (x_BK > 1) & (x_BK < width - 1) & (y_BK > 1) & (y_BK < height - 1)
            x_shift = 0.25 * _rising(flat_BKn, index_BK, 1) * inside
            y_shift = 0.25 * _rising(flat_BKn, index_BK, width) * inside
        stride_x, stride_y = images.shape[3] // width, images.shape[2] // height
        joints_BK2 = torch.stack([(x_BK + x_shift) * stride_x, (y_BK + y_shift) * stride_y], dim=2)
        return joints_BK2.to(confidence_BK.dtype), confidence_BK


class WithBinJoints(WithJoints):
    """A network that classifies coordinates, whose outputs are joints instead of logits.

    Args:
        network: from (B, 3, H, W) to logits over the bins of x (B, K, X) and of y (B, K, Y).
        refine: as :func:`supernet.pose.top_down.simcc.simcc_peaks` does.
    """

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Joints (B, K, 2), x before y in pixels of the input, and the lesser of the two highest logits (B, K).

        A joint without confidence above 0 lies at -0.5, -0.5, as in mmpose.
        """
        places, values = zip(*(self._peak(vector_BKn) for vector_BKn in self.network(images)), strict=True)
        confidence_BK = torch.minimum(*values)
        joints_BK2 = torch.where(confidence_BK[..., None] > 0, torch.stack(places, dim=2), -1.0) / BINS
        return joints_BK2, confidence_BK

    def _peak(self, vector_BKn: Tensor) -> tuple[Tensor, Tensor]:
        """The highest bin, moved where that is wanted, and its value."""
        index_BK = vector_BKn.argmax(dim=2)
        value_BK = vector_BKn.gather(2, index_BK[..., None])[..., 0]
        place_BK = index_BK.to(value_BK.dtype)
        if not self.refine:
            return place_BK, value_BK
        last = vector_BKn.shape[2] - 1
        inside = (index_BK > 0) & (index_BK < last)
        before, here, after = (
            vector_BKn.gather(2, (index_BK.clamp(1, last - 1) + step)[..., None])[..., 0] for step in (-1, 0, 1)
        )
        bend = before - 2 * here + after
        moved = 0.5 * (before - after) / torch.where(bend < 0, bend, -1.0)
        return place_BK + torch.where(inside & (bend < 0), moved, 0.0), value_BK


def _rising(flat_BKn: Tensor, index_BK: Tensor, step: int) -> Tensor:
    """1 where the cell ``step`` after is higher than that before, -1 where it is lower, 0 where they are equal."""
    after, before = (
        flat_BKn.gather(2, (index_BK + each).clamp(0, flat_BKn.shape[2] - 1)[..., None])[..., 0]
        for each in (step, -step)
    )
    return torch.sign(after - before)
