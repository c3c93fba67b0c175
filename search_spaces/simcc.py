"""SimCC: coordinate classification on ResNet and MobileNetV2, the baselines that RTMPose grew from.

Papers: Li et al., "SimCC", ECCV 2022; Sandler et al., "MobileNetV2", CVPR 2018. Names are those of mmpose's checkpoints. As with
RTMPose, a network takes images of one size only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from . import resnet
from .layers.branches import Features
from .layers.convolutions import conv_bn, ends_residual
from .layers.simcc import SimCC, SimCCNet
from .published.catalogue import Published
from .resnet import RESNET50, ResNet
from .rtmpose import check_resolution
from .space import ArchitectureError, Space, choice, codec

# ---------------------------------------------------------------------------------------------------- architecture

STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of MobileNetV2's stages, behind a stem of stride 2
EXPANSION = 6  # hidden channels of its blocks, as a multiple of their inputs'; 1 in the first stage


@dataclass(frozen=True)
class MobileStage:
    """Inverted residual blocks of one width; the first has the stage's stride."""

    width: int
    blocks: int


@dataclass(frozen=True)
class MobileNetV2:
    """A MobileNetV2: channels of the stem, seven stages, and channels of the last 1×1 convolution."""

    stem: int
    stages: tuple[MobileStage, ...]
    last: int

    def network(self, multiscale: bool) -> MobileNetV2Trunk:
        """See :class:`MobileNetV2Trunk`; only the last features exist."""
        if multiscale:
            raise ArchitectureError("backbone is a MobileNetV2, which has features of one resolution")
        return MobileNetV2Trunk(self.stem, self.stages, self.last)


@dataclass(frozen=True)
class SimCCPose:
    """A backbone with a SimCC head. ``resolution`` is height and width of the input in pixels, multiples of 32."""

    resolution: tuple[int, int]
    backbone: ResNet | MobileNetV2
    head: SimCC

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


# --------------------------------------------------------------------------------------------------------- network


class MobileBlock(nn.Module):
    """1×1 to the hidden channels (unless there are no more of them), 3×3 depthwise, 1×1 back; plus the input where it fits."""

    def __init__(self, inputs: int, outputs: int, hidden: int, stride: int) -> None:
        super().__init__()
        expand = [conv_bn(inputs, hidden, 1, keys="named")] if hidden != inputs else []
        depthwise = conv_bn(hidden, hidden, 3, stride=stride, groups=hidden, keys="named")
        self.conv = nn.Sequential(*expand, depthwise, conv_bn(hidden, outputs, 1, act=None, keys="named"))
        self.residual = stride == 1 and inputs == outputs
        if self.residual:
            ends_residual(self.conv[-1].get_submodule("bn"))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


class MobileNetV2Trunk(nn.Module):
    """Stem, stages and a 1×1 convolution: images (B, 3, H, W) to [(B, last, H/32, W/32)]."""

    def __init__(self, stem: int, stages: Sequence[MobileStage], last: int) -> None:
        super().__init__()
        self.conv1 = conv_bn(3, stem, 3, stride=2, keys="named")
        self.stages = [f"layer{number}" for number in range(1, len(stages) + 1)]
        inputs = stem
        for name, stage, stride in zip(self.stages, stages, STRIDES, strict=True):
            blocks = []
            for index in range(stage.blocks):
                hidden = inputs * (1 if name == "layer1" else EXPANSION)
                blocks.append(MobileBlock(inputs, stage.width, hidden, stride if index == 0 else 1))
                inputs = stage.width
            self.add_module(name, nn.Sequential(*blocks))
        self.conv2 = conv_bn(inputs, last, 1, keys="named")
        self.widths = (last,)

    def forward(self, images: Tensor) -> Features:
        """One feature."""
        x = self.conv1(images)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return [self.conv2(x)]


def build(arch: SimCCPose, joints: int = 17) -> SimCCNet:
    """The network of ``arch`` for ``joints`` joints (17: COCO), with random weights; see :class:`SimCCNet` for its outputs."""
    return SimCCNet(arch.backbone, arch.head, arch.resolution, joints)


# ----------------------------------------------------------------------------------------------------------- space


def _like_resnet(space: Space[resnet.ResNetPose], resolution: Any) -> SimCCPose:
    """The choices of a ResNet with its deconvolutions, and SimCC's linear layers behind these."""
    return SimCCPose(resolution, space.tree.backbone, SimCC(space.tree.head.deconv_width))


#: ResNet-50 and all that is smaller, with three deconvolutions.
SPACE: Space[SimCCPose] = Space(_like_resnet(resnet.SPACE, choice((192, 128), (256, 192), (320, 256), (384, 288))))

#: The same at the size of a laptop.
SMALL: Space[SimCCPose] = Space(_like_resnet(resnet.SMALL, choice((64, 64), (64, 96), (128, 128))))

#: MobileNetV2 without deconvolutions, up to the published widths and depths.
MOBILE: Space[SimCCPose] = Space(
    SimCCPose(
        resolution=choice((192, 128), (256, 192), (384, 288)),
        backbone=MobileNetV2(
            stem=32,
            stages=(
                MobileStage(16, 1),
                MobileStage(choice(16, 24), choice(1, 2)),
                MobileStage(choice(24, 32), choice(2, 3)),
                MobileStage(choice(48, 64), choice(2, 3, 4)),
                MobileStage(choice(64, 96), choice(2, 3)),
                MobileStage(choice(112, 160), choice(2, 3)),
                MobileStage(choice(224, 320), 1),
            ),
            last=choice(640, 960, 1280),
        ),
        head=SimCC(()),
    )
)

SPACES = {"published": SPACE, "small": SMALL, "mobilenetv2": MOBILE}

#: Another input size has bins and cells of its own.
UNALIGNED = ("resolution",)

# ---------------------------------------------------------------------------------- published variants and their files

_DECONVS = (256, 256, 256)
_MOBILENETV2 = MobileNetV2(
    32,
    tuple(
        MobileStage(width, blocks)
        for width, blocks in zip((16, 24, 32, 64, 96, 160, 320), (1, 2, 3, 4, 3, 3, 1), strict=True)
    ),
    1280,
)
_SOURCE = "mmpose configs/body_2d_keypoint/simcc/coco"


def _entry(resolution: tuple[int, int], backbone: Any, deconv_width: tuple[int, ...], joints: int = 17) -> Published:
    return Published(SimCCPose(resolution, backbone, SimCC(deconv_width)), joints, source=_SOURCE)


#: Neither parameters nor multiply-accumulates were published.
PUBLISHED: dict[str, Published] = {
    "simcc_res50_coco_256x192": _entry((256, 192), RESNET50, _DECONVS),
    "simcc_res50_coco_384x288": _entry((384, 288), RESNET50, _DECONVS),
    "simcc_res50_mpii_256x256": _entry((256, 256), RESNET50, (), joints=16),
    "simcc_mobilenetv2_coco_256x192": _entry((256, 192), _MOBILENETV2, ()),
}


def published() -> dict[str, SimCCPose]:
    """The published architectures, by name."""
    return {name: entry.arch for name, entry in PUBLISHED.items()}


to_json = codec.to_json


def from_json(data: Any) -> SimCCPose:
    """The architecture that a JSON value describes.

    Raises:
        ArchitectureError: when a field is missing or has no possible value; one line that names it.
    """
    arch = codec.from_json(SimCCPose, data)
    check_resolution(arch.resolution)
    if 0 in arch.head.deconv_width:
        raise ArchitectureError(f"head.deconv_width is {arch.head.deconv_width}, every entry has to be at least 1")
    if isinstance(arch.backbone, ResNet):
        resnet.check(arch.backbone, arch.resolution)
        return arch
    if len(arch.backbone.stages) != len(STRIDES):
        raise ArchitectureError(
            f"backbone.stages has {len(arch.backbone.stages)} entries, it has to have {len(STRIDES)}"
        )
    for index, stage in enumerate(arch.backbone.stages):
        if 0 in (stage.width, stage.blocks):
            raise ArchitectureError(
                f"backbone.stages[{index}] has width {stage.width} and {stage.blocks} blocks, each has to be at least 1"
            )
    if 0 in (arch.backbone.stem, arch.backbone.last):
        raise ArchitectureError("backbone.stem and backbone.last have to be at least 1")
    return arch
