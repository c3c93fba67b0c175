"""WideHRNet: Lite-HRNet's branches with wide inverted bottlenecks, with or without squeeze-and-excitation.

Paper: Samkari et al., "WideHRNet: an Efficient Model for Human Pose Estimation Using Wide Channels in Lightweight High-Resolution
Network", IEEE Access 2024. Parameter names and shapes are those of the authors' checkpoints (IsraaSamkari/WideHRNet).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from .layers.branches import Features
from .layers.convolutions import InvertedResidual, SqueezeExcite, make_divisible
from .layers.heads import PoseNet, SimpleHead
from .layers.lite import LIVE, LiteArchitecture, LiteTrunk, check, interleave, with_branches
from .published.catalogue import Published
from .space import ArchitectureError, Space, choice, codec, repeat

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class Block:
    """One layer, the same on every branch.

    Attributes:
        expansion: hidden channels per channel of the half that is changed.
        kernel: side of the depthwise kernel.
        squeeze: share of the hidden channels that squeeze-and-excitation keeps (the published reduction of 4 is 0.25); 0: none.
    """

    expansion: int
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
class WideHRNet(LiteArchitecture):
    """A WideHRNet architecture: what Lite-HRNet has too, and stages of two, three and four branches."""

    stages: tuple[Stage, ...]

    def network(self, multiscale: bool) -> LiteTrunk:
        """The backbone. Its own head has gathered all resolutions into one, so that is all there is to return."""
        del multiscale
        return LiteTrunk(self, self.stages, lambda block, widths, lowest: WideBlock(block, widths))


# --------------------------------------------------------------------------------------------------------- network


class WideBlock(nn.Module):
    """On every branch, an inverted bottleneck changes the second half of the channels; then the halves are interleaved."""

    def __init__(self, block: Block, widths: Sequence[int]) -> None:
        super().__init__()
        self.invertRes = nn.ModuleList(_inverted_residual(block, width // 2) for width in widths)
        self.invertRes.zero_is_identity = False  # type: ignore[assignment]  # a branch that waits is not shuffled

    def forward(self, features: Features) -> Features:
        """The first ``widths`` branches changed, the others as they are."""
        out = []
        for change, x in zip(self.invertRes, features, strict=False):
            kept, changed = x.chunk(2, 1)
            out.append(interleave(kept, change(changed)))
        return [*out, *features[len(out) :]]


def _inverted_residual(block: Block, width: int) -> InvertedResidual:
    hidden = width * block.expansion
    squeeze = SqueezeExcite(hidden, make_divisible(int(hidden * block.squeeze))) if block.squeeze else None
    return InvertedResidual(width, width, hidden, block.kernel, 1, act=nn.ReLU, squeeze=squeeze, names="mmpose")


def build(arch: WideHRNet, joints: int = 17) -> PoseNet:
    """The network of ``arch`` for ``joints`` joints (16: MPII, 17: COCO), with random weights.

    ``forward`` maps images (B, 3, H, W) to heatmaps (B, joints, H/4, W/4).
    """
    return PoseNet(arch, SimpleHead(()), joints)


# ----------------------------------------------------------------------------------------------------------- space


def _stage(branches: Any, depth: Any, blocks: Any, block: Block) -> Stage:
    return Stage(branches, repeat(Module(blocks=repeat(block, blocks)), depth))


_STEM, _WIDTHS = 32, (40, 80, 160, 320)
_BLOCK = Block(expansion=choice(1, 2, 4, 6), kernel=choice(3, 5, 7), squeeze=choice(0.0, 0.125, 0.25, 0.5))

#: The published networks and what lies between and around them, down to half of their widths.
SPACE: Space[WideHRNet] = Space(
    WideHRNet(
        resolution=choice((256, 192), (256, 256), (384, 288)),
        stem=_STEM,
        widths=tuple(choice(width // 2, width * 3 // 4, width) for width in _WIDTHS),
        exchange="in_place",
        stages=tuple(
            _stage(branches, depth, choice(1, 2), _BLOCK)
            for branches, depth in zip(LIVE, (choice(2, 3), choice(4, 6, 8), choice(2, 3)), strict=True)
        ),
    )
)

#: The published space with the sum that the papers write in place of the one that their programs compute.
CLEAN: Space[WideHRNet] = Space(replace(SPACE.tree, exchange="sum"))

#: The same family at the size of a laptop, with the exchange of the paper.
SMALL: Space[WideHRNet] = Space(
    WideHRNet(
        resolution=choice((96, 64), (128, 96)),
        stem=16,
        widths=(16, choice(24, 32), choice(48, 64), choice(96, 128)),
        exchange="sum",
        stages=tuple(
            _stage(
                branches,
                depth,
                choice(1, 2),
                Block(expansion=choice(1, 2, 4), kernel=choice(3, 5), squeeze=choice(0.0, 0.25)),
            )
            for branches, depth in zip(LIVE, (1, choice(1, 2), choice(1, 2)), strict=True)
        ),
    )
)

SPACES = {"published": SPACE, "clean": CLEAN, "small": SMALL}

#: Choices whose smaller options are no aligned part of larger ones, see :mod:`search_spaces.layers.lite`.
UNALIGNED = ("widths",)

# ---------------------------------------------------------------------------------------------- published variants


def _wide(resolution: tuple[int, int], modules: Sequence[int], squeeze: float) -> WideHRNet:
    module = Module((Block(expansion=4, kernel=3, squeeze=squeeze),) * 2)
    stages = tuple(Stage(branches, (module,) * count) for branches, count in enumerate(modules, 2))
    return WideHRNet(resolution, _STEM, _WIDTHS, "in_place", stages)


_18, _30 = (2, 4, 2), (3, 8, 3)
_README = "WideHRNet README"

#: 18 and 30 count the modules as the authors do; ``se`` has squeeze-and-excitation.
PUBLISHED: dict[str, Published] = {
    "widehrnet_18_mpii_256x256": Published(_wide((256, 256), _18, 0.0), 16, 0.96, "torchstat", 2.7, _README),
    "widehrnet_18_se_mpii_256x256": Published(_wide((256, 256), _18, 0.25), 16, 0.97, "torchstat", 4.4, _README),
    "widehrnet_18_se_coco_256x192": Published(
        _wide((256, 192), _18, 0.25),
        17,
        0.9,
        "torchstat",
        4.4,
        _README,
        irreproducible="0.73 at 256×192 by the authors' counter, whose default of 256×256 gives 0.97",
    ),
    "widehrnet_18_se_coco_384x288": Published(_wide((384, 288), _18, 0.25), 17, 1.6, "torchstat", 4.4, _README),
    "widehrnet_30_mpii_256x256": Published(_wide((256, 256), _30, 0.0), 16),
    "widehrnet_30_se_mpii_256x256": Published(_wide((256, 256), _30, 0.25), 16),
    "widehrnet_30_se_coco_256x192": Published(_wide((256, 192), _30, 0.25), 17, 1.21, "torchstat", 7.19, _README),
}

_SHORT = {
    "widehrnet-18": "widehrnet_18_mpii_256x256",
    "widehrnet-18-se": "widehrnet_18_se_coco_256x192",
    "widehrnet-30": "widehrnet_30_mpii_256x256",
    "widehrnet-30-se": "widehrnet_30_se_coco_256x192",
}


def published() -> dict[str, WideHRNet]:
    """The architectures that the authors published, by the names of their configurations and by short ones."""
    named = {name: entry.arch for name, entry in PUBLISHED.items()}
    return named | {short: named[name] for short, name in _SHORT.items()}


# ----------------------------------------------------------------------------------------------------------- files

to_json = codec.to_json


def from_json(data: Any) -> WideHRNet:
    """The architecture of a JSON value.

    Raises:
        ArchitectureError: when something is missing, of a wrong type, or cannot be built; one line that names the place.
    """
    arch = codec.from_json(WideHRNet, with_branches(data))
    check(arch, arch.stages)
    if any(block.expansion < 1 for stage in arch.stages for module in stage.modules for block in module.blocks):
        raise ArchitectureError("expansion is 0 in one of the blocks, it has to be at least 1")
    return arch
