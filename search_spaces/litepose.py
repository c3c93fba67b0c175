"""LitePose: single-branch bottom-up pose network with large kernels and a fusion deconvolution head.

Paper: Wang et al., "Lite Pose: Efficient Architecture Design for 2D Human Pose Estimation", CVPR 2022. Parameter names and
shapes are those of the authors' checkpoints (mit-han-lab/litepose), which therefore load without conversion.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .layers.convolutions import InvertedResidual, SeparableHead, conv_bn, make_divisible
from .published import litepose_superconfig, litepose_supernet
from .published.catalogue import Published
from .space import Space, choice, repeat

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class Block:
    """One inverted bottleneck: hidden width = ``expansion`` × input width (rounded to 8), ``kernel`` × ``kernel``."""

    expansion: int
    kernel: int


@dataclass(frozen=True)
class Stage:
    """Blocks of equal width; the first one has the stride."""

    width: int
    stride: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class LitePose:
    """A LitePose architecture. ``resolution`` is the side of the (square) input in pixels."""

    resolution: int
    input_width: int
    stages: tuple[Stage, ...]
    deconv_width: tuple[int, ...]

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution, self.resolution


# --------------------------------------------------------------------------------------------------------- network

STEM_WIDTH = 32
DECONVS = 3  # every deconvolution doubles the map: 1/16 -> 1/8 -> 1/4 -> 1/2


class LitePoseTrunk(nn.Module):
    """Stem to half of the resolution and the stages.

    Attributes:
        widths: channels of what :meth:`features` returns.
    """

    def __init__(self, input_width: int, stages: Sequence[Stage]) -> None:
        super().__init__()
        self.first = nn.Sequential(
            conv_bn(3, STEM_WIDTH, 3, stride=2),
            conv_bn(STEM_WIDTH, STEM_WIDTH, 3, groups=STEM_WIDTH),
            nn.Conv2d(STEM_WIDTH, input_width, 1, bias=False),
            nn.BatchNorm2d(input_width),
        )
        width, made = input_width, []
        for stage in stages:
            blocks = []
            for index, block in enumerate(stage.blocks):
                hidden = make_divisible(round(width * block.expansion))
                stride = stage.stride if index == 0 else 1
                blocks.append(InvertedResidual(width, stage.width, hidden, block.kernel, stride))
                width = stage.width
            made.append(nn.Sequential(*blocks))
        self.stage = nn.ModuleList(made)
        self.widths = (input_width, *(stage.width for stage in stages))

    def features(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) to the outputs of the stem (B, widths[0], H/2, W/2) and of each stage."""
        features = [self.first(images)]
        for stage in self.stage:
            features.append(stage(features[-1]))
        return features


class LitePoseNet(LitePoseTrunk):
    """The network of one architecture.

    ``forward`` maps images (B, 3, H, W) to a list: heatmaps then tags (B, 2 joints, H/4, W/4), heatmaps (B, joints, H/2, W/2).
    """

    def __init__(self, arch: LitePose, joints: int, reorganize: bool) -> None:
        super().__init__(arch.input_width, arch.stages)
        self.joints, self.reorganize = joints, reorganize
        widths, width = self.widths, self.widths[-1]
        skips = widths[-2::-1]  # the stages before the last one, deepest first, then the stem
        refined = [width, *arch.deconv_width]
        self.deconv_refined = nn.ModuleList(doubling(refined[i], refined[i + 1]) for i in range(DECONVS))
        self.deconv_raw = nn.ModuleList(doubling(skips[i], refined[i + 1]) for i in range(DECONVS))
        self.deconv_bnrelu = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(refined[i + 1]), nn.ReLU(inplace=True)) for i in range(DECONVS)
        )
        outputs = (2 * joints, joints)  # tags belong to the first output only
        self.final_refined = nn.ModuleList(SeparableHead(refined[i + 2], outputs[i]) for i in range(2))
        self.final_raw = nn.ModuleList(SeparableHead(skips[i + 2], outputs[i]) for i in range(2))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W), H and W multiples of 16, normalised; see the class for the outputs."""
        features = self.features(images)
        refined, skips = features[-1], features[-2::-1]
        outputs = []
        for index in range(DECONVS):
            refined = self.deconv_bnrelu[index](
                self.deconv_refined[index](refined) + self.deconv_raw[index](skips[index])
            )
            if index > 0:
                outputs.append(self.final_refined[index - 1](refined) + self.final_raw[index - 1](skips[index + 1]))
        return outputs

    def from_authors(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The authors' state dict as this network's: their supernet is cut to this architecture, other files stay."""
        if not litepose_supernet.is_supernet(weights):
            return weights
        whole = litepose_supernet.reorganized(weights) if self.reorganize else weights
        return litepose_supernet.cut(whole, {key: tuple(value.shape) for key, value in self.state_dict().items()})


def doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """A transposed convolution to twice the resolution."""
    return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)


def build(arch: LitePose, joints: int = 14, *, reorganize: bool = False) -> LitePoseNet:
    """The network of ``arch`` for ``joints`` joints (14: CrowdPose, 17: COCO), with random weights.

    With ``reorganize``, a checkpoint of the authors' supernet goes through their re-organisation of channels when it is
    loaded, which changes the function (:func:`search_spaces.published.litepose_supernet.reorganized`).
    """
    return LitePoseNet(arch, joints, reorganize)


# ----------------------------------------------------------------------------------------------------------- space


def _stage(width: Any, stride: int, depth: Any, block: Block) -> Stage:
    return Stage(width, stride, repeat(block, depth))


def _scaled(width: int) -> Any:
    """``width`` × {1/4, 1/2, 3/4, 1}, rounded to 8; equal results once."""
    return choice(*sorted({make_divisible(width * scale) for scale in (0.25, 0.5, 0.75, 1.0)}))


_STRIDES, _DEPTHS, _WIDTHS = (2, 2, 2, 1), (6, 8, 10, 10), (32, 64, 96, 160)
_RESOLUTIONS = choice(256, 320, 384, 448, 512)

#: LitePose's own search space: widths and resolution, 245,760 networks.
SPACE: Space[LitePose] = Space(
    LitePose(
        resolution=_RESOLUTIONS,
        input_width=_scaled(24),
        stages=tuple(
            _stage(_scaled(width), stride, depth, Block(6, 7))
            for width, stride, depth in zip(_WIDTHS, _STRIDES, _DEPTHS, strict=True)
        ),
        deconv_width=tuple(_scaled(width) for width in (64, 48, 32)),
    )
)

#: What the paper studied and its code left shut: kernel and expansion per block, and depth per stage, besides.
WIDE: Space[LitePose] = Space(
    LitePose(
        resolution=_RESOLUTIONS,
        input_width=_scaled(24),
        stages=tuple(
            _stage(_scaled(width), stride, depth, Block(choice(3, 4, 6), choice(3, 5, 7, 9)))
            for width, stride, depth in zip(
                _WIDTHS, _STRIDES, (choice(2, 4, 6), choice(4, 6, 8), choice(4, 7, 10), choice(4, 7, 10)), strict=True
            )
        ),
        deconv_width=tuple(_scaled(width) for width in (64, 48, 32)),
    )
)

#: The same family at the size of a laptop: trained, searched and retrained in minutes on two CPU cores.
SMALL: Space[LitePose] = Space(
    LitePose(
        resolution=choice(128, 192),
        input_width=16,
        stages=(
            _stage(choice(16, 24), 2, choice(1, 2), Block(choice(2, 4), 3)),
            _stage(choice(24, 32), 2, choice(1, 2, 3), Block(choice(2, 4), 3)),
            _stage(choice(40, 56), 2, choice(1, 2, 3), Block(choice(2, 4), choice(3, 5))),
            _stage(choice(64, 96), 1, choice(1, 2), Block(choice(2, 4), choice(3, 5))),
        ),
        deconv_width=(choice(24, 32), choice(24, 32), choice(16, 24)),
    )
)

SPACES = {"published": SPACE, "wide": WIDE, "small": SMALL}

# ---------------------------------------------------------------------------------- published variants and their files


def to_json(arch: LitePose) -> dict[str, Any]:
    """The architecture as LitePose's superconfig."""
    return {
        "img_size": arch.resolution,
        "input_channel": arch.input_width,
        "deconv_setting": list(arch.deconv_width),
        "backbone_setting": [
            {
                "num_blocks": len(stage.blocks),
                "stride": stage.stride,
                "channel": stage.width,
                "block_setting": [[block.expansion, block.kernel] for block in stage.blocks],
            }
            for stage in arch.stages
        ],
    }


def from_json(data: Any) -> LitePose:
    """The architecture of a LitePose superconfig. Of ``block_setting``, the first ``num_blocks`` count.

    Raises:
        ArchitectureError: when a key is missing or a value is not a number where one has to be.
    """
    found = litepose_superconfig.parse(data, stages=len(_STRIDES), deconvs=DECONVS)
    stages = (
        Stage(width, stride, tuple(Block(*setting) for setting in blocks)) for width, stride, blocks in found.stages
    )
    return LitePose(found.resolution, found.input_width, tuple(stages), found.deconv_width)


def published() -> dict[str, LitePose]:
    """The architectures that the authors published, by the names of their files (``litepose-XS``) and of :data:`PUBLISHED`."""
    return _files() | {name: entry.arch for name, entry in PUBLISHED.items()}


def _files() -> dict[str, LitePose]:
    folder = Path(__file__).parent / "published"
    return {path.stem: from_json(json.loads(path.read_text())) for path in sorted(folder.glob("litepose-*.json"))}


def _catalogue() -> dict[str, Published]:
    files, entries = _files(), {}
    source = "LitePose README"
    for dataset, joints, gmacs in (
        ("crowdpose", 14, {"XS": 1.2, "S": 5.0, "M": 7.8, "L": 13.7}),
        ("coco", 17, {"XS": 1.2, "S": 5.0, "M": 7.8, "L": 13.8}),
    ):
        for size, figure in gmacs.items():
            entries[f"litepose_{size}_{dataset}"] = Published(
                files[f"litepose-{size}"], joints, figure, "ptflops", source=source
            )
        for size in ("S", "M", "L"):
            entries[f"litepose_prune_{size}_{dataset}"] = Published(files[f"litepose-prune-{size}"], joints)
    supernet = {f"search_{size}": files[f"litepose-{size}"] for size in ("XS", "S", "M")}
    supernet["modified_XS"] = _MODIFIED_XS
    supernet["max_before_reorganize"] = replace(SPACE.largest, resolution=256)
    entries |= {f"litepose_supernet_{name}": Published(arch, 14) for name, arch in supernet.items()}
    entries["litepose_supernet_max_after_reorganize"] = Published(
        supernet["max_before_reorganize"], 14, options={"reorganize": True}
    )
    return entries


def _blocks_of(*codes: int) -> tuple[Block, ...]:
    """Blocks written as two digits, expansion and kernel: 67 is expansion 6 and kernel 7."""
    return tuple(Block(*divmod(code, 10)) for code in codes)


#: A subnet of the authors' supernet with kernels, expansions and depths that their own search never draws.
_MODIFIED_XS = LitePose(
    resolution=256,
    input_width=16,
    stages=(
        Stage(16, 2, _blocks_of(67, 45, 65, 47, 63, 43)),
        Stage(32, 2, _blocks_of(45, 67, 43, 65, 67, 47)),
        Stage(48, 2, _blocks_of(63, 45, 67, 67, 47, 65, 43, 67, 45, 63)),
        Stage(80, 1, _blocks_of(47, 65, 67, 43, 67, 45, 63, 65)),
    ),
    deconv_width=(24, 16, 32),
)

#: The networks of the paper, and subnets of the authors' supernet: their weights are loaded from its checkpoint.
PUBLISHED = _catalogue()
