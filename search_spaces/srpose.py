"""SRPose: a light super-resolution head, coarse to fine over the levels of any backbone, and the heads it is compared with.

Paper: Wang et al., "Lightweight Super-Resolution Head for Human Pose Estimation", ACM MM 2023. Parameter names and shapes are
those of the authors' checkpoints (haonanwang0522/SRPose, on mmpose 0.x), which therefore load without conversion.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from . import hrformer, hrnet, resnet, transpose
from .hrformer import HRFORMER_S, HRFormer, HRFormerPose
from .hrnet import HRNet, HRNetPose
from .layers.heads import BottomUpSimpleHead, BottomUpSRHead, PoseNet, SimpleHead, SRHead
from .layers.super_resolution import SRPoseHead
from .published.catalogue import Published
from .resnet import RESNET50, ResNet, ResNetPose
from .space import ArchitectureError, Space, choice, codec
from .transpose import TRANSPOSE_R_A4, TransPose, TransPoseR

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class SRPose:
    """Any backbone with any head.

    Attributes:
        resolution: height and width of the input in pixels, multiples of 32.
        backbone: makes features of the image.
        head: makes heatmaps of the features; those for several people (bottom-up) make tags too.
    """

    resolution: tuple[int, int]
    backbone: ResNet | HRNet | HRFormer | TransPose
    head: SRPoseHead | SRHead | SimpleHead | BottomUpSRHead | BottomUpSimpleHead

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


# --------------------------------------------------------------------------------------------------------- network


def build(arch: SRPose, joints: int = 17) -> PoseNet:
    """The network of ``arch`` for ``joints`` joints (17: COCO), with random weights."""
    return PoseNet(arch.backbone, arch.head, joints)


# ----------------------------------------------------------------------------------------------------------- space

_RESOLUTION = choice((128, 96), (256, 192), (384, 288))

#: The head of the paper and what is smaller: channels and blocks of its levels, a joint's embedding, and which levels are
#: supervised (those with an embedding; but for the last level, only training and the parameters depend on it). Kernels and
#: upscaling follow the level.
_TREE = SRPoseHead(
    width=(choice(128, 192, 256), choice(64, 96, 128), choice(32, 48, 64), choice(16, 24, 32)),
    embedding=(choice(0, 8, 16), choice(0, 4, 8), choice(0, 2, 4), choice(2, 4)),
    upscale=(8, 4, 2, 4),
    blocks=(choice(1, 2),) * 3,
)

#: HRNet with that head: widths and depths of both, and the resolution. ``backbone.*`` restricted to its largest options is
#: the published HRNet-W32.
SPACE: Space[SRPose] = Space(
    SRPose(
        resolution=_RESOLUTION,
        backbone=hrnet.backbone(choice(16, 24, 32), (1, choice(2, 3, 4), choice(1, 2, 3)), choice(2, 3, 4)),
        head=_TREE,
    )
)

#: The same at the size of a laptop; heatmaps have half the resolution of the input.
SMALL: Space[SRPose] = Space(
    SRPose(
        resolution=choice((96, 64), (128, 96)),
        backbone=hrnet.backbone(
            choice(8, 12, 16), (1, 1, 1), choice(1, 2), bottlenecks=1, bottleneck_width=8, stem_width=16
        ),
        head=SRPoseHead(
            width=(choice(32, 48), choice(24, 32), choice(16, 24), choice(8, 12)),
            embedding=(choice(0, 4), choice(0, 2, 4), choice(0, 2), choice(1, 2)),
            upscale=(4, 4, 2, 2),
            blocks=(choice(1, 2),) * 3,
        ),
    )
)

SPACES = {
    "published": SPACE,
    "small": SMALL,
    "res50": Space(SRPose(_RESOLUTION, RESNET50, _TREE)),
    "hrformer_small": Space(SRPose(_RESOLUTION, HRFORMER_S, _TREE)),
}

# ---------------------------------------------------------------------------------- published variants and their files

_HRNET = hrnet.backbone(32)
_HEAD = SRPoseHead((256, 128, 64, 32), (16, 8, 4, 4), (8, 4, 2, 4), (2,) * 3)
_DECONVS = (256,) * 3  # behind a backbone that ends at 1/32 of the resolution


def _entry(resolution: tuple[int, int], backbone: Any, head: Any, gmacs: float, params_m: float) -> Published:
    return Published(SRPose(resolution, backbone, head), 17, gmacs, "mmcv", params_m, "SRPose README")


#: Parameters of the SRPose head are published without what only training needs: 0.318 M more are built.
PUBLISHED: dict[str, Published] = {
    "srpose_res50_coco_256x192": _entry((256, 192), RESNET50, _HEAD, 4.61, 24.80),
    "srpose_hrnet_w32_coco_256x192": _entry((256, 192), _HRNET, _HEAD, 8.28, 29.95),
    "srpose_hrformer_small_coco_256x192": _entry((256, 192), HRFORMER_S, _HEAD, 3.34, 8.86),
    "simple_hrnet_w32_coco_256x192": _entry((256, 192), _HRNET, SimpleHead(()), 7.70, 28.54),
    "bottomup_sr_res50_coco_512x512": _entry((512, 512), RESNET50, BottomUpSRHead(_DECONVS, 4, 4), 30.86, 34.11),
    "bottomup_sr_hrnet_w32_coco_512x512": _entry((512, 512), _HRNET, BottomUpSRHead((), 4, 4), 42.57, 28.63),
    "bottomup_simple_res50_coco_512x512": _entry((512, 512), RESNET50, BottomUpSimpleHead(_DECONVS), 29.20, 34.00),
    "bottomup_simple_hrnet_w32_coco_512x512": _entry((512, 512), _HRNET, BottomUpSimpleHead(()), 41.10, 28.54),
}

#: In the paper's table without a configuration in its repository: their parameters say that they are these, to all digits, once
#: HRFormer is counted with all its levels. What only training needs at the coarser level of the last one is a guess.
_COUNTED = {
    "sr_res50_coco_256x192": SRPose((256, 192), RESNET50, SRHead(_DECONVS, 4, 4)),
    "sr_hrnet_w32_coco_256x192": SRPose((256, 192), _HRNET, SRHead((), 4, 4)),
    "sr_hrformer_small_coco_256x192": SRPose((256, 192), HRFORMER_S, SRHead((), 4, 4)),
    "sr_transpose_r_a4_coco_256x192": SRPose((256, 192), TRANSPOSE_R_A4, SRHead((256,), 4, 4)),
    "srpose_transpose_r_a4_coco_256x192": SRPose(
        (256, 192), TRANSPOSE_R_A4, SRPoseHead((256, 128), (4, 4), (2, 4), (2,))
    ),
}


def published() -> dict[str, SRPose]:
    """The architectures that the authors published, by name."""
    return {name: entry.arch for name, entry in PUBLISHED.items()} | _COUNTED


to_json = codec.to_json


def from_json(data: Any) -> SRPose:
    """The architecture that a JSON value describes.

    Raises:
        ArchitectureError: when something is missing, unknown, of a wrong type or does not fit; one line with the place.
    """
    arch = codec.from_json(SRPose, _without_supervised(data))
    may_be_0 = ("blocks", "embedding") if isinstance(arch.head, SRPoseHead) else ()
    for field in fields(arch.head):
        value = getattr(arch.head, field.name)
        entries = value if isinstance(value, tuple) else (value,)
        if field.name not in may_be_0 and 0 in entries:
            raise ArchitectureError(f"head.{field.name} is {value}, it has to be at least 1 throughout")
    if isinstance(arch.head, SRPoseHead):
        arch.head.check(levels=2 if isinstance(arch.backbone, TransPose) else 4)
    _check_backbone(arch.resolution, arch.backbone)
    return arch


def _without_supervised(data: Any) -> Any:
    """The JSON value of an architecture; older files say with true and false which levels of the head are supervised."""
    head = data.get("head") if isinstance(data, dict) else None
    if not (isinstance(head, dict) and isinstance(head.get("supervised"), list)):
        return data
    shown, embedding = head["supervised"], head.get("embedding")
    if not isinstance(embedding, list) or len(embedding) != len(shown):
        raise ArchitectureError(f"head.supervised is {shown}, it has to have an entry for each of head.embedding")
    kept = [width if supervised else 0 for width, supervised in zip(embedding, shown, strict=True)]
    return {**data, "head": {key: kept if key == "embedding" else head[key] for key in head if key != "supervised"}}


def _check_backbone(resolution: tuple[int, int], backbone: ResNet | HRNet | HRFormer | TransPose) -> None:
    """Read the backbone, and the resolution with it, as the backbone's own family reads them.

    Raises:
        ArchitectureError: when that family refuses them.
    """
    match backbone:
        case ResNet():
            resnet.from_json(to_json(ResNetPose(resolution, backbone, SimpleHead(()))))
        case HRNet():
            hrnet.from_json(to_json(HRNetPose(resolution, backbone, "mmpose")))
        case HRFormer():
            hrformer.from_json(to_json(HRFormerPose(resolution, backbone, SimpleHead(()))))
        case TransPose():
            transpose.from_json(to_json(TransPoseR(resolution, backbone, ())))
