"""SRPose's super-resolution head: coarse to fine over the levels of a backbone, with heatmaps finer than any of them.

Paper: Wang et al., "Lightweight Super-Resolution Head for Human Pose Estimation", ACM MM 2023. Parameter names and shapes are
those of the authors' checkpoints (haonanwang0522/SRPose).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ..space import ArchitectureError
from .branches import Features
from .convolutions import near_zero


@dataclass(frozen=True)
class SRPoseHead:
    """The head; every tuple has an entry per level, the coarsest first, ``blocks`` one for each level but the coarsest.

    Attributes:
        width: channels of the level.
        embedding: channels per joint from which the level's heatmaps are made; 0 where they are not, so that the level is not
            supervised. The last level's heatmaps are the output.
        upscale: how much finer than its level a heatmap is.
        blocks: residual blocks after a level was joined to the coarser ones.
    """

    width: tuple[int, ...]
    embedding: tuple[int, ...]
    upscale: tuple[int, ...]
    blocks: tuple[int, ...]

    @property
    def multiscale(self) -> bool:
        """It reads all levels."""
        return True

    def network(self, widths: Sequence[int], joints: int) -> nn.Module:
        """See :class:`SRPoseHeadNet`."""
        self.check(len(widths))
        return SRPoseHeadNet(self, widths, joints)

    def check(self, levels: int) -> None:
        """Every level of the backbone has its entries, and the finest is supervised.

        Raises:
            ArchitectureError: when this is not so.
        """
        entries = {"width": levels, "embedding": levels, "upscale": levels, "blocks": levels - 1}
        for name, expected in entries.items():
            found = len(getattr(self, name))
            if found != expected:
                raise ArchitectureError(
                    f"head.{name} has {found} entries; a backbone of {levels} levels needs {expected}"
                )
        if not self.embedding[-1]:
            raise ArchitectureError(
                "head.embedding ends with 0, it has to be at least 1: the finest level is the output"
            )


class ConvBlock(nn.Module):
    """x + W2 GELU(W1 BN(7×7 depthwise(x))), hidden width four times the width: ConvNeXt's block with BatchNorm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        # contiguous: on a strided input, a linear layer sums in another order where its weight needs no gradient
        channels_last = self.norm(self.dwconv(x)).permute(0, 2, 3, 1).contiguous()
        out: Tensor = x + self.pwconv2(self.act(self.pwconv1(channels_last))).permute(0, 3, 1, 2)
        return out


class Converge(nn.Module):
    """Heatmaps (B, joints, r h, r w) of embeddings (B, joints · embedding, h, w); a joint sees no other joint's embedding."""

    def __init__(self, embedding: int, upscale: int, kernel: int, joints: int) -> None:
        super().__init__()
        self.upscale = upscale
        maps = joints * upscale**2
        self.conv = near_zero(nn.Conv2d(joints * embedding, maps, kernel, padding=kernel // 2, groups=joints))
        self.conv.sources = (embedding,) * joints  # type: ignore[assignment]

    def forward(self, embeddings: Tensor) -> Tensor:
        """The r² outputs of a joint become the pixels of an r × r square."""
        return F.pixel_shuffle(self.conv(embeddings), self.upscale)


def _fuse(width: int) -> nn.Conv2d:
    """1×1 convolution of the concatenation of two features of ``width`` channels each."""
    convolution = nn.Conv2d(2 * width, width, 1)
    convolution.sources = (width, width)  # type: ignore[assignment]
    return convolution


class SRPoseHeadNet(nn.Module):
    """Coarse to fine: each level is joined to what the coarser ones know, and shows it as heatmaps.

    In evaluation mode ``forward`` returns the heatmaps of the finest level (B, joints, r h, r w). In training mode it returns a
    list: the joints as the coarsest level sees them (B, joints, h, w), then the heatmaps of every supervised level.

    Args:
        head: its architecture.
        widths: channels of the features, the finest first.
        joints: number of heatmaps.
    """

    def __init__(self, head: SRPoseHead, widths: Sequence[int], joints: int) -> None:
        super().__init__()
        self.levels = len(head.width)
        width = head.width
        self.lr_head = nn.Sequential(nn.Conv2d(widths[-1], joints, 1), nn.ReLU())
        self.lr_fuse = nn.Sequential(nn.Conv2d(joints, width[0], 1), nn.ReLU())
        self.pre_interpolate = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(coarse, coarse, 3, padding=1, groups=coarse),
                nn.Conv2d(coarse, fine, 1),
                nn.BatchNorm2d(fine),
                nn.ReLU(),
            )
            for coarse, fine in zip(width[:-1], width[1:], strict=True)
        )
        self.pre_fuse = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU())
            for inputs, outputs in zip(reversed(widths), width, strict=True)
        )
        self.fuse = nn.ModuleList(_fuse(outputs) for outputs in width[1:])
        self.post_fuse = nn.ModuleList(
            nn.Sequential(*(ConvBlock(outputs) for _ in range(blocks)))
            for outputs, blocks in zip(width[1:], head.blocks, strict=True)
        )
        self.kp_encoder, self.converge = nn.ModuleDict(), nn.ModuleDict()
        for level, embedding in enumerate(head.embedding):
            if embedding:
                kernel = 11 - 2 * (len(width) - level)  # 9 at the finest level, then 7, 5, …
                encode = nn.Conv2d(width[level], embedding * joints, 1)
                encode.targets = (embedding,) * joints  # type: ignore[assignment]
                self.kp_encoder[str(level)] = nn.Sequential(encode, nn.ReLU())
                self.converge[str(level)] = Converge(embedding, head.upscale[level], kernel, joints)

    def forward(self, features: Features) -> Tensor | list[Tensor]:
        """Features, the finest first, as backbones deliver them; see the class for the outputs."""
        coarse_to_fine = features[::-1]
        heatmaps = [self.lr_head(coarse_to_fine[0])]
        x = self.pre_fuse[0](coarse_to_fine[0]) + self.lr_fuse(heatmaps[0])
        for level in range(self.levels):
            if level > 0:
                x = self._join(level, x, coarse_to_fine[level])
            finest = level == self.levels - 1
            if finest or (self.training and str(level) in self.converge):
                heatmaps.append(self.converge[str(level)](self.kp_encoder[str(level)](x)))
        return heatmaps if self.training else heatmaps[-1]

    def _join(self, level: int, coarse: Tensor, feature: Tensor) -> Tensor:
        """What the coarser levels know (B, width[level - 1], h, w) and a level's feature to (B, width[level], 2 h, 2 w)."""
        coarse = F.interpolate(self.pre_interpolate[level - 1](coarse), feature.shape[-2:], mode="nearest")
        x = self.fuse[level - 1](torch.cat([coarse, self.pre_fuse[level](feature)], dim=1))
        joined: Tensor = self.post_fuse[level - 1](x)
        return joined
