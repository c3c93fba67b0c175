"""LitePose for one person in a box: its large-kernel backbone, and its fusion deconvolutions up to one set of heatmaps.

The backbone is that of Wang et al., "Lite Pose: Efficient Architecture Design for 2D Human Pose Estimation", CVPR 2022
(:mod:`search_spaces.litepose`), whose own networks are bottom-up. Without tags and without the second, finer output the
head is a third of theirs. The inputs of the spaces are square: half of the people of a sports dataset are wider than tall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .layers.branches import Features
from .layers.convolutions import SeparableHead
from .layers.heads import PoseNet
from .litepose import Block, LitePoseTrunk, Stage, doubling
from .published.catalogue import Published
from .space import ArchitectureError, Space, choice, codec, repeat

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class LitePoseBackbone:
    """Channels of the stem, and the stages: at 1/4, 1/8 and 1/16 of the resolution, and one more there."""

    input_width: int
    stages: tuple[Stage, ...]

    def network(self, multiscale: bool) -> LitePoseFeatures:
        """See :class:`LitePoseFeatures`."""
        return LitePoseFeatures(self.input_width, self.stages, multiscale)


@dataclass(frozen=True)
class FusionHead:
    """Channels of the transposed convolutions, each of which adds what a stage before the last one says at its resolution."""

    deconv_width: tuple[int, ...]

    @property
    def multiscale(self) -> bool:
        """It reads all stages."""
        return True

    def network(self, widths: Sequence[int], joints: int) -> nn.Module:
        """See :class:`FusionHeadNet`."""
        return FusionHeadNet(widths, self.deconv_width, joints)


@dataclass(frozen=True)
class LitePoseTopDown:
    """A LitePose backbone with its head. ``resolution`` is height and width of the input in pixels, multiples of 16."""

    resolution: tuple[int, int]
    backbone: LitePoseBackbone
    head: FusionHead

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


# --------------------------------------------------------------------------------------------------------- network

DECONVS = 2  # every transposed convolution doubles the map: 1/16 -> 1/8 -> 1/4


class LitePoseFeatures(LitePoseTrunk):
    """The backbone: ``forward`` returns the outputs of the stages, high resolution first, or that of the last one alone."""

    def __init__(self, input_width: int, stages: Sequence[Stage], multiscale: bool) -> None:
        super().__init__(input_width, stages)
        self.first_returned = 1 if multiscale else len(stages)
        self.widths = self.widths[self.first_returned :]

    def forward(self, images: Tensor) -> Features:
        """Images (B, 3, H, W), H and W multiples of 16, to features (B, widths[s], …)."""
        return self.features(images)[self.first_returned :]


class FusionHeadNet(nn.Module):
    """Features of the stages, high resolution first and the last two of one size, to heatmaps (B, joints, H/4, W/4)."""

    def __init__(self, widths: Sequence[int], deconv_width: Sequence[int], joints: int) -> None:
        super().__init__()
        skips = widths[-2::-1]  # the stages before the last one, deepest first
        refined = [widths[-1], *deconv_width]
        count = len(deconv_width)
        self.deconv_refined = nn.ModuleList(doubling(refined[i], refined[i + 1]) for i in range(count))
        self.deconv_raw = nn.ModuleList(doubling(skips[i], refined[i + 1]) for i in range(count))
        self.deconv_bnrelu = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True)) for width in deconv_width
        )
        self.final_refined = SeparableHead(refined[-1], joints)
        self.final_raw = SeparableHead(skips[count], joints)

    def forward(self, features: Features) -> Tensor | list[Tensor]:
        """See the class."""
        refined, skips = features[-1], features[-2::-1]
        for index, join in enumerate(self.deconv_bnrelu):
            refined = join(self.deconv_refined[index](refined) + self.deconv_raw[index](skips[index]))
        heatmaps: Tensor = self.final_refined(refined) + self.final_raw(skips[len(self.deconv_bnrelu)])
        return heatmaps


def build(arch: LitePoseTopDown, joints: int = 17) -> PoseNet:
    """The network of ``arch``, with random weights; ``forward`` maps images (B, 3, H, W) to heatmaps (B, joints, H/4, W/4)."""
    return PoseNet(arch.backbone, arch.head, joints)


# ----------------------------------------------------------------------------------------------------------- space

_STRIDES = (2, 2, 2, 1)


def _space(
    resolution: Any, input_width: Any, widths: Sequence[Any], depths: Sequence[Any], block: Block, deconv: Sequence[Any]
) -> Space[LitePoseTopDown]:
    stages = tuple(
        Stage(width, stride, repeat(block, depth))
        for width, stride, depth in zip(widths, _STRIDES, depths, strict=True)
    )
    return Space(LitePoseTopDown(resolution, LitePoseBackbone(input_width, stages), FusionHead(tuple(deconv))))


#: LitePose's widths and strides, kernel and expansion of each block, depth of each stage, and square inputs.
SPACE = _space(
    choice((128, 128), (192, 192), (256, 256)),
    choice(16, 24),
    (choice(16, 24, 32), choice(32, 48, 64), choice(48, 72, 96), choice(80, 120, 160)),
    (choice(1, 2, 4, 6), choice(2, 4, 6, 8), choice(2, 4, 7, 10), choice(1, 4, 7, 10)),
    Block(choice(2, 4, 6), choice(3, 5, 7, 9)),
    (choice(32, 48, 64), choice(24, 32, 48)),
)

#: The same family at the size of a laptop: 96×96 pixels.
SMALL = _space(
    (96, 96),
    16,
    (choice(16, 24, 32), choice(24, 32, 48), choice(40, 56, 80), choice(64, 96, 128)),
    (choice(1, 2, 3, 4, 5),) * 4,
    Block(choice(2, 4), choice(3, 5, 7, 9)),
    (choice(24, 32, 48), choice(24, 32, 48)),
)

SPACES = {"wide": SPACE, "small": SMALL}

# ---------------------------------------------------------------------------------- published variants and their files

PUBLISHED: dict[str, Published] = {}


def published() -> dict[str, LitePoseTopDown]:
    """None: the authors' networks are bottom-up."""
    return {}


to_json = codec.to_json


def from_json(data: Any) -> LitePoseTopDown:
    """The architecture that a JSON value describes.

    Raises:
        ArchitectureError: when a field is missing or has no possible value; one line that names it.
    """
    arch = codec.from_json(LitePoseTopDown, data)
    if any(side == 0 or side % 16 for side in arch.resolution):
        raise ArchitectureError(f"resolution is {arch.resolution}, it has to be two multiples of 16, height and width")
    if len(arch.backbone.stages) != len(_STRIDES) or len(arch.head.deconv_width) != DECONVS:
        raise ArchitectureError(
            f"LitePose has 4 stages and this head 2 transposed convolutions, "
            f"not {len(arch.backbone.stages)} and {len(arch.head.deconv_width)}"
        )
    strides = tuple(stage.stride for stage in arch.backbone.stages)
    if strides != _STRIDES:
        raise ArchitectureError(f"the strides of the stages are {strides}, they have to be {_STRIDES}")
    for index, stage in enumerate(arch.backbone.stages):
        if not stage.blocks or stage.width == 0:
            raise ArchitectureError(
                f"backbone.stages[{index}] has width {stage.width} and {len(stage.blocks)} blocks, each has to be at least 1"
            )
        for block in stage.blocks:
            if block.expansion == 0 or block.kernel % 2 == 0:
                raise ArchitectureError(
                    f"backbone.stages[{index}] has expansion {block.expansion} and kernel {block.kernel}, "
                    "the expansion has to be at least 1 and the kernel odd"
                )
    if arch.backbone.input_width == 0 or 0 in arch.head.deconv_width:
        raise ArchitectureError(
            f"input_width is {arch.backbone.input_width} and deconv_width {arch.head.deconv_width}, "
            "every width has to be at least 1"
        )
    return arch
