"""HRNet: branches of four resolutions side by side, which exchange what they know again and again; top-down pose.

Papers: Sun et al., "Deep High-Resolution Representation Learning for Human Pose Estimation", CVPR 2019; Wang et al., TPAMI 2020.
Parameter names and shapes are those of mmpose's checkpoints or of the authors' own (leoxiaobin/deep-high-resolution-net),
as the architecture's ``layout`` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from . import codec
from .catalogue import Published
from .heads import PoseNet, SimpleHead
from .hr import Features, HRTrunk, basic_branch
from .layers import conv_bn
from .space import ArchitectureError, Space, choice

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class HRStage:
    """So many ``modules``, each with as many residual ``blocks`` per branch (high resolution first), then an exchange."""

    modules: int
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class HRNet:
    """The backbone. Branch b has ``width`` × 2^b channels at 1 / 4 / 2^b of the resolution.

    Attributes:
        width: channels of the branch of highest resolution.
        stages: with two, three and four branches.
        bottlenecks: blocks of the first stage, which has one branch.
        bottleneck_width: channels of their 3×3 convolutions.
        stem_width: channels of the two convolutions that bring the picture to a quarter.
        empty_branch: what a branch of no blocks is: nothing, or a 3×3 convolution with BatchNorm and ReLU6 (LitePose's code).
    """

    width: int
    stages: tuple[HRStage, HRStage, HRStage]
    bottlenecks: int = 4
    bottleneck_width: int = 64
    stem_width: int = 64
    empty_branch: Literal["identity", "conv"] = "identity"

    def network(self, multiscale: bool) -> HRNetTrunk:
        """Images (B, 3, H, W) to the features of the highest resolution, or of all four with ``multiscale``."""
        return HRNetTrunk(self, multiscale)


@dataclass(frozen=True)
class HRNetPose:
    """HRNet and a 1×1 convolution to heatmaps.

    Attributes:
        resolution: height and width of the input in pixels, multiples of 32.
        backbone: everything but the last convolution.
        layout: of the checkpoint: ``mmpose`` (``backbone.…``, ``keypoint_head.…``) or ``original`` (no prefix, ``final_layer``).
    """

    resolution: tuple[int, int]
    backbone: HRNet
    layout: Literal["mmpose", "original"]

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


# --------------------------------------------------------------------------------------------------------- network


def _conv_branch(branch: int, width: int, blocks: int) -> nn.Module:
    return basic_branch(branch, width, blocks) if blocks else conv_bn(width, width, 3)


class HRNetTrunk(HRTrunk):
    """The trunk of one architecture; see :class:`~search_spaces.hr.HRTrunk`."""

    def __init__(self, arch: HRNet, multiscale: bool) -> None:
        super().__init__(
            [arch.width * 2**branch for branch in range(4)],
            [[stage.blocks] * stage.modules for stage in arch.stages],
            stem=arch.stem_width,
            bottleneck_blocks=arch.bottlenecks,
            bottleneck_width=arch.bottleneck_width,
            multiscale=multiscale,
            branch=_conv_branch if arch.empty_branch == "conv" else basic_branch,
        )


class OriginalNet(nn.Module):
    """The trunk with ``final_layer`` beside its parts, as the authors' checkpoints have it.

    ``forward`` maps images (B, 3, H, W) to heatmaps (B, joints, H/4, W/4).
    """


def build(arch: HRNetPose, joints: int = 17) -> nn.Module:
    """The network of ``arch`` for ``joints`` joints (17: COCO), with random weights."""
    raise NotImplementedError
