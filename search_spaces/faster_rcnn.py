"""Faster R-CNN and Mask R-CNN on HRNetV2p: detectors of two stages.

Papers: Ren et al., "Faster R-CNN", NeurIPS 2015; He et al., "Mask R-CNN", ICCV 2017; Wang et al., "Deep High-Resolution
Representation Learning for Visual Recognition", TPAMI 2020, §5. Parameter names and shapes are those of mmdetection's
checkpoints; those of 1.x, and of HRNet's authors, are converted when they are loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .detector import CLASSES, DetectorNet, Look, few_boxes, numbered
from .hrnet import HRNet, backbone, check_backbone, check_multiscale, check_positive, check_resolution
from .hrnetv2p import LEVELS
from .layers.detection_heads import BoxHead, MaskHead, RPNHead
from .layers.roi_head import RoIHead
from .published.catalogue import Published
from .space import ArchitectureError, Space, choice, codec, repeat

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class Masks:
    """A head of masks.

    Attributes:
        width: channels of its convolutions.
        convolutions: how many, 3×3.
    """

    width: int
    convolutions: int


@dataclass(frozen=True)
class RCNN:
    """HRNet, a pyramid of five levels of strides 4 to 64, region proposals, and what classifies and refines each of them.

    Attributes:
        resolution: height and width of the input in pixels, multiples of 32 from 64 on.
        backbone: HRNet, of which all four resolutions are used.
        neck_width: channels of each level.
        rpn_width: channels of the layer that proposes regions.
        box_width: of the two hidden layers of the box head.
        masks: the mask head, or none (Faster R-CNN).
        proposals: boxes of each image that the second stage looks at when testing; no weights depend on it.
    """

    resolution: tuple[int, int]
    backbone: HRNet
    neck_width: int
    rpn_width: int
    box_width: int
    masks: tuple[Masks, ...]
    proposals: int

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


# --------------------------------------------------------------------------------------------------------- network

KEYPOINTS = False  # these are boxes
SMALLEST_INPUT = 64  # pixels; below, nothing is left of the coarsest level
example_input = few_boxes


class TwoStageNet(DetectorNet):
    """A detector of two stages: region proposals, and heads that read the features of boxes which ``look`` chooses."""

    def __init__(self, arch: Any, roi_head: RoIHead, classes: int) -> None:
        super().__init__(arch.backbone, arch.neck_width, 1, classes, arch.proposals)
        self.rpn_head = RPNHead(arch.neck_width, arch.rpn_width)
        self.roi_head = roi_head

    def named_outputs(self, images: Tensor, look: Look) -> dict[str, Tensor]:
        """``rpn_cls.l`` (B, 3, h, w) and ``rpn_reg.l`` (B, 12, h, w) of level l, and those of :class:`.roi_head.RoIHead`."""
        pyramid = self._pyramid(images)
        objectness, deltas = self.rpn_head(pyramid)
        found = {**numbered("neck", pyramid), **numbered("rpn_cls", objectness), **numbered("rpn_reg", deltas)}
        outputs: dict[str, Tensor] = self.roi_head(pyramid, look, found)
        return outputs

    def output_names(self) -> list[str]:
        """Names of what ``forward`` returns."""
        proposals = [f"{name}.{level}" for name in ("rpn_cls", "rpn_reg") for level in range(LEVELS)]
        return proposals + self.roi_head.names()


def build(arch: RCNN, joints: int = 0, *, classes: int = CLASSES) -> TwoStageNet:
    """The network of ``arch``, with random weights. ``joints`` is of no effect: these are boxes of ``classes`` classes."""
    box = BoxHead(arch.neck_width, arch.box_width, classes, class_agnostic=False)
    masks = [MaskHead(arch.neck_width, head.width, head.convolutions, classes) for head in arch.masks]
    return TwoStageNet(arch, RoIHead([box], masks, None, single=True), classes)


# ----------------------------------------------------------------------------------------------------------- space

#: Choices of which a smaller one is no larger network with zeros: it looks at fewer boxes, or answers less.
UNALIGNED = ("proposals", "masks.depth")

#: What detectors of two stages have in common, at full size and at that of a laptop.
FULL_SIZE: dict[str, Any] = {
    "resolution": choice((480, 736), (640, 960), (800, 1216)),
    "backbone": backbone(
        choice(18, 24, 32, 40),
        (1, choice(1, 2, 3, 4), choice(1, 2, 3)),
        choice(1, 2, 3, 4),
        bottlenecks=choice(2, 3, 4),
    ),
    "neck_width": choice(96, 128, 192, 256),
    "rpn_width": choice(96, 128, 192, 256),
    "box_width": choice(256, 512, 768, 1024),
    "proposals": choice(100, 300, 1000),
}
LAPTOP_SIZE: dict[str, Any] = {
    "resolution": choice((128, 128), (192, 192)),
    "backbone": backbone(
        choice(8, 12), (1, choice(1, 2), 1), choice(1, 2), bottlenecks=choice(1, 2), bottleneck_width=8, stem_width=16
    ),
    "neck_width": choice(16, 24, 32),
    "rpn_width": choice(16, 24, 32),
    "box_width": choice(32, 64, 96),
    "proposals": choice(20, 50, 100),
}

#: Backbone as in HRNetV2p's space, with masks or without, and widths and depths of all that follows.
SPACE: Space[RCNN] = Space(
    RCNN(**FULL_SIZE, masks=repeat(Masks(choice(96, 128, 192, 256), choice(1, 2, 3, 4)), choice(0, 1)))
)

#: The same family at the size of a laptop.
SMALL: Space[RCNN] = Space(RCNN(**LAPTOP_SIZE, masks=repeat(Masks(choice(16, 24, 32), choice(1, 2, 3)), choice(0, 1))))

SPACES = {"published": SPACE, "small": SMALL}

# ---------------------------------------------------------------------------------- published variants and their files


def _published(width: int, masks: tuple[Masks, ...]) -> Published:
    arch = RCNN((800, 1216), backbone(width), 256, 256, 1024, masks, proposals=1000)
    return Published(arch, joints=0, source="mmdetection configs/hrnet")


#: By the names of mmdetection's files. HRNet's authors give the cost with 500 boxes, not with 1000.
PUBLISHED: dict[str, Published] = {
    f"{detector}_hrnetv2p_w{width}_{training}_coco": _published(width, masks)
    for detector, masks in (("faster_rcnn", ()), ("mask_rcnn", (Masks(256, 4),)))
    for width in (18, 32, 40)
    for training in ("1x", "2x")
}


def published() -> dict[str, RCNN]:
    """The architectures that the authors published, by name."""
    return {name: entry.arch for name, entry in PUBLISHED.items()}


to_json = codec.to_json


def from_json(data: Any) -> RCNN:
    """The architecture that a JSON value describes.

    Raises:
        ArchitectureError: when something is missing, of a wrong type, or does not fit together.
    """
    arch = codec.from_json(RCNN, data)
    check_two_stages(arch)
    return arch


def check_two_stages(arch: Any) -> None:
    """Raise an ArchitectureError for an architecture of two stages that cannot be built."""
    check_backbone(arch.backbone)
    check_multiscale(arch.backbone)
    check_positive(arch, "neck_width", "rpn_width", "box_width", "proposals")
    if len(arch.masks) > 1:
        raise ArchitectureError(f"masks has {len(arch.masks)} entries, it has to have 0 or 1")
    for head in arch.masks:
        check_positive(head, "width", "convolutions", place="masks[0].")
    check_resolution(arch.resolution, SMALLEST_INPUT)
