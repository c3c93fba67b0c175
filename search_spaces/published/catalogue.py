"""Catalogue entry of a published network: its architecture, and the figures that its paper gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

#: How a paper counted. ``ptflops``: convolutions, 2 per BatchNorm element and 1 per activation, transposed convolutions at
#: output positions, /10^9 (LitePose's README). ``conv``: convolutions, transposed ones at output positions, /10^9
#: (HigherHRNet). ``conv_2^30``: convolutions alone, /2^30 (HRNet). ``mmcv``: mmcv's counter, /10^9 (SRPose).
#: ``torchstat``: its Flops, each module once, /2^20 below 2^30 and read as millions, /2^30 above (Lite-HRNet, WideHRNet).
#: ``detr``: convolutions, transposed ones at output positions, attention, softmax and elementwise operations (TransPose).
#: ``mmengine``: convolutions, linear layers, products of attention, BatchNorm and global averages, /10^9 (RTMPose).
Convention = Literal["ptflops", "conv", "conv_2^30", "mmcv", "torchstat", "detr", "mmengine"]


@dataclass(frozen=True)
class Published:
    """A published network.

    Attributes:
        arch: the architecture of its family.
        joints: number of keypoints that it was made for.
        gmacs: multiply-accumulates as published, in 10^9, counted by ``convention``; None where no figure was published.
        convention: how the paper counted.
        params_m: parameters as published, in 10^6.
        source: where the figures stand.
        irreproducible: why the convention does not give the figure within 1.5 %; empty where it does.
        options: further keyword arguments of the family's ``build``.
    """

    arch: Any
    joints: int
    gmacs: float | None = None
    convention: Convention | None = None
    params_m: float | None = None
    source: str = ""
    irreproducible: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
