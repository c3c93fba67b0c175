"""CSPNeXt: stages of cross-stage partial layers with dense 3×3 and depthwise convolutions and channel attention.

Papers: Lyu et al., "RTMDet: An Empirical Study of Designing Real-Time Object Detectors" (2022), the backbone; Wang et al.,
"CSPNet" (CVPR workshops 2020), the layer; He et al., "Spatial Pyramid Pooling" (ECCV 2014). Names are those of mmpose's and
mmdetection's checkpoints. Every convolution has BatchNorm (eps 1e-5) and SiLU, but that of the attention, which has a bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .branches import Features
from .convolutions import conv_bn

POOLS = (5, 9, 13)  # cells, sides of the pyramid's max pools


@dataclass(frozen=True)
class CSPStage:
    """One stage of the backbone, at half of the resolution of the one before.

    Attributes:
        width: channels of its output.
        blocks: in the main path of its CSP layer.
        kernel: of their depthwise convolutions.
        ratio: channels of each of the two paths, as a part of ``width`` (rounded down).
        attention: each channel of the joined paths is weighed by the global average of all.
    """

    width: int
    blocks: int
    kernel: int
    ratio: float
    attention: bool

    @property
    def inner(self) -> int:
        """Channels of each of the two paths."""
        return int(self.width * self.ratio)


@dataclass(frozen=True)
class CSPNeXt:
    """A CSPNeXt backbone: channels of the stem, and four stages at 1/4, 1/8, 1/16 and 1/32 of the resolution."""

    stem: int
    stages: tuple[CSPStage, CSPStage, CSPStage, CSPStage]

    def network(self, multiscale: bool) -> CSPNeXtTrunk:
        """See :class:`CSPNeXtTrunk`."""
        return CSPNeXtTrunk(self.stem, self.stages, multiscale)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm and SiLU, named ``conv`` and ``bn``."""
    return conv_bn(inputs, outputs, kernel, stride=stride, groups=groups, act=nn.SiLU, keys="named")


class SeparableConv(nn.Module):
    """k×k depthwise, then 1×1, each with BatchNorm and SiLU."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.depthwise_conv = _conv(width, width, kernel, groups=width)
        self.pointwise_conv = _conv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        out: Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return out


class CSPBlock(nn.Module):
    """A dense 3×3 and a separable convolution; plus the input where ``residual``, with no activation after the sum."""

    def __init__(self, width: int, kernel: int, residual: bool) -> None:
        super().__init__()
        self.conv1 = _conv(width, width, 3)
        self.conv2 = SeparableConv(width, kernel)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        out: Tensor = self.conv2(self.conv1(x))
        return x + out if self.residual else out


class ChannelAttention(nn.Module):
    """x × hard-sigmoid(W mean(x) + b), W from all channels to all; of ``parts`` that are concatenated."""

    def __init__(self, parts: tuple[int, ...]) -> None:
        super().__init__()
        self.fc = nn.Conv2d(sum(parts), sum(parts), 1)
        self.fc.sources = parts  # type: ignore[assignment]
        self.fc.targets = parts  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return x * F.hardsigmoid(self.fc(F.adaptive_avg_pool2d(x, 1)))


class CSPLayer(nn.Module):
    """Two paths, one of them through the blocks, joined, weighed and mixed: (B, width, H, W) to the same."""

    zero_is_identity = False  # an attention of zeros halves what it weighs

    def __init__(self, stage: CSPStage, residual: bool) -> None:
        super().__init__()
        inner = stage.inner
        self.main_conv = _conv(stage.width, inner, 1)
        self.short_conv = _conv(stage.width, inner, 1)
        self.final_conv = _conv(2 * inner, stage.width, 1)
        self.final_conv.get_submodule("conv").sources = (inner, inner)  # type: ignore[assignment]
        self.blocks = nn.Sequential(*(CSPBlock(inner, stage.kernel, residual) for _ in range(stage.blocks)))
        self.blocks.zero_is_identity = residual  # type: ignore[assignment]
        if stage.attention:
            self.attention = ChannelAttention((inner, inner))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        joined = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], dim=1)
        attention = getattr(self, "attention", None)
        if attention is not None:
            joined = attention(joined)
        out: Tensor = self.final_conv(joined)
        return out


class PyramidPooling(nn.Module):
    """Max pools of several sides over one input, side by side: (B, width, H, W) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = _conv(width, half, 1)
        self.conv2 = _conv((1 + len(POOLS)) * half, width, 1)
        self.conv2.get_submodule("conv").sources = (half,) * (1 + len(POOLS))  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        x = self.conv1(x)
        out: Tensor = self.conv2(torch.cat([x, *(F.max_pool2d(x, side, 1, side // 2) for side in POOLS)], dim=1))
        return out


class CSPNeXtTrunk(nn.Module):
    """Stem to half of the resolution, then four stages, each to half of it; the last one has no identities around its blocks.

    Attributes:
        widths: channels of the features that ``forward`` returns.
    """

    def __init__(self, stem: int, stages: Sequence[CSPStage], multiscale: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, stem // 2, 3, 2), _conv(stem // 2, stem // 2, 3), _conv(stem // 2, stem, 3))
        self.stages = [f"stage{number}" for number in range(1, len(stages) + 1)]
        inputs = stem
        for name, stage in zip(self.stages, stages, strict=True):
            last = name == self.stages[-1]
            pooling = [PyramidPooling(stage.width)] if last else []
            layers = [_conv(inputs, stage.width, 3, 2), *pooling, CSPLayer(stage, residual=not last)]
            self.add_module(name, nn.Sequential(*layers))
            inputs = stage.width
        self.widths = tuple(stage.width for stage in (stages if multiscale else stages[-1:]))

    def forward(self, images: Tensor) -> Features:
        """Images (B, 3, H, W) to features (B, widths[s], H / 4 / 2^s, W / 4 / 2^s), or the last of them alone."""
        x = self.stem(images)
        features = []
        for name in self.stages:
            x = self.get_submodule(name)(x)
            features.append(x)
        return features[-len(self.widths) :]
