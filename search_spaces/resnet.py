"""ResNet with a deconvolution head: the "simple baseline" of pose estimation, and a backbone for other heads.

Papers: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; Xiao et al., "Simple Baselines for Human Pose
Estimation and Tracking", ECCV 2018. Names are those of torchvision's and mmpose's checkpoints, the stride is in the 3×3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .layers.branches import Bottleneck, Features, bottlenecks
from .layers.heads import PoseNet, SimpleHead
from .published.catalogue import Published
from .space import ArchitectureError, Space, choice, codec

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class Stage:
    """Bottleneck blocks; ``width`` channels in their 3×3 convolutions and four times as many at their outputs."""

    width: int
    blocks: int


@dataclass(frozen=True)
class ResNet:
    """A ResNet backbone: channels of the stem and four stages, at 1/4, 1/8, 1/16 and 1/32 of the resolution."""

    stem: int
    stages: tuple[Stage, Stage, Stage, Stage]

    def network(self, multiscale: bool) -> ResNetTrunk:
        """See :class:`ResNetTrunk`."""
        return ResNetTrunk(self.stem, self.stages, multiscale)


@dataclass(frozen=True)
class ResNetPose:
    """A ResNet with its deconvolutions. ``resolution`` is height and width of the input in pixels, multiples of 32."""

    resolution: tuple[int, int]
    backbone: ResNet
    head: SimpleHead

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


# --------------------------------------------------------------------------------------------------------- network


class ResNetTrunk(nn.Module):
    """Stem to a quarter of the resolution, then the stages, each but the first to half of it.

    Attributes:
        widths: channels of the features that ``forward`` returns.
    """

    def __init__(self, stem: int, stages: Sequence[Stage], multiscale: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layers = [f"layer{number}" for number in range(1, len(stages) + 1)]
        widths = [stem]
        for index, (name, stage) in enumerate(zip(self.layers, stages, strict=True)):
            self.add_module(name, bottlenecks(widths[-1], stage.width, stage.blocks, 1 if index == 0 else 2))
            widths.append(stage.width * Bottleneck.expansion)
        self.widths = tuple(widths[1:] if multiscale else widths[-1:])

    def forward(self, images: Tensor) -> Features:
        """Images (B, 3, H, W) to features (B, widths[s], H / 4 / 2^s, W / 4 / 2^s), or the last of them alone."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features = []
        for name in self.layers:
            x = self.get_submodule(name)(x)
            features.append(x)
        return features[-len(self.widths) :]


def build(arch: ResNetPose, joints: int = 17) -> PoseNet:
    """The network of ``arch``, with random weights.

    ``forward`` maps images (B, 3, H, W) to heatmaps (B, joints, H/32 · 2^n, W/32 · 2^n) for n deconvolutions (3 published).
    """
    return PoseNet(arch.backbone, arch.head, joints)


# ----------------------------------------------------------------------------------------------------------- space

#: Three deconvolutions at every width; a stage has at least half of ResNet-50's width and two of its blocks.
SPACE: Space[ResNetPose] = Space(
    ResNetPose(
        resolution=choice((192, 128), (256, 192), (320, 256), (384, 288)),
        backbone=ResNet(
            stem=64,
            stages=(
                Stage(choice(32, 48, 64), choice(2, 3)),
                Stage(choice(64, 96, 128), choice(2, 3, 4)),
                Stage(choice(128, 192, 256), choice(2, 3, 4, 5, 6)),
                Stage(choice(256, 384, 512), choice(2, 3)),
            ),
        ),
        head=SimpleHead((choice(64, 128, 256), choice(64, 128, 256), choice(64, 128, 256))),
    )
)

#: The same family at the size of a laptop.
SMALL: Space[ResNetPose] = Space(
    ResNetPose(
        resolution=choice((96, 64), (128, 96)),
        backbone=ResNet(
            stem=16,
            stages=(
                Stage(choice(8, 16), choice(1, 2)),
                Stage(choice(16, 24), choice(1, 2)),
                Stage(choice(32, 48), choice(1, 2)),
                Stage(choice(48, 64), choice(1, 2)),
            ),
        ),
        head=SimpleHead((choice(32, 48), choice(32, 48), choice(24, 32))),
    )
)

SPACES = {"published": SPACE, "small": SMALL}

# ---------------------------------------------------------------------------------- published variants and their files


def resnet(blocks: tuple[int, int, int, int]) -> ResNet:
    """The published widths; blocks (3, 4, 6, 3) are ResNet-50, (3, 4, 23, 3) ResNet-101, (3, 8, 36, 3) ResNet-152."""
    first, second, third, fourth = blocks
    return ResNet(64, (Stage(64, first), Stage(128, second), Stage(256, third), Stage(512, fourth)))


RESNET50 = resnet((3, 4, 6, 3))

PUBLISHED: dict[str, Published] = {
    "simple_res50_coco_256x192": Published(
        ResNetPose((256, 192), RESNET50, SimpleHead((256, 256, 256))),
        joints=17,
        gmacs=5.46,
        convention="mmcv",
        params_m=34.0,
        source="SRPose README",
    )
}


def published() -> dict[str, ResNetPose]:
    """The published architectures, by name."""
    return {name: entry.arch for name, entry in PUBLISHED.items()}


to_json = codec.to_json


def from_json(data: Any) -> ResNetPose:
    """The architecture that a JSON value describes.

    Raises:
        ArchitectureError: when a field is missing or has no possible value; one line that names it.
    """
    arch = codec.from_json(ResNetPose, data)
    check(arch.backbone, arch.resolution)
    if 0 in arch.head.deconv_width:
        raise ArchitectureError(f"head.deconv_width is {arch.head.deconv_width}, every entry has to be at least 1")
    return arch


def check(backbone: ResNet, resolution: tuple[int, int]) -> None:
    """Check what types cannot say: that the backbone can be built and takes images of this size.

    Raises:
        ArchitectureError: when not; one line that names the field.
    """
    if any(side == 0 or side % 32 for side in resolution):
        raise ArchitectureError(f"resolution is {resolution}, it has to be two multiples of 32, height and width")
    check_stages(backbone.stem, backbone.stages)


def check_stages(stem: int, stages: Sequence[Stage]) -> None:
    """The part of :func:`check` that other backbones with a ResNet inside share."""
    if stem == 0:
        raise ArchitectureError("backbone.stem is 0, it has to be at least 1")
    for index, stage in enumerate(stages):
        if 0 in (stage.width, stage.blocks):
            raise ArchitectureError(
                f"backbone.stages[{index}] has width {stage.width} and {stage.blocks} blocks, each has to be at least 1"
            )
