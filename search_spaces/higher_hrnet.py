"""HigherHRNet: bottom-up pose from HRNet's highest resolution and a deconvolution that reads the first heatmaps and tags.

Paper: Cheng et al., "HigherHRNet: Scale-Aware Representation Learning for Bottom-Up Human Pose Estimation", CVPR 2020. Parameter
names and shapes are those of the authors' checkpoints and of LitePose's fork of it (mit-han-lab/litepose), whose gradual
shrinking (Wang et al., "Lite Pose", CVPR 2022, §3.2) takes blocks away from the branches of high resolution.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from .hrnet import HRNet, HRNetTrunk, HRStage, backbone, check_backbone, check_positive, check_resolution
from .layers.branches import BasicBlock
from .layers.convolutions import near_zero
from .published.catalogue import Published
from .space import Space, choice, codec

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class HigherHRNet:
    """HRNet with two outputs.

    Attributes:
        resolution: height and width of the input in pixels, multiples of 32.
        backbone: up to the features at a quarter of the resolution.
        deconv_width: channels of the deconvolution, which brings them to a half.
        deconv_blocks: residual blocks after it.
    """

    resolution: tuple[int, int]
    backbone: HRNet
    deconv_width: int
    deconv_blocks: int

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


# --------------------------------------------------------------------------------------------------------- network


def fusion_head(width: int, deconv_width: int, deconv_blocks: int, joints: int) -> tuple[nn.ModuleList, nn.ModuleList]:
    """What makes two outputs of features with ``width`` channels: ``final_layers`` and ``deconv_layers`` of checkpoints."""
    outputs = 2 * joints  # heatmaps, then tags, which belong to the first output only
    deconv = nn.ConvTranspose2d(width + outputs, deconv_width, 4, 2, 1, bias=False)
    deconv.sources = (width, outputs)  # type: ignore[assignment]
    enlarge = nn.Sequential(deconv, nn.BatchNorm2d(deconv_width), nn.ReLU(inplace=True))
    blocks = [nn.Sequential(BasicBlock(deconv_width)) for _ in range(deconv_blocks)]
    final_layers = nn.ModuleList(
        near_zero(nn.Conv2d(*widths, 1)) for widths in ((width, outputs), (deconv_width, joints))
    )
    return final_layers, nn.ModuleList([nn.Sequential(enlarge, *blocks)])


def fuse_outputs(final_layers: nn.ModuleList, deconv_layers: nn.ModuleList, features: Tensor) -> list[Tensor]:
    """Features (B, C, h, w) to heatmaps and tags (B, 2 joints, h, w) and heatmaps (B, joints, 2 h, 2 w) (§3.3)."""
    first = final_layers[0](features)
    larger = deconv_layers[0](torch.cat([features, first], dim=1))
    return [first, final_layers[1](larger)]


class HigherHRNetNet(HRNetTrunk):
    """The network of one architecture.

    ``forward`` maps images (B, 3, H, W) to a list: heatmaps then tags (B, 2 joints, H/4, W/4), heatmaps (B, joints, H/2, W/2).
    """

    def __init__(self, arch: HigherHRNet, joints: int) -> None:
        super().__init__(arch.backbone, multiscale=False)
        self.joints = joints
        self.final_layers, self.deconv_layers = fusion_head(
            arch.backbone.width, arch.deconv_width, arch.deconv_blocks, joints
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W), H and W multiples of 32, normalised; see the class for the outputs."""
        return fuse_outputs(self.final_layers, self.deconv_layers, super().forward(images)[0])


def build(arch: HigherHRNet, joints: int = 17) -> HigherHRNetNet:
    """The network of ``arch`` for ``joints`` joints (14: CrowdPose, 17: COCO), with random weights."""
    return HigherHRNetNet(arch, joints)


# ----------------------------------------------------------------------------------------------------------- space

#: Base width from 16 to 48; for each branch of each stage from no block, as gradual shrinking ends, to four; and fewer branches.
#: An empty branch is LitePose's convolution; so all published networks, also those without one, are written with ``conv``.
SPACE: Space[HigherHRNet] = Space(
    HigherHRNet(
        resolution=choice((384, 384), (448, 448), (512, 512), (640, 640)),
        backbone=backbone(
            choice(16, 18, 24, 32, 48),
            (1, choice(1, 2, 3, 4), choice(1, 2, 3)),
            choice(0, 1, 2, 3, 4),
            (2, choice(2, 3), choice(2, 3, 4)),
            bottleneck_width=choice(32, 36, 48, 64),
            empty_branch="conv",
        ),
        deconv_width=choice(16, 24, 32, 48),
        deconv_blocks=choice(0, 1, 2, 3, 4),
    )
)

#: The published space with nothing in the place of an empty branch.
CLEAN: Space[HigherHRNet] = Space(replace(SPACE.tree, backbone=replace(SPACE.tree.backbone, empty_branch="identity")))

#: The same family at the size of a laptop.
SMALL: Space[HigherHRNet] = Space(
    HigherHRNet(
        resolution=choice((96, 96), (128, 128)),
        backbone=backbone(
            choice(8, 12),
            (1, choice(1, 2), choice(1, 2)),
            choice(0, 1, 2),
            (2, choice(2, 3), choice(2, 3, 4)),
            bottlenecks=choice(1, 2),
            bottleneck_width=8,
            stem_width=16,
        ),
        deconv_width=choice(4, 8),
        deconv_blocks=choice(0, 1),
    )
)

SPACES = {"published": SPACE, "clean": CLEAN, "small": SMALL}

# ---------------------------------------------------------------------------------- published variants and their files


def _published(
    side: int,
    width: int,
    deconv_width: int,
    joints: int,
    deconv_blocks: int = 4,
    bottleneck_width: int = 64,
    **figures: Any,
) -> Published:
    trunk = backbone(width, bottleneck_width=bottleneck_width, empty_branch="conv")
    return Published(HigherHRNet((side, side), trunk, deconv_width, deconv_blocks), joints, **figures)


def _shrunk(width: int, blocks: tuple[int, ...], **figures: Any) -> Published:
    """``blocks`` of the last stage, of which the stages before have the last ones; all else as LitePose's w16."""
    stages = tuple(HRStage(modules, blocks[-branches:]) for branches, modules in enumerate((1, 4, 3), 2))
    trunk = HRNet(width, stages, bottleneck_width=2 * width, empty_branch="conv")  # type: ignore[arg-type]
    return Published(HigherHRNet((512, 512), trunk, deconv_width=32, deconv_blocks=0), 14, **figures)


_README: dict[str, Any] = {"convention": "conv", "source": "HigherHRNet README"}
_LITEPOSE: dict[str, Any] = {"convention": "ptflops", "source": "LitePose README"}
_SLIDES: dict[str, Any] = {"convention": "ptflops", "source": "LitePose slides 9-10"}

#: LitePose calls its configuration of width 18 "w16", and published none of W24, which is inferred from its cost.
PUBLISHED: dict[str, Published] = {
    "higherhrnet_w32_512_coco": _published(512, 32, 32, 17, gmacs=47.9, params_m=28.6, **_README),
    "higherhrnet_w32_640_coco": _published(640, 32, 32, 17, gmacs=74.8, params_m=28.6, **_README),
    "higherhrnet_w48_640_coco": _published(640, 48, 48, 17, gmacs=154.3, params_m=63.8, **_README),
    "litepose_higherhrnet_w16_512_crowdpose": _shrunk(18, (0, 0, 0, 4)),
    "litepose_higherhrnet_w24_512_crowdpose": _published(512, 24, 32, 14, 0, 48, gmacs=25.3, **_LITEPOSE),
    "litepose_higherhrnet_w32_512_crowdpose": _published(512, 32, 32, 14),
    "litepose_higherhrnet_w48_640_crowdpose": _published(640, 48, 48, 14),
}

#: LitePose's gradual shrinking, of which it published cost and accuracy alone: built as its w16, they have that cost.
REBUILT: dict[str, Published] = {
    "higherhrnet-shrink0": _shrunk(16, (4, 4, 4, 4), gmacs=12.5, **_SLIDES),
    "higherhrnet-shrink1": _shrunk(16, (1, 2, 3, 4), gmacs=10.12, **_SLIDES),
    "higherhrnet-shrink2": _shrunk(18, (1, 1, 1, 4), gmacs=10.02, **_SLIDES),
    "higherhrnet-shrink3": _shrunk(18, (0, 0, 0, 4), gmacs=9.15, **_SLIDES),
}


def published() -> dict[str, HigherHRNet]:
    """The architectures that the authors published, and those of LitePose's gradual shrinking, by name."""
    return {name: entry.arch for name, entry in (PUBLISHED | REBUILT).items()}


to_json = codec.to_json


def from_json(data: Any) -> HigherHRNet:
    """The architecture that a JSON value describes.

    Raises:
        ArchitectureError: when something is missing, of a wrong type, or does not fit together.
    """
    arch = codec.from_json(HigherHRNet, data)
    check_backbone(arch.backbone)
    check_positive(arch, "deconv_width")
    check_resolution(arch.resolution)
    return arch
