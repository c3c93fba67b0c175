"""What detectors are given beside images: their sizes, and their ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class InputImage:
    """One image of a batch.

    Attributes:
        hw: height and width in pixels of the input, without padding; boxes do not reach beyond.
        padded_hw: with the padding of this image alone, which a larger one of the batch may exceed.
        scale_xy: by which width and height of the original were multiplied.
    """

    hw: tuple[int, int]
    padded_hw: tuple[int, int]
    scale_xy: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Truth:
    """Ground truth of one image, crowds left out.

    Attributes:
        boxes: (G, 4), x0 y0 x1 y1 in pixels of the input.
        labels: class of each, int64 (G,).
        masks: (G, H, W), 0 or 1, as large as the padded input; None where no masks are learnt.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor | None = None


def with_index(boxes: Sequence[Tensor]) -> Tensor:
    """Boxes of each image, (R_b, 4), as (R, 5) with the index of the image first."""
    return torch.cat([torch.cat([each.new_full((len(each), 1), index), each], 1) for index, each in enumerate(boxes)])
