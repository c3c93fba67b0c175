"""TransPose-R: the first half of a ResNet, then a transformer encoder over all pixels of its map.

Paper: Yang et al., "TransPose: Keypoint Localization via Transformer", ICCV 2021. Names are those of the authors' checkpoints
(yangsenius/TransPose). The position encoding is a tensor of the checkpoint whose size follows the resolution, so that a network
takes one resolution only and no space varies it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .layers.attention import attend
from .layers.branches import Features
from .layers.convolutions import near_zero
from .layers.heads import deconvolutions
from .published.catalogue import Published
from .resnet import ResNetTrunk, Stage, check_stages
from .space import ArchitectureError, Space, choice, codec, repeat

# ---------------------------------------------------------------------------------------------------- architecture

STRIDE = 8  # pixels of the image per token


@dataclass(frozen=True)
class TransPose:
    """A TransPose backbone.

    Attributes:
        grid: rows and columns of tokens, an eighth of the image's height and width.
        stem: channels of the ResNet's stem.
        stages: the first two of the ResNet.
        width: channels of a token, a multiple of 4 (for the position encoding) and of ``heads``.
        heads: of the attention.
        feedforward: hidden width of each encoder layer; there are as many layers as entries.
    """

    grid: tuple[int, int]
    stem: int
    stages: tuple[Stage, Stage]
    width: int
    heads: int
    feedforward: tuple[int, ...]

    def network(self, multiscale: bool) -> TransPoseTrunk:
        """See :class:`TransPoseTrunk`."""
        return TransPoseTrunk(self, multiscale)


@dataclass(frozen=True)
class TransPoseR:
    """A TransPose with its deconvolutions. ``resolution`` is height and width in pixels, 8 times the backbone's grid."""

    resolution: tuple[int, int]
    backbone: TransPose
    deconv_width: tuple[int, ...]

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


# --------------------------------------------------------------------------------------------------------- network


class PackedAttention(nn.Module):
    """Self-attention with the three input projections in one tensor, as ``nn.MultiheadAttention`` stores them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """Tokens (B, N, C) to the same; ``position`` (N, C) is added where queries and keys are made, not to values."""
        for_query, for_key, for_value = self.in_proj_weight.chunk(3)
        query, key, value = self.in_proj_bias.chunk(3)
        placed = x + position
        attended = attend(
            F.linear(placed, for_query, query),
            F.linear(placed, for_key, key),
            F.linear(x, for_value, value),
            self.heads,
        )
        out: Tensor = self.out_proj(attended)
        return out


class EncoderLayer(nn.Module):
    """LN(x + attention(x)), then LN(x + feed-forward(x)) (section 3.1); without the dropout of the authors' training."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.self_attn = PackedAttention(width, heads)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """Tokens (B, N, C) to the same."""
        x = self.norm1(x + self.self_attn(x, position))
        return self.norm2(x + self.linear2(self.linear1(x).relu()))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Encoder layers, each of which sees the position anew."""

    def __init__(self, arch: TransPose) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(arch.width, arch.heads, hidden) for hidden in arch.feedforward)
        self.layers.zero_is_identity = False  # type: ignore[assignment]  # post-norm: a layer of zeros gives zeros

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """Tokens (B, N, C) to the same."""
        for layer in self.layers:
            x = layer(x, position)
        return x


class TransPoseTrunk(ResNetTrunk):
    """ResNet's first two stages, a 1×1 convolution and the encoder.

    Attributes:
        widths: channels of the features that ``forward`` returns.
    """

    def __init__(self, arch: TransPose, multiscale: bool) -> None:
        super().__init__(arch.stem, arch.stages, multiscale=True)
        self.grid = arch.grid
        self.pos_embedding = nn.Parameter(sine_positions(*arch.grid, arch.width), requires_grad=False)
        self.reduce = nn.Conv2d(self.widths[-1], arch.width, 1, bias=False)
        self.global_encoder = Encoder(arch)
        self.widths = (self.widths[0], arch.width) if multiscale else (arch.width,)

    def forward(self, images: Tensor) -> Features:
        """Images (B, 3, H, W) to features (B, C, H/4, W/4) of the first stage and (B, C, H/8, W/8), or the latter alone."""
        *features, last = super().forward(images)
        tokens = self.global_encoder(self.reduce(last).flatten(2).transpose(1, 2), self.pos_embedding.squeeze(1))
        return [*features, torch.unflatten(tokens.transpose(1, 2), 2, self.grid)][-len(self.widths) :]


def sine_positions(rows: int, columns: int, width: int) -> Tensor:
    """Two-dimensional sine encoding of a row-major grid, (rows · columns, 1, width) (section 3.1).

    The first half of the channels encodes the row, the second the column. With p = 2π (index + 1) / count and half = width / 2,
    channels 2 i and 2 i + 1 of a half are the sine and the cosine of p / 10000^(2 i / half).
    """
    half = width // 2
    wavelength = 10000.0 ** (torch.arange(0, half, 2) / half)

    def encode(count: int) -> Tensor:
        angle = (torch.arange(1, count + 1) * (2 * math.pi / count))[:, None] / wavelength
        return torch.stack((angle.sin(), angle.cos()), 2).flatten(1)

    row, column = encode(rows)[:, None].expand(-1, columns, -1), encode(columns)[None].expand(rows, -1, -1)
    return torch.cat((row, column), 2).flatten(0, 1)[:, None]


class TransPoseNet(TransPoseTrunk):
    """A trunk with deconvolutions and a 1×1 convolution, side by side as the checkpoints have them, without prefixes.

    ``forward`` maps images (B, 3, H, W) to heatmaps (B, joints, H/8 · 2^n, W/8 · 2^n) for n deconvolutions.
    """

    def __init__(self, arch: TransPoseR, joints: int) -> None:
        super().__init__(arch.backbone, multiscale=False)
        self.joints = joints
        self.deconv_layers = deconvolutions(arch.backbone.width, arch.deconv_width)
        self.final_layer = near_zero(nn.Conv2d((arch.backbone.width, *arch.deconv_width)[-1], joints, 1))

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        """See the class."""
        heatmaps: Tensor = self.final_layer(self.deconv_layers(super().forward(images)[0]))
        return heatmaps


def build(arch: TransPoseR, joints: int = 17) -> TransPoseNet:
    """The network of ``arch`` for ``joints`` joints, with random weights."""
    return TransPoseNet(arch, joints)


# ----------------------------------------------------------------------------------------------------------- space

#: Encoder layers and their hidden width, and residual blocks; TransPose-R-A3 and R-A4 are points of it.
SPACE: Space[TransPoseR] = Space(
    TransPoseR(
        resolution=(256, 192),
        backbone=TransPose(
            grid=(32, 24),
            stem=64,
            stages=(Stage(64, choice(2, 3)), Stage(128, choice(2, 3, 4))),
            width=256,
            heads=8,
            feedforward=repeat(choice(256, 512, 1024), choice(1, 2, 3, 4)),
        ),
        deconv_width=(choice(128, 256),),
    )
)

#: The same family at the size of a laptop.
SMALL: Space[TransPoseR] = Space(
    TransPoseR(
        resolution=(96, 64),
        backbone=TransPose(
            grid=(12, 8),
            stem=16,
            stages=(Stage(16, choice(1, 2)), Stage(32, choice(1, 2))),
            width=64,
            heads=4,
            feedforward=repeat(choice(64, 128), choice(1, 2, 3)),
        ),
        deconv_width=(choice(32, 64),),
    )
)

SPACES = {"published": SPACE, "small": SMALL}

# ---------------------------------------------------------------------------------- published variants and their files

TRANSPOSE_R_A4 = TransPose(
    grid=(32, 24), stem=64, stages=(Stage(64, 3), Stage(128, 4)), width=256, heads=8, feedforward=(1024,) * 4
)

PUBLISHED: dict[str, Published] = {
    "transpose_r_a4_coco_256x192": Published(
        TransPoseR((256, 192), TRANSPOSE_R_A4, (256,)),
        joints=17,
        gmacs=8.9,
        convention="detr",
        params_m=6.0,
        source="TransPose README",
    )
}


def published() -> dict[str, TransPoseR]:
    """The published architectures, by name."""
    return {name: entry.arch for name, entry in PUBLISHED.items()}


to_json = codec.to_json


def from_json(data: Any) -> TransPoseR:
    """The architecture that a JSON value describes.

    Raises:
        ArchitectureError: when a field is missing or has no possible value; one line that names it.
    """
    arch = codec.from_json(TransPoseR, data)
    check(arch.backbone, arch.resolution)
    if 0 in arch.deconv_width:
        raise ArchitectureError(f"deconv_width is {arch.deconv_width}, every entry has to be at least 1")
    return arch


def check(backbone: TransPose, resolution: tuple[int, int]) -> None:
    """Check what types cannot say: that the backbone can be built and takes images of this size.

    Raises:
        ArchitectureError: when not; one line that names the field.
    """
    if 0 in backbone.grid or resolution != tuple(STRIDE * side for side in backbone.grid):
        raise ArchitectureError(
            f"resolution is {resolution}, it has to be {STRIDE} times backbone.grid, which is {backbone.grid}"
        )
    if 0 in (backbone.heads, backbone.width) or backbone.width % 4 or backbone.width % backbone.heads:
        raise ArchitectureError(
            f"backbone.width is {backbone.width}, it has to be a multiple of 4 and of backbone.heads, {backbone.heads}"
        )
    check_stages(backbone.stem, backbone.stages)
    if 0 in backbone.feedforward or not backbone.feedforward:
        raise ArchitectureError(
            f"backbone.feedforward is {backbone.feedforward}, it has to have an entry of at least 1 per encoder layer"
        )
