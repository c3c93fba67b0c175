"""EfficientHRNet: EfficientNet, tapped at four resolutions, feeds the branches of a slim HRNet; bottom-up pose.

Paper: Neff et al., "EfficientHRNet: Efficient and Scalable High-Resolution Networks for Real-Time Multi-Person 2D Human Pose
Estimation", J. Real-Time Image Processing 2021. Parameter names and shapes are those of LitePose's implementation
(mit-han-lab/litepose), whose H-1 to H-4 stand for the paper's H_-1 to H_-4.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

from torch import Tensor, nn

from .higher_hrnet import fuse_outputs, fusion_head
from .hrnet import HRStage, check_positive, check_resolution, check_stages
from .layers.branches import HRModule
from .layers.convolutions import InvertedResidual, SqueezeExcite, conv_bn, make_divisible
from .published.catalogue import Published
from .space import ArchitectureError, Space, choice, codec, repeat

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class Block:
    """One inverted bottleneck with squeeze-and-excitation: hidden width = ``expansion`` × input width."""

    expansion: int
    kernel: int


@dataclass(frozen=True)
class Stage:
    """Blocks of equal width; the first one has the stride."""

    width: int
    stride: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class EfficientHRNet:
    """An EfficientHRNet architecture.

    Attributes:
        resolution: height and width of the input in pixels, multiples of 32.
        stem_width: channels of the first convolution.
        taps: EfficientNet's stages up to 1/4, 1/8, 1/16 and 1/32 of the resolution; what the last of each says feeds a branch.
        widths: channels of HRNet's branches.
        stages: of HRNet, with two, three and four branches.
        deconv_width: channels of the deconvolution.
        deconv_blocks: residual blocks after it.
    """

    resolution: tuple[int, int]
    stem_width: int
    taps: tuple[tuple[Stage, ...], tuple[Stage, ...], tuple[Stage, ...], tuple[Stage, ...]]
    widths: tuple[int, int, int, int]
    stages: tuple[HRStage, HRStage, HRStage]
    deconv_width: int
    deconv_blocks: int

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


# --------------------------------------------------------------------------------------------------------- network


class EfficientHRNetNet(nn.Module):
    """The network of one architecture.

    ``forward`` maps images (B, 3, H, W) to a list: heatmaps then tags (B, 2 joints, H/4, W/4), heatmaps (B, joints, H/2, W/2).
    """

    def __init__(self, arch: EfficientHRNet, joints: int) -> None:
        super().__init__()
        self.joints = joints
        width = arch.stem_width
        features: list[nn.Module] = [conv_bn(3, width, 3, stride=2, act=nn.SiLU, keys="padded")]
        places = ["stem"]
        self.last, tapped = [], []  # the last feature of each tap, and its channels
        for tap, stages in enumerate(arch.taps):
            for number, stage in enumerate(stages):
                for index, block in enumerate(stage.blocks):
                    features.append(_block(width, stage.width, block, stage.stride if index == 0 else 1))
                    places.append(f"{tap}.{number}.{index}")
                    width = stage.width
            self.last.append(len(features) - 1)
            tapped.append(width)
        self.features = nn.ModuleList(features)
        # Checkpoints count blocks through; where stages may differ in depth, a block is told by its stage.
        self.features.canonical = {str(index): place for index, place in enumerate(places)}  # type: ignore[assignment]

        inputs = [tapped[0]]
        for number, hr_stage in enumerate(arch.stages, 2):
            widths = arch.widths[:number]
            inputs.append(tapped[number - 1])
            for branch, (before, after) in enumerate(zip(inputs, widths, strict=True), 1):
                transition = conv_bn(before, after, 3, act=nn.ReLU, bias=True)
                self.add_module(f"trans{number - 1}_branch{branch}", transition)
            modules = []
            for index in range(hr_stage.modules):
                final = number == 4 and index == hr_stage.modules - 1
                modules.append(HRModule(widths, hr_stage.blocks, 1 if final else number))
            self.add_module(f"stage{number}", nn.Sequential(*modules))
            inputs = list(widths)
        self.final_layers, self.deconv_layers = fusion_head(
            arch.widths[0], arch.deconv_width, arch.deconv_blocks, joints
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W), H and W multiples of 32, normalised; see the class for the outputs."""
        x, taps = images, []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.last:
                taps.append(x)
        branches = taps[:1]
        for number in (2, 3, 4):
            branches = [*branches, taps[number - 1]]
            for branch in range(number):
                branches[branch] = self.get_submodule(f"trans{number - 1}_branch{branch + 1}")(branches[branch])
            branches = self.get_submodule(f"stage{number}")(branches)
        return fuse_outputs(self.final_layers, self.deconv_layers, branches[0])


def _block(inputs: int, outputs: int, block: Block, stride: int) -> InvertedResidual:
    hidden = inputs * block.expansion
    squeeze = SqueezeExcite(hidden, max(1, inputs // 4), nn.SiLU, names=("se.1", "se.3"))
    return InvertedResidual(
        inputs, outputs, hidden, block.kernel, stride, act=nn.SiLU, squeeze=squeeze, names="efficientnet"
    )


def build(arch: EfficientHRNet, joints: int = 17) -> EfficientHRNetNet:
    """The network of ``arch`` for ``joints`` joints (14: CrowdPose, 17: COCO), with random weights."""
    return EfficientHRNetNet(arch, joints)


# ----------------------------------------------------------------------------------------------------------- space

#: EfficientNet-B0 by tap: expansion, width, blocks, stride and kernel of each stage.
_B0 = (
    ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3)),
    ((6, 40, 2, 2, 5),),
    ((6, 80, 3, 2, 3), (6, 112, 3, 1, 5)),
    ((6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
)
_STEM_WIDTH, _HR_WIDTHS, _HR_BASE = 32, (32, 64, 128, 256), 1.2455
#: H-1 to H-4: side of the input, multipliers of EfficientNet's width and depth, HRNet's modules.
_SCALES = {
    1: (480, 0.909, 0.833, (1, 3, 3)),
    2: (448, 0.826, 0.694, (1, 2, 3)),
    3: (416, 0.751, 0.578, (1, 1, 3)),
    4: (384, 0.684, 0.483, (1, 1, 2)),
}


def scaled(number: int) -> EfficientHRNet:
    """H-1 to H-4, which shrink EfficientHRNet's H-0 (paper §3.2): all widths, depths and the resolution together."""
    side, width, depth, modules = _SCALES[number]
    taps = tuple(
        tuple(
            Stage(make_divisible(channels * width), stride, (Block(expansion, kernel),) * ceil(blocks * depth))
            for expansion, channels, blocks, stride, kernel in tap
        )
        for tap in _B0
    )
    widths = tuple(ceil(channels * _HR_BASE**-number) for channels in _HR_WIDTHS)
    stages = tuple(HRStage(count, (2,) * branches) for branches, count in enumerate(modules, 2))
    stem = make_divisible(_STEM_WIDTH * width)
    return EfficientHRNet((side, side), stem, taps, widths, stages, widths[0], deconv_blocks=2)  # type: ignore[arg-type]


_ALL = [scaled(number) for number in _SCALES]


def _any(values: Any) -> Any:
    """A choice of what the published networks have, ascending; no choice where they agree."""
    options = sorted(set(values))
    return choice(*options) if len(options) > 1 else options[0]


def _elastic(tap: int, number: int) -> Stage:
    """A stage with the widths and depths of H-1 to H-4, and narrower blocks besides."""
    stages = [arch.taps[tap][number] for arch in _ALL]
    block = stages[0].blocks[0]
    if block.expansion > 1:  # without a widening convolution the names within a block are others
        block = Block(choice(3, 4, 6), block.kernel)
    depth = _any(len(stage.blocks) for stage in stages)
    return Stage(_any(stage.width for stage in stages), stages[0].stride, repeat(block, depth))


#: What H-1 to H-4 scale together, each by itself, and the expansion of every block.
SPACE: Space[EfficientHRNet] = Space(
    EfficientHRNet(
        resolution=_any(arch.resolution for arch in _ALL),
        stem_width=_any(arch.stem_width for arch in _ALL),
        taps=tuple(tuple(_elastic(tap, number) for number in range(len(_B0[tap]))) for tap in range(4)),  # type: ignore[arg-type]
        widths=_any(arch.widths for arch in _ALL),
        stages=(
            HRStage(1, (choice(1, 2),) * 2),
            HRStage(choice(1, 2, 3), (choice(1, 2),) * 3),
            HRStage(choice(1, 2, 3), (choice(1, 2),) * 4),
        ),
        deconv_width=_any(arch.deconv_width for arch in _ALL),
        deconv_blocks=choice(0, 1, 2),
    )
)


def _small(width: Any, stride: int, depth: Any, kernel: int = 3) -> Stage:
    return Stage(width, stride, repeat(Block(choice(2, 4), kernel), depth))


#: The same family at the size of a laptop.
SMALL: Space[EfficientHRNet] = Space(
    EfficientHRNet(
        resolution=choice((96, 96), (128, 128)),
        stem_width=8,
        taps=(
            (_small(choice(8, 12), 2, choice(1, 2)),),
            (_small(choice(16, 24), 2, choice(1, 2)),),
            (_small(choice(24, 32), 2, choice(1, 2), 5),),
            (_small(choice(40, 48), 2, choice(1, 2)),),
        ),
        widths=choice((8, 16, 32, 64), (10, 20, 40, 80)),
        stages=(
            HRStage(1, (choice(1, 2),) * 2),
            HRStage(1, (choice(1, 2),) * 3),
            HRStage(choice(1, 2), (choice(1, 2),) * 4),
        ),
        deconv_width=choice(4, 8),
        deconv_blocks=choice(0, 1),
    )
)

SPACES = {"published": SPACE, "small": SMALL}

# ---------------------------------------------------------------------------------- published variants and their files

PUBLISHED: dict[str, Published] = {
    "efficienthrnet_H1_coco": Published(scaled(1), 17, 14.4, "ptflops", source="LitePose README"),
    "efficienthrnet_H1_crowdpose": Published(scaled(1), 14, 14.2, "ptflops", source="LitePose README"),
    "efficienthrnet_H2_coco": Published(scaled(2), 17),
    "efficienthrnet_H3_crowdpose": Published(scaled(3), 14),
    "efficienthrnet_H4_coco": Published(scaled(4), 17),
}


def published() -> dict[str, EfficientHRNet]:
    """The architectures that the authors published, by name."""
    return {name: entry.arch for name, entry in PUBLISHED.items()}


to_json = codec.to_json


def from_json(data: Any) -> EfficientHRNet:
    """The architecture that a JSON value describes.

    Raises:
        ArchitectureError: when something is missing, of a wrong type, or does not fit together.
    """
    arch = codec.from_json(EfficientHRNet, data)
    check_stages(arch.stages)
    check_positive(arch, "stem_width", "deconv_width")
    check_resolution(arch.resolution)
    for tap, stages in enumerate(arch.taps):
        if not stages or not all(stage.blocks for stage in stages):
            raise ArchitectureError(f"taps[{tap}] has a stage without blocks; every tap needs one, every stage a block")
        strides = [stage.stride for stage in stages]
        if sorted(strides) != [*[1] * (len(strides) - 1), 2]:
            raise ArchitectureError(f"taps[{tap}] has the strides {strides}; one of them has to be 2, the others 1")
        for number, stage in enumerate(stages):
            check_positive(stage, "width", place=f"taps[{tap}][{number}].")
            for index, block in enumerate(stage.blocks):
                check_positive(block, "expansion", "kernel", place=f"taps[{tap}][{number}].blocks[{index}].")
    return arch
