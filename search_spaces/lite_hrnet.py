"""Lite-HRNet: HRNet's branches with conditional channel weighting in place of 1×1 convolutions.

Paper: Yu et al., "Lite-HRNet: A Lightweight High-Resolution Network", CVPR 2021. Parameter names and shapes are those of the
authors' checkpoints (HRNet/Lite-HRNet).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from .layers.branches import Features
from .layers.convolutions import SqueezeExcite, conv_bn
from .layers.heads import PoseNet, SimpleHead
from .layers.lite import LIVE, LiteArchitecture, LiteTrunk, check, interleave, with_branches
from .published.catalogue import Published
from .space import Space, choice, codec, repeat

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class Block:
    """One layer over all branches.

    Attributes:
        kernel: side of the depthwise kernels.
        squeeze: share of all branches' channels that the weighting across resolutions keeps (the published reduction of 8 is
            0.125).
    """

    kernel: int
    squeeze: float


@dataclass(frozen=True)
class Module:
    """Blocks, then an exchange between the branches."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Stage:
    """Modules on so many ``branches``, the highest resolutions."""

    branches: int
    modules: tuple[Module, ...]


@dataclass(frozen=True)
class LiteHRNet(LiteArchitecture):
    """A Lite-HRNet architecture: what WideHRNet has too, and stages of two, three and four branches."""

    stages: tuple[Stage, ...]

    def network(self, multiscale: bool) -> LiteTrunk:
        """The backbone. Its own head has gathered all resolutions into one, so that is all there is to return."""
        del multiscale
        return LiteTrunk(self, self.stages, ConditionalWeighting)


# --------------------------------------------------------------------------------------------------------- network

SPATIAL_SQUEEZE = 4  # one branch's own weighting keeps a quarter of its channels


class CrossResolutionWeighting(nn.Module):
    """Every channel of every branch weighed by what all branches say at the lowest resolution.

    Args:
        widths: of the branches.
        squeeze: see :class:`Block`.
        lowest: the branch whose resolution is meant; it may be pruned, its resolution stays.
    """

    def __init__(self, widths: Sequence[int], squeeze: float, lowest: int) -> None:
        super().__init__()
        self.widths, total = list(widths), sum(widths)
        self.scales = [2 ** (lowest - branch) for branch in range(len(widths))]
        squeezed = max(1, int(total * squeeze))
        self.conv1 = conv_bn(total, squeezed, 1, act=nn.ReLU, keys="named")
        self.conv2 = conv_bn(squeezed, total, 1, act=nn.Sigmoid, keys="named")

    def forward(self, features: Features) -> Features:
        """Features [(B, widths[b], h / 2^b, w / 2^b), …] to the same."""
        pooled = [F.avg_pool2d(x, scale) if scale > 1 else x for x, scale in zip(features, self.scales, strict=True)]
        weights = self.conv2(self.conv1(torch.cat(pooled, 1))).split(self.widths, 1)
        return [
            x * (F.interpolate(weight, scale_factor=float(scale), mode="nearest") if scale > 1 else weight)
            for x, weight, scale in zip(features, weights, self.scales, strict=True)
        ]


class ConditionalWeighting(nn.Module):
    """The paper's conditional channel weighting (§3.2), on the second half of the channels of every branch.

    Weighting across resolutions, a depthwise convolution and a weighting within the branch; then the halves are interleaved.
    """

    def __init__(self, block: Block, widths: Sequence[int], lowest: int) -> None:
        super().__init__()
        halves = [width // 2 for width in widths]
        self.cross_resolution_weighting = CrossResolutionWeighting(halves, block.squeeze, lowest)
        self.depthwise_convs = nn.ModuleList(
            conv_bn(half, half, block.kernel, groups=half, act=None, keys="named") for half in halves
        )
        self.spatial_weighting = nn.ModuleList(
            SqueezeExcite(half, half // SPATIAL_SQUEEZE, names=("conv1.conv", "conv2.conv")) for half in halves
        )
        for layers in (self.depthwise_convs, self.spatial_weighting):
            layers.zero_is_identity = False  # type: ignore[assignment]  # a branch that waits is not shuffled

    def forward(self, features: Features) -> Features:
        """The first ``widths`` branches changed, the others as they are."""
        halves = [x.chunk(2, 1) for x in features[: len(self.cross_resolution_weighting.widths)]]
        weighed = self.cross_resolution_weighting([changed for _, changed in halves])
        out = [
            interleave(kept, weigh(convolve(x)))
            for (kept, _), x, convolve, weigh in zip(
                halves, weighed, self.depthwise_convs, self.spatial_weighting, strict=False
            )
        ]
        return [*out, *features[len(out) :]]


def build(arch: LiteHRNet, joints: int = 17) -> PoseNet:
    """The network of ``arch`` for ``joints`` joints (16: MPII, 17: COCO), with random weights.

    ``forward`` maps images (B, 3, H, W) to heatmaps (B, joints, H/4, W/4).
    """
    return PoseNet(arch, SimpleHead(()), joints)


# ----------------------------------------------------------------------------------------------------------- space


def _stage(branches: Any, depth: Any, blocks: Any, block: Block) -> Stage:
    return Stage(branches, repeat(Module(blocks=repeat(block, blocks)), depth))


_STEM, _WIDTHS = 32, (40, 80, 160, 320)
_BLOCK = Block(kernel=choice(3, 5, 7), squeeze=choice(0.0625, 0.125, 0.25))

#: The published networks and what lies between and around them. Widths are fixed, see :mod:`search_spaces.layers.lite`;
#: besides, the weights across resolutions are one layer's outputs for all branches, of which only whole ones can be left out.
SPACE: Space[LiteHRNet] = Space(
    LiteHRNet(
        resolution=choice((256, 192), (256, 256), (384, 288)),
        stem=_STEM,
        widths=_WIDTHS,
        exchange="in_place",
        stages=tuple(
            _stage(branches, depth, choice(1, 2), _BLOCK)
            for branches, depth in zip(LIVE, (choice(2, 3), choice(4, 6, 8), choice(2, 3)), strict=True)
        ),
    )
)

#: The published space with the sum that the papers write in place of the one that their programs compute.
CLEAN: Space[LiteHRNet] = Space(replace(SPACE.tree, exchange="sum"))

#: The same family at the size of a laptop, with the exchange of the paper.
SMALL: Space[LiteHRNet] = Space(
    LiteHRNet(
        resolution=choice((128, 96), (192, 160)),
        stem=32,
        widths=(32, 64, 128, 256),
        exchange="sum",
        stages=tuple(
            _stage(branches, depth, choice(1, 2), Block(kernel=choice(3, 5), squeeze=choice(0.125, 0.25)))
            for branches, depth in zip(LIVE, (choice(1, 2), choice(1, 2, 3), choice(1, 2)), strict=True)
        ),
    )
)

SPACES = {"published": SPACE, "clean": CLEAN, "small": SMALL}

# ---------------------------------------------------------------------------------------------- published variants


def _lite(modules: Sequence[int]) -> LiteHRNet:
    module = Module((Block(kernel=3, squeeze=0.125),) * 2)
    stages = tuple(Stage(branches, (module,) * count) for branches, count in enumerate(modules, 2))
    return LiteHRNet((256, 192), _STEM, _WIDTHS, "in_place", stages)


#: 18 and 30 count the modules as the authors do.
PUBLISHED: dict[str, Published] = {
    "litehrnet_18_coco_256x192": Published(_lite((2, 4, 2)), 17, 0.2052, "torchstat", 1.1, "Lite-HRNet README"),
    "litehrnet_30_coco_256x192": Published(_lite((3, 8, 3)), 17, 0.3192, "torchstat", 1.8, "Lite-HRNet README"),
}


def published() -> dict[str, LiteHRNet]:
    """The architectures that the authors published, by the names of their configurations."""
    return {name: entry.arch for name, entry in PUBLISHED.items()}


# ----------------------------------------------------------------------------------------------------------- files

to_json = codec.to_json


def from_json(data: Any) -> LiteHRNet:
    """The architecture of a JSON value.

    Raises:
        ArchitectureError: when something is missing, of a wrong type, or cannot be built; one line that names the place.
    """
    arch = codec.from_json(LiteHRNet, with_branches(data))
    check(arch, arch.stages)
    return arch
