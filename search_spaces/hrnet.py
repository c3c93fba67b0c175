"""HRNet: parallel branches of four resolutions with repeated multi-resolution fusion; top-down pose.

Two kinds of pruning keep it a network whose output comes from the branch of highest resolution: a branch may lose its residual
blocks, down to none (the gradual shrinking of Wang et al., "Lite Pose", CVPR 2022, §3.2, which empties the branches of high
resolution), and a stage may lack its branches of lowest resolution, with all that they exchange.

Papers: Sun et al., "Deep High-Resolution Representation Learning for Human Pose Estimation", CVPR 2019; Wang et al., TPAMI 2020.
Parameter names and shapes are those of mmpose's checkpoints or of the authors' own (leoxiaobin/deep-high-resolution-net),
as the architecture's ``layout`` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .layers.branches import BasicBlock, HRTrunk
from .layers.convolutions import near_zero
from .layers.heads import PoseNet, SimpleHead
from .published.catalogue import Published
from .space import ArchitectureError, Space, choice, codec, repeat

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class HRStage:
    """So many ``modules``, each with as many residual ``blocks`` per branch (high resolution first), then an exchange.

    Fewer entries in ``blocks`` mean fewer branches: those of lowest resolution are not in this stage (:class:`.hr.HRTrunk`).
    """

    modules: int
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class HRNet:
    """The backbone. Branch b has ``width`` × 2^b channels at 1 / 4 / 2^b of the resolution.

    Attributes:
        width: channels of the branch of highest resolution.
        stages: with up to two, three and four branches.
        bottlenecks: blocks of the first stage, which has one branch.
        bottleneck_width: channels of their 3×3 convolutions.
        stem_width: channels of the two convolutions that bring the image to a quarter.
        empty_branch: what a branch of no blocks is: nothing, or a 3×3 convolution with BatchNorm and ReLU6 (LitePose's code).
    """

    width: int
    stages: tuple[HRStage, HRStage, HRStage]
    bottlenecks: int = 4
    bottleneck_width: int = 64
    stem_width: int = 64
    empty_branch: Literal["identity", "conv"] = "identity"

    def network(self, multiscale: bool) -> HRNetTrunk:
        """Images (B, 3, H, W) to the features of the highest resolution, or of all four with ``multiscale``.

        Raises:
            ArchitectureError: when all four are asked for and the last stage lacks one.
        """
        if multiscale:
            check_multiscale(self)
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


class HRBranch(nn.Sequential):
    """So many residual blocks, in one of the branches.

    Where there are none it is the identity or, ``empty="conv"``, what LitePose's code leaves: the first convolution and
    BatchNorm of the first block, and ReLU6. They share the weights of these two, but are no block whose rest is zero.
    """

    def __init__(self, width: int, blocks: int, empty: Literal["identity", "conv"]) -> None:
        if blocks or empty == "identity":
            super().__init__(*(BasicBlock(width) for _ in range(blocks)))
        else:
            super().__init__(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))
            self.canonical = {"0": "0.conv1", "1": "0.bn1"}
            self.zero_is_identity = False

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        for layer in self:
            x = layer(x)
        return F.relu6(x) if isinstance(next(self.children(), None), nn.Conv2d) else x


class HRNetTrunk(HRTrunk):
    """The trunk of one architecture; see :class:`~search_spaces.layers.branches.HRTrunk`."""

    def __init__(self, arch: HRNet, multiscale: bool) -> None:
        super().__init__(
            [arch.width * 2**branch for branch in range(4)],
            [[stage.blocks] * stage.modules for stage in arch.stages],
            stem=arch.stem_width,
            bottleneck_blocks=arch.bottlenecks,
            bottleneck_width=arch.bottleneck_width,
            multiscale=multiscale,
            branch=lambda _, width, blocks: HRBranch(width, blocks, arch.empty_branch),
        )


class OriginalNet(HRNetTrunk):
    """The trunk with ``final_layer`` beside its parts, as the authors' checkpoints have it.

    ``forward`` maps images (B, 3, H, W) to heatmaps (B, joints, H/4, W/4).
    """

    def __init__(self, arch: HRNet, joints: int) -> None:
        super().__init__(arch, multiscale=False)
        self.joints = joints
        self.final_layer = near_zero(nn.Conv2d(arch.width, joints, 1))

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]  # a trunk by its names, no longer by its outputs
        """Images (B, 3, H, W), H and W multiples of 32, normalised; see the class for the output."""
        heatmaps: Tensor = self.final_layer(super().forward(images)[0])
        return heatmaps


def build(arch: HRNetPose, joints: int = 17) -> nn.Module:
    """The network of ``arch`` for ``joints`` joints (17: COCO), with random weights: images to (B, joints, H/4, W/4)."""
    if arch.layout == "original":
        return OriginalNet(arch.backbone, joints)
    return PoseNet(arch.backbone, SimpleHead(()), joints)


# ----------------------------------------------------------------------------------------------------------- space


def backbone(
    width: Any,
    modules: tuple[Any, Any, Any] = (1, 4, 3),
    blocks: Any = 4,
    branches: tuple[Any, Any, Any] = (2, 3, 4),
    **rest: Any,
) -> Any:
    """An HRNet, or a tree of them with choices: ``modules`` and ``branches`` of a stage, ``blocks`` of each of its branches."""
    stages = tuple(
        HRStage(count, (blocks,) * number if isinstance(number, int) else repeat(blocks, number))
        for count, number in zip(modules, branches, strict=True)
    )
    return HRNet(width, stages, **rest)  # type: ignore[arg-type]


#: Base width from 16 to 48, which holds W18, W32 and W48 of the paper; none to four blocks for each branch of each stage; the
#: last two stages may lack branches of low resolution, but not all: one branch alone exchanges nothing.
SPACE: Space[HRNetPose] = Space(
    HRNetPose(
        resolution=choice((128, 96), (256, 192), (256, 256), (384, 288)),
        backbone=backbone(
            choice(16, 18, 24, 32, 48),
            (1, choice(1, 2, 3, 4), choice(1, 2, 3)),
            choice(0, 1, 2, 3, 4),
            (2, choice(2, 3), choice(2, 3, 4)),
            bottlenecks=choice(2, 3, 4),
        ),
        layout="mmpose",
    )
)

#: The same family at the size of a laptop.
SMALL: Space[HRNetPose] = Space(
    HRNetPose(
        resolution=choice((96, 64), (128, 96)),
        backbone=backbone(
            choice(8, 12),
            (1, choice(1, 2), choice(1, 2)),
            choice(0, 1, 2),
            (2, choice(2, 3), choice(2, 3, 4)),
            bottlenecks=choice(1, 2),
            bottleneck_width=8,
            stem_width=16,
        ),
        layout="mmpose",
    )
)

SPACES = {"published": SPACE, "small": SMALL}

# ---------------------------------------------------------------------------------- published variants and their files


def _published(width: int, layout: Literal["mmpose", "original"], gmacs: float, params_m: float) -> Published:
    arch = HRNetPose((256, 192), backbone(width), layout)
    return Published(arch, 17, gmacs, "conv_2^30", params_m, "HRNet README, paper table 1")


PUBLISHED: dict[str, Published] = {
    "hrnet_w32_coco_256x192_mmpose": _published(32, "mmpose", 7.10, 28.5),
    "hrnet_w48_coco_256x192_mmpose": _published(48, "mmpose", 14.6, 63.6),
    "hrnet_w32_coco_256x192_leoxiaobin": _published(32, "original", 7.10, 28.5),
    "hrnet_w48_coco_256x192_leoxiaobin": _published(48, "original", 14.6, 63.6),
}


def published() -> dict[str, HRNetPose]:
    """The architectures that the authors published, by name; ``hrnet-w32`` is short for 256×192 (W18 is of their other tasks)."""
    named = {name: entry.arch for name, entry in PUBLISHED.items()}
    short = {f"hrnet-w{width}": HRNetPose((256, 192), backbone(width), "mmpose") for width in (18, 32, 48)}
    return named | short


to_json = codec.to_json


def from_json(data: Any) -> HRNetPose:
    """The architecture that a JSON value describes.

    Raises:
        ArchitectureError: when something is missing, of a wrong type, or does not fit together.
    """
    arch = codec.from_json(HRNetPose, data)
    check_backbone(arch.backbone)
    check_resolution(arch.resolution)
    return arch


def check_backbone(arch: HRNet) -> None:
    """Raise an ArchitectureError for numbers of branches or layers that no HRNet has."""
    check_stages(arch.stages, "backbone.", complete=False)
    check_positive(arch, "width", "bottlenecks", "bottleneck_width", "stem_width", place="backbone.")


def check_stages(stages: tuple[HRStage, ...], place: str = "", *, complete: bool = True) -> None:
    """Raise an ArchitectureError unless stage s (from 0) has a module, and s + 2 branches, or 1 to s + 2 if not ``complete``."""
    for index, stage in enumerate(stages):
        name, most, entries = f"{place}stages[{index}]", index + 2, len(stage.blocks)
        if not (most if complete else 1) <= entries <= most:
            allowed = f"{most}" if complete else f"1 to {most}"
            raise ArchitectureError(f"{name}.blocks has {entries} entries, it has to have {allowed}")
        check_positive(stage, "modules", place=f"{name}.")


def check_multiscale(arch: HRNet) -> None:
    """Raise an ArchitectureError unless the last stage has all four resolutions."""
    entries = len(arch.stages[-1].blocks)
    if entries < 4:
        raise ArchitectureError(
            f"backbone.stages[2].blocks has {entries} entries, it has to have 4: the head reads all four resolutions"
        )


def check_positive(arch: Any, *names: str, place: str = "") -> None:
    """Raise an ArchitectureError when one of the fields is zero."""
    for name in names:
        if getattr(arch, name) < 1:
            raise ArchitectureError(f"{place}{name} is {getattr(arch, name)}, it has to be at least 1")


def check_resolution(resolution: tuple[int, int], smallest: int = 32) -> None:
    """Raise an ArchitectureError unless height and width are multiples of 32 and at least ``smallest`` pixels."""
    for side in resolution:
        if side % 32 or side < smallest:
            raise ArchitectureError(f"resolution has {side}, it has to be a multiple of 32 from {smallest} pixels on")
