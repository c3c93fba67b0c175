"""Cascade R-CNN, Cascade Mask R-CNN and Hybrid Task Cascade (HTC) on HRNetV2p: stages that refine one another's boxes.

Papers: Cai and Vasconcelos, "Cascade R-CNN", CVPR 2018 and TPAMI 2019; Chen et al., "Hybrid Task Cascade for Instance
Segmentation", CVPR 2019; Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", TPAMI 2020, §5.
Parameter names and shapes are those of mmdetection's checkpoints; those of 1.x, and of HRNet's authors, are converted when they
are loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .detector import CLASSES, few_boxes
from .faster_rcnn import FULL_SIZE, LAPTOP_SIZE, TwoStageNet, check_two_stages
from .hrnet import HRNet, backbone, check_positive
from .hrnetv2p import LEVELS
from .layers.detection_heads import BoxHead, MaskHead, SemanticHead
from .layers.roi_head import RoIHead
from .published.catalogue import Published
from .space import ArchitectureError, Space, choice, codec, repeat

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class CascadeMasks:
    """The mask heads, one for each stage.

    Attributes:
        width: channels of their convolutions.
        convolutions: how many, 3×3.
        flow: each head but the first reads the features of the one before (HTC).
    """

    width: int
    convolutions: int
    flow: bool


@dataclass(frozen=True)
class CascadeRCNN:
    """HRNet, a pyramid of five levels of strides 4 to 64, region proposals, and stages that refine them one after another.

    Attributes:
        resolution: height and width of the input in pixels, multiples of 32 from 64 on.
        backbone: HRNet, of which all four resolutions are used.
        neck_width: channels of each level.
        rpn_width: channels of the layer that proposes regions.
        box_width: of the two hidden layers of each box head, whose boxes do not depend on the class.
        stages: one to three.
        masks: the mask heads, or none.
        semantic: a branch of semantic segmentation adds its features to those of every box and mask (HTC).
        proposals: boxes of each image that the first stage looks at when testing; no weights depend on it.
    """

    resolution: tuple[int, int]
    backbone: HRNet
    neck_width: int
    rpn_width: int
    box_width: int
    stages: int
    masks: tuple[CascadeMasks, ...]
    semantic: bool
    proposals: int

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


# --------------------------------------------------------------------------------------------------------- network

KEYPOINTS = False  # these are boxes
SMALLEST_INPUT = 64  # pixels; below, nothing is left of the coarsest level
example_input = few_boxes
MOST_STAGES = 3


def build(arch: CascadeRCNN, joints: int = 0, *, classes: int = CLASSES) -> TwoStageNet:
    """The network of ``arch``, with random weights. ``joints`` is of no effect: these are boxes of ``classes`` classes."""
    stages = range(arch.stages)
    boxes = [BoxHead(arch.neck_width, arch.box_width, classes, class_agnostic=True) for _ in stages]
    masks = [
        MaskHead(
            arch.neck_width, head.width, head.convolutions, classes, reads=head.width if head.flow and stage else 0
        )
        for head in arch.masks
        for stage in stages
    ]
    semantic = SemanticHead(arch.neck_width, LEVELS) if arch.semantic else None
    return TwoStageNet(arch, RoIHead(boxes, masks, semantic, single=False), classes)


# ----------------------------------------------------------------------------------------------------------- space

#: Choices of which a smaller one is no larger network with zeros: it looks at fewer boxes, or answers less.
UNALIGNED = ("proposals", "stages", "masks.depth", "semantic")

#: Backbone as in HRNetV2p's space, one to three stages, with masks or without, with HTC's flow of features and semantic branch or
#: without, and widths and depths of all that follows.
SPACE: Space[CascadeRCNN] = Space(
    CascadeRCNN(
        **FULL_SIZE,
        stages=choice(1, 2, 3),
        masks=repeat(CascadeMasks(choice(96, 128, 192, 256), choice(1, 2, 3, 4), choice(False, True)), choice(0, 1)),
        semantic=choice(False, True),
    )
)

#: The same family at the size of a laptop.
SMALL: Space[CascadeRCNN] = Space(
    CascadeRCNN(
        **LAPTOP_SIZE,
        stages=choice(1, 2, 3),
        masks=repeat(CascadeMasks(choice(16, 24, 32), choice(1, 2, 3), choice(False, True)), choice(0, 1)),
        semantic=choice(False, True),
    )
)

SPACES = {"published": SPACE, "small": SMALL}

# ---------------------------------------------------------------------------------- published variants and their files

_MASKS = {"cascade_rcnn": (), "cascade_mask_rcnn": (CascadeMasks(256, 4, False),), "htc": (CascadeMasks(256, 4, True),)}


def _published(detector: str, width: int) -> Published:
    semantic = detector == "htc"
    arch = CascadeRCNN((800, 1216), backbone(width), 256, 256, 1024, 3, _MASKS[detector], semantic, proposals=1000)
    return Published(arch, joints=0, source="mmdetection configs/hrnet")


#: By the names of mmdetection's files.
PUBLISHED: dict[str, Published] = {
    f"{detector}_hrnetv2p_w{width}_{training}_coco": _published(detector, width)
    for detector in _MASKS
    for width in (18, 32, 40)
    for training in ("20e", "28e")
    if training == "20e" or (detector, width) == ("htc", 40)
}


def published() -> dict[str, CascadeRCNN]:
    """The architectures that the authors published, by name."""
    return {name: entry.arch for name, entry in PUBLISHED.items()}


to_json = codec.to_json


def from_json(data: Any) -> CascadeRCNN:
    """The architecture that a JSON value describes.

    Raises:
        ArchitectureError: when something is missing, of a wrong type, or does not fit together.
    """
    arch = codec.from_json(CascadeRCNN, data)
    check_two_stages(arch)
    check_positive(arch, "stages")
    if arch.stages > MOST_STAGES:
        raise ArchitectureError(f"stages is {arch.stages}, it has to be at most {MOST_STAGES}")
    return arch
