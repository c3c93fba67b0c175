"""FCOS on HRNetV2p: a detector of one stage without anchors.

Papers: Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection", ICCV 2019; Wang et al., "Deep High-Resolution
Representation Learning for Visual Recognition", TPAMI 2020, §5. Parameter names and shapes are those of mmdetection's
checkpoints, those of before 2.1 included; the plain form, with centre-ness from the tower of classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .detector import CLASSES, DetectorNet, Look, numbered
from .hrnet import HRNet, backbone, check_backbone, check_multiscale, check_positive, check_resolution
from .hrnetv2p import LEVELS
from .layers.detection_heads import GROUP, FCOSHead
from .published.catalogue import Published
from .space import ArchitectureError, Space, choice, codec

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class FCOS:
    """HRNet, a pyramid of five levels of strides 8 to 128, and two towers of convolutions that all levels share.

    Attributes:
        resolution: height and width of the input in pixels, multiples of 32 from 64 on.
        backbone: HRNet, of which all four resolutions are used.
        neck_width: channels of each level.
        tower_width: channels of the towers, a multiple of 8.
        tower_convolutions: of each tower, each with GroupNorm in groups of 8 channels.
    """

    resolution: tuple[int, int]
    backbone: HRNet
    neck_width: int
    tower_width: int
    tower_convolutions: int

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


# --------------------------------------------------------------------------------------------------------- network

KEYPOINTS = False  # these are boxes
SMALLEST_INPUT = 64  # pixels; below, nothing is left of the coarsest level
NECK_STRIDE = 2


class FCOSNet(DetectorNet):
    """The network of one architecture: images to class logits, distances to the sides and centre-ness logits of five levels."""

    def __init__(self, arch: FCOS, classes: int) -> None:
        super().__init__(arch.backbone, arch.neck_width, NECK_STRIDE, classes, proposals=0)
        self.bbox_head = FCOSHead(arch.neck_width, arch.tower_width, arch.tower_convolutions, classes, LEVELS)

    def named_outputs(self, images: Tensor, look: Look) -> dict[str, Tensor]:
        """``cls_score.l`` (B, N, h, w), ``bbox_pred.l`` (B, 4, h, w) in pixels and ``centerness.l`` (B, 1, h, w) of level l."""
        pyramid = self._pyramid(images)
        scores, distances, centerness = self.bbox_head(pyramid)
        return {
            **numbered("neck", pyramid),
            **numbered("cls_score", scores),
            **numbered("bbox_pred", distances),
            **numbered("centerness", centerness),
        }

    def output_names(self) -> list[str]:
        """Names of what ``forward`` returns."""
        return [f"{name}.{level}" for name in ("cls_score", "bbox_pred", "centerness") for level in range(LEVELS)]


def build(arch: FCOS, joints: int = 0, *, classes: int = CLASSES) -> FCOSNet:
    """The network of ``arch``, with random weights. ``joints`` is of no effect: these are boxes of ``classes`` classes."""
    return FCOSNet(arch, classes)


# ----------------------------------------------------------------------------------------------------------- space

#: Backbone as in HRNetV2p's space, and widths and depth of all that follows.
SPACE: Space[FCOS] = Space(
    FCOS(
        resolution=choice((480, 736), (640, 960), (800, 1216)),
        backbone=backbone(
            choice(18, 24, 32, 40),
            (1, choice(1, 2, 3, 4), choice(1, 2, 3)),
            choice(1, 2, 3, 4),
            bottlenecks=choice(2, 3, 4),
        ),
        neck_width=choice(96, 128, 192, 256),
        tower_width=choice(96, 128, 192, 256),
        tower_convolutions=choice(1, 2, 3, 4),
    )
)

#: The same family at the size of a laptop.
SMALL: Space[FCOS] = Space(
    FCOS(
        resolution=choice((128, 128), (192, 192)),
        backbone=backbone(
            choice(8, 12),
            (1, choice(1, 2), 1),
            choice(1, 2),
            bottlenecks=choice(1, 2),
            bottleneck_width=8,
            stem_width=16,
        ),
        neck_width=choice(16, 24, 32),
        tower_width=choice(16, 24, 32),
        tower_convolutions=choice(1, 2, 3),
    )
)

SPACES = {"published": SPACE, "small": SMALL}

# ---------------------------------------------------------------------------------- published variants and their files


def _published(width: int) -> Published:
    arch = FCOS((800, 1216), backbone(width), neck_width=256, tower_width=256, tower_convolutions=4)
    return Published(arch, joints=0, source="mmdetection configs/hrnet")


#: By the names of mmdetection's files; ``mstrain`` was trained at two sizes. W40 was published in that form only.
PUBLISHED: dict[str, Published] = {
    f"fcos_hrnetv2p_w{width}_gn-head_{training}_coco": _published(width)
    for width in (18, 32, 40)
    for training in ("4x4_1x", "4x4_2x", "mstrain_640-800_4x4_2x")
    if width < 40 or training.startswith("mstrain")
}


def published() -> dict[str, FCOS]:
    """The architectures that the authors published, by name."""
    return {name: entry.arch for name, entry in PUBLISHED.items()}


to_json = codec.to_json


def from_json(data: Any) -> FCOS:
    """The architecture that a JSON value describes.

    Raises:
        ArchitectureError: when something is missing, of a wrong type, or does not fit together.
    """
    arch = codec.from_json(FCOS, data)
    check_backbone(arch.backbone)
    check_multiscale(arch.backbone)
    check_positive(arch, "neck_width", "tower_width", "tower_convolutions")
    if arch.tower_width % GROUP:
        raise ArchitectureError(f"tower_width is {arch.tower_width}, it has to be a multiple of {GROUP}")
    check_resolution(arch.resolution, SMALLEST_INPUT)
    return arch
