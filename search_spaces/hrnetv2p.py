"""HRNetV2p: HRNet's four resolutions joined into a pyramid of five levels, for detectors; features, no keypoints.

Paper: Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", TPAMI 2020, §3.3. Parameter names and
shapes are those of mmdetection's checkpoints (``backbone.…``, ``neck.…``), of which the detector's own heads are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .hrnet import HRNet, backbone, check_backbone, check_multiscale, check_positive, check_resolution
from .layers.branches import Features
from .layers.convolutions import named
from .published.catalogue import Published
from .space import Space, choice, codec

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class HRNetV2p:
    """HRNet and a feature pyramid.

    Attributes:
        resolution: height and width of the input in pixels, multiples of 32 from 64 on.
        backbone: HRNet, of which all four resolutions are used.
        neck_width: channels of each level.
        neck_stride: of each level's last convolution: 1 for Faster R-CNN (strides 4 to 64), 2 for FCOS (8 to 128).
    """

    resolution: tuple[int, int]
    backbone: HRNet
    neck_width: int
    neck_stride: Literal[1, 2]

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


# --------------------------------------------------------------------------------------------------------- network

KEYPOINTS = False  # these are features
LEVELS = 5
SMALLEST_INPUT = 4 * 2 ** (LEVELS - 1)  # pixels; below, nothing is left of the coarsest level


class HRFPN(nn.Module):
    """All resolutions, brought to the highest and projected together, then averaged down to ``LEVELS`` levels.

    ``forward`` maps features (B, widths[b], h / 2^b, w / 2^b) to a list of (B, width, h / 2^l / stride, w / 2^l / stride).
    """

    def __init__(self, widths: Sequence[int], width: int, stride: int) -> None:
        super().__init__()
        reduction = nn.Conv2d(sum(widths), width, 1)
        reduction.sources = tuple(widths)  # type: ignore[assignment]
        self.reduction_conv = named(reduction)
        self.fpn_convs = nn.ModuleList(named(nn.Conv2d(width, width, 3, stride, 1)) for _ in range(LEVELS))

    def forward(self, features: Features) -> Features:
        """See the class."""
        joined = [features[0]]
        for branch, x in enumerate(features[1:], 1):
            joined.append(F.interpolate(x, scale_factor=2**branch, mode="bilinear", align_corners=False))
        pyramid = self.reduction_conv(torch.cat(joined, dim=1))
        levels = [pyramid, *(F.avg_pool2d(pyramid, 2**level) for level in range(1, LEVELS))]
        return [convolution(x) for convolution, x in zip(self.fpn_convs, levels, strict=True)]


class HRNetV2pNet(nn.Module):
    """The network of one architecture.

    ``forward`` maps images (B, 3, H, W) to five feature maps (B, neck_width, H / s, W / s), s = 4, 8, … 64 times neck_stride.
    """

    def __init__(self, arch: HRNetV2p) -> None:
        super().__init__()
        trunk = arch.backbone.network(multiscale=True)
        self.backbone, self.neck = trunk, HRFPN(trunk.widths, arch.neck_width, arch.neck_stride)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W), H and W multiples of 32 from 64 on, normalised; see the class for the outputs."""
        levels: list[Tensor] = self.neck(self.backbone(images))
        return levels


def build(arch: HRNetV2p, joints: int = 0) -> HRNetV2pNet:
    """The network of ``arch``, with random weights. ``joints`` is of no effect: these are features."""
    return HRNetV2pNet(arch)


# ----------------------------------------------------------------------------------------------------------- space

#: Base width from 18 to 40, and blocks for each branch of each stage. The pyramid has one width, which the detector reads.
SPACE: Space[HRNetV2p] = Space(
    HRNetV2p(
        resolution=choice((256, 320), (512, 640), (800, 1024)),
        backbone=backbone(
            choice(18, 24, 32, 40),
            (1, choice(1, 2, 3, 4), choice(1, 2, 3)),
            choice(1, 2, 3, 4),
            bottlenecks=choice(2, 3, 4),
        ),
        neck_width=256,
        neck_stride=1,
    )
)

#: The same family at the size of a laptop.
SMALL: Space[HRNetV2p] = Space(
    HRNetV2p(
        resolution=choice((64, 64), (96, 128)),
        backbone=backbone(
            choice(8, 12),
            (1, choice(1, 2), 1),
            choice(1, 2),
            bottlenecks=choice(1, 2),
            bottleneck_width=8,
            stem_width=16,
        ),
        neck_width=24,
        neck_stride=2,
    )
)

SPACES = {"published": SPACE, "small": SMALL}

# ---------------------------------------------------------------------------------- published variants and their files

_DETECTORS: dict[str, Literal[1, 2]] = {"faster_rcnn": 1, "fcos": 2}

#: Papers give the cost of whole detectors only.
PUBLISHED: dict[str, Published] = {
    f"hrnetv2p_w{width}_{detector}": Published(HRNetV2p((256, 320), backbone(width), 256, stride), joints=0)
    for width in (18, 32, 40)
    for detector, stride in _DETECTORS.items()
}


def published() -> dict[str, HRNetV2p]:
    """The architectures that the authors published, by name."""
    return {name: entry.arch for name, entry in PUBLISHED.items()}


to_json = codec.to_json


def from_json(data: Any) -> HRNetV2p:
    """The architecture that a JSON value describes.

    Raises:
        ArchitectureError: when something is missing, of a wrong type, or does not fit together.
    """
    arch = codec.from_json(HRNetV2p, data)
    check_backbone(arch.backbone)
    check_multiscale(arch.backbone)
    check_positive(arch, "neck_width")
    check_resolution(arch.resolution, SMALLEST_INPUT)
    return arch
