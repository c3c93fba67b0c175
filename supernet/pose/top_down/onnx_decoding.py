"""Top-down decoding as a part of the network, for exported files: a crop in, joints out.

Only what is a fixed number of tensor operations is here: the highest cell, and HRNet's shift by a quarter of a cell. People of
bottom-up maps are grouped by a matching whose size hangs on what is found; that stays outside.
Shape legend: B people, K joints, h w cells of a heatmap, n = h w.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


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


def _rising(flat_BKn: Tensor, index_BK: Tensor, step: int) -> Tensor:
    """1 where the cell ``step`` after is higher than that before, -1 where it is lower, 0 where they are equal."""
    after, before = (
        flat_BKn.gather(2, (index_BK + each).clamp(0, flat_BKn.shape[2] - 1)[..., None])[..., 0]
        for each in (step, -step)
    )
    return torch.sign(after - before)
