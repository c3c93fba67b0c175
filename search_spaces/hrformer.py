"""HRFormer: HRNet whose branches attend within windows instead of convolving.

Paper: Yuan et al., "HRFormer: High-Resolution Transformer for Dense Prediction", NeurIPS 2021. Names are those of mmpose's
checkpoints. As in the authors' pose code the relative position bias is in the checkpoint but is not added, padded tokens
take part in the softmax, and an activation follows the last BatchNorm of the feed-forward part too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .layers.attention import attend
from .layers.branches import HRTrunk
from .layers.heads import PoseNet, SimpleHead
from .published.catalogue import Published
from .space import ArchitectureError, Space, choice, codec

# ---------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True)
class Stage:
    """Modules of equal build; ``blocks`` is the number of transformer blocks of each branch, high resolution first."""

    modules: int
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class HRFormer:
    """An HRFormer backbone. ``widths``, ``heads`` and ``expansion`` (of the feed-forward part) are per branch."""

    stem: int
    bottleneck_blocks: int
    widths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    expansion: tuple[int, int, int, int]
    stages: tuple[Stage, Stage, Stage]

    def network(self, multiscale: bool) -> HRTrunk:
        """HRNet's trunk with transformer branches, depthwise links between them and bilinear upsampling."""

        def branch(index: int, width: int, blocks: int) -> nn.Module:
            hidden = width * self.expansion[index]
            return nn.Sequential(*(TransformerBlock(width, self.heads[index], hidden) for _ in range(blocks)))

        return HRTrunk(
            self.widths,
            [[stage.blocks] * stage.modules for stage in self.stages],
            stem=self.stem,
            bottleneck_blocks=self.bottleneck_blocks,
            multiscale=multiscale,
            branch=branch,
            depthwise=True,
            upsample="bilinear",
            downsample_first=True,
        )


@dataclass(frozen=True)
class HRFormerPose:
    """An HRFormer with its head. ``resolution`` is height and width of the input in pixels, multiples of 32."""

    resolution: tuple[int, int]
    backbone: HRFormer
    head: SimpleHead

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


# --------------------------------------------------------------------------------------------------------- network

WINDOW = 7  # side of an attention window, pixels of the feature map


class WindowTokens(nn.Module):
    """Multi-head self-attention with a projection each for queries, keys and values."""

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))  # never added
        self.register_buffer("relative_position_index", _relative_position_index())
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) to the same."""
        attended = attend(self.q_proj(tokens), self.k_proj(tokens), self.v_proj(tokens), self.heads)
        out: Tensor = self.out_proj(attended)
        return out


def _relative_position_index() -> Tensor:
    """Row of the bias table for every pair of window positions, (49, 49): (dy + 6) · 13 + dx + 6, row-major."""
    position = torch.arange(WINDOW)
    shift = position[:, None] - position[None, :] + WINDOW - 1
    rows = shift[:, None, :, None] * (2 * WINDOW - 1) + shift[None, :, None, :]
    return rows.flatten(2).flatten(0, 1)


class WindowAttention(nn.Module):
    """Attention within windows of 7×7; the map is padded with zeros on all sides to whole windows (section 3)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = WindowTokens(width, heads)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same; a padded token is not masked, so its key and value are the projections' biases."""
        height, width = x.shape[1], x.shape[2]
        down, right = -height % WINDOW, -width % WINDOW
        top, left = down // 2, right // 2
        x = F.pad(x, (0, 0, left, right - left, top, down - top))
        rows = torch.unflatten(x, 1, (-1, WINDOW))
        windows = torch.unflatten(rows, 3, (-1, WINDOW)).transpose(2, 3)  # (B, rows, columns, 7, 7, C)
        grid = (-1, windows.shape[1], windows.shape[2])
        tokens = self.attn(windows.flatten(3, 4).flatten(0, 2))
        windows = torch.unflatten(torch.unflatten(tokens, 0, grid), 3, (WINDOW, WINDOW))
        x = windows.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return x[:, top : top + height, left : left + width]


class FeedForward(nn.Module):
    """1×1, depthwise 3×3 and 1×1 convolutions with bias, each with BatchNorm and GELU (section 3)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.act = nn.GELU()
        self.fc1 = nn.Conv2d(width, hidden, 1)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.dw3x3 = nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden)
        self.norm2 = nn.BatchNorm2d(hidden)
        self.fc2 = nn.Conv2d(hidden, width, 1)
        self.norm3 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        x = self.act(self.norm1(self.fc1(x)))
        x = self.act(self.norm2(self.dw3x3(x)))
        return self.act(self.norm3(self.fc2(x)))  # type: ignore[no-any-return]


class TransformerBlock(nn.Module):
    """x + attention(LN(x)), then x + feed-forward(LN(x)); without the stochastic depth of the authors' training."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attn = WindowAttention(width, heads)
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = FeedForward(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        x = x.permute(0, 2, 3, 1)
        x = x + self.attn(self.norm1(x))
        changed: Tensor = self.mlp(self.norm2(x).permute(0, 3, 1, 2))
        return x.permute(0, 3, 1, 2) + changed


def build(arch: HRFormerPose, joints: int = 17) -> PoseNet:
    """The network of ``arch``, with random weights.

    ``forward`` maps images (B, 3, H, W) to heatmaps (B, joints, H/4 · 2^n, W/4 · 2^n) for n deconvolutions (none published).
    """
    return PoseNet(arch.backbone, arch.head, joints)


# ----------------------------------------------------------------------------------------------------------- space

_EXPANSION = choice(2, 3, 4)
_BLOCKS = choice(1, 2)

#: Around HRFormer-S. Widths and heads stay, because a head's channels are not the leading ones of a wider head.
SPACE: Space[HRFormerPose] = Space(
    HRFormerPose(
        resolution=choice((192, 128), (256, 192), (384, 288)),
        backbone=HRFormer(
            stem=64,
            bottleneck_blocks=choice(1, 2),
            widths=(32, 64, 128, 256),
            heads=(1, 2, 4, 8),
            expansion=(_EXPANSION,) * 4,
            stages=(
                Stage(1, (_BLOCKS,) * 2),
                Stage(choice(2, 3, 4), (_BLOCKS,) * 3),
                Stage(choice(1, 2), (_BLOCKS,) * 4),
            ),
        ),
        head=SimpleHead(()),
    )
)

#: The same family at the size of a laptop.
SMALL: Space[HRFormerPose] = Space(
    HRFormerPose(
        resolution=choice((64, 64), (96, 64)),
        backbone=HRFormer(
            stem=16,
            bottleneck_blocks=1,
            widths=(16, 32, 64, 128),
            heads=(1, 2, 4, 8),
            expansion=(choice(1, 2),) * 4,
            stages=(
                Stage(1, (1, 1)),
                Stage(choice(1, 2), (_BLOCKS, _BLOCKS, 1)),
                Stage(1, (_BLOCKS, _BLOCKS, 1, 1)),
            ),
        ),
        head=SimpleHead(()),
    )
)

SPACES = {"published": SPACE, "small": SMALL}

# ---------------------------------------------------------------------------------- published variants and their files

HRFORMER_S = HRFormer(
    stem=64,
    bottleneck_blocks=2,
    widths=(32, 64, 128, 256),
    heads=(1, 2, 4, 8),
    expansion=(4, 4, 4, 4),
    stages=(Stage(1, (2,) * 2), Stage(4, (2,) * 3), Stage(2, (2,) * 4)),
)

PUBLISHED: dict[str, Published] = {
    "simple_hrformer_small_coco_256x192": Published(
        HRFormerPose((256, 192), HRFORMER_S, SimpleHead(())),
        joints=17,
        gmacs=2.82,
        convention="mmcv",
        params_m=7.89,
        source="SRPose README",
    )
}


def published() -> dict[str, HRFormerPose]:
    """The published architectures, by name."""
    return {name: entry.arch for name, entry in PUBLISHED.items()}


to_json = codec.to_json


def from_json(data: Any) -> HRFormerPose:
    """The architecture that a JSON value describes.

    Raises:
        ArchitectureError: when a field is missing or has no possible value; one line that names it.
    """
    arch = codec.from_json(HRFormerPose, data)
    check(arch.backbone, arch.resolution)
    if 0 in arch.head.deconv_width:
        raise ArchitectureError(f"head.deconv_width is {arch.head.deconv_width}, every entry has to be at least 1")
    return arch


def check(backbone: HRFormer, resolution: tuple[int, int]) -> None:
    """Check what types cannot say: that the backbone can be built and takes images of this size.

    Raises:
        ArchitectureError: when not; one line that names the field.
    """
    if any(side == 0 or side % 32 for side in resolution):
        raise ArchitectureError(f"resolution is {resolution}, it has to be two multiples of 32, height and width")
    if 0 in (backbone.stem, backbone.bottleneck_blocks):
        raise ArchitectureError("backbone.stem and backbone.bottleneck_blocks have to be at least 1")
    branches = zip(backbone.widths, backbone.heads, backbone.expansion, strict=True)
    for branch, (width, heads, expansion) in enumerate(branches):
        if 0 in (width, heads, expansion) or width % heads:
            raise ArchitectureError(
                f"backbone.widths[{branch}] is {width}, it has to be a multiple of heads[{branch}], {heads}; "
                f"expansion[{branch}], {expansion}, has to be at least 1"
            )
    for index, stage in enumerate(backbone.stages):
        if stage.modules == 0 or len(stage.blocks) != index + 2:
            raise ArchitectureError(
                f"backbone.stages[{index}] has {stage.modules} modules and blocks for {len(stage.blocks)} branches, "
                f"it has to have at least 1 and {index + 2}"
            )
