"""Pose heads (deconvolutions, 1×1 convolution), and PoseNet, which joins any backbone with any head.

A backbone is an architecture with ``network(multiscale)``, which builds a module from images to a list of features (high
resolution first) and has their channels as ``widths``. A head is an architecture with ``network(widths, joints)``. So a
head goes with every backbone, and :class:`PoseArchitecture` is the pair. Names are those of mmpose's checkpoints
(``backbone.…``, ``keypoint_head.…``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .branches import Features
from .convolutions import near_zero


class Backbone(Protocol):
    """An architecture that makes features of images."""

    def network(self, multiscale: bool) -> nn.Module:
        """The network: images to features; only the highest useful resolution, or with ``multiscale`` all of them."""
        ...


class Head(Protocol):
    """An architecture that makes heatmaps of features."""

    @property
    def multiscale(self) -> bool:
        """Whether it reads all resolutions."""
        ...

    def network(self, widths: Sequence[int], joints: int) -> nn.Module:
        """The network: features with so many channels to the outputs."""
        ...


class PoseNet(nn.Module):
    """A backbone and its head."""

    def __init__(self, backbone: Backbone, head: Head, joints: int) -> None:
        super().__init__()
        self.joints = joints
        self.backbone = backbone.network(head.multiscale)
        self.keypoint_head = head.network(cast("tuple[int, ...]", self.backbone.widths), joints)

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Images (B, 3, H, W) to the outputs of the head."""
        outputs: Tensor | list[Tensor] = self.keypoint_head(self.backbone(images))
        return outputs


@dataclass(frozen=True)
class SimpleHead:
    """Transposed convolutions of stride 2, if any, and a 1×1 convolution (Xiao et al., "Simple Baselines", ECCV 2018)."""

    deconv_width: tuple[int, ...]

    @property
    def multiscale(self) -> bool:
        """It reads one resolution."""
        return False

    def network(self, widths: Sequence[int], joints: int) -> nn.Module:
        """See :class:`SimpleHeadNet`."""
        return SimpleHeadNet(widths[0], self.deconv_width, joints)


@dataclass(frozen=True)
class BottomUpSimpleHead:
    """A simple head with a tag map for each heatmap: associative embedding (Newell et al., NeurIPS 2017)."""

    deconv_width: tuple[int, ...]

    @property
    def multiscale(self) -> bool:
        """It reads one resolution."""
        return False

    def network(self, widths: Sequence[int], joints: int) -> nn.Module:
        """See :class:`BottomUpSimpleHeadNet`."""
        return BottomUpSimpleHeadNet(widths[0], self.deconv_width, 2 * joints)


@dataclass(frozen=True)
class SRHead:
    """Super-resolution without a pyramid: ``embedding`` channels per joint become heatmaps ``upscale`` times as fine.

    Wang et al., "Lightweight Super-Resolution Head for Human Pose Estimation", ACM MM 2023.
    """

    deconv_width: tuple[int, ...]
    embedding: int
    upscale: int

    @property
    def multiscale(self) -> bool:
        """It reads one resolution."""
        return False

    def network(self, widths: Sequence[int], joints: int) -> nn.Module:
        """See :class:`SRHeadNet`."""
        return SRHeadNet(widths[0], self.deconv_width, self.embedding, self.upscale, joints)


@dataclass(frozen=True)
class BottomUpSRHead:
    """A super-resolution head with tag maps, for several people."""

    deconv_width: tuple[int, ...]
    embedding: int
    upscale: int

    @property
    def multiscale(self) -> bool:
        """It reads one resolution."""
        return False

    def network(self, widths: Sequence[int], joints: int) -> nn.Module:
        """See :class:`BottomUpSRHeadNet`."""
        return BottomUpSRHeadNet(widths[0], self.deconv_width, self.embedding, self.upscale, joints)


def deconvolutions(inputs: int, widths: Sequence[int]) -> nn.Module:
    """For each width a 4×4 transposed convolution that doubles the resolution, BatchNorm and ReLU; flat, as mmpose names it."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.ConvTranspose2d(inputs, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        inputs = width
    return nn.Sequential(*layers)


class SimpleHeadNet(nn.Module):
    """Features [(B, C, h, w), …] to maps (B, outputs, h 2^n, w 2^n) for n transposed convolutions."""

    def __init__(self, inputs: int, deconv_width: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.deconv_layers = deconvolutions(inputs, deconv_width)
        self.final_layer = near_zero(nn.Conv2d(deconv_width[-1] if deconv_width else inputs, outputs, 1))

    def forward(self, features: Features) -> Tensor | list[Tensor]:
        """Reads the first of the features."""
        heatmaps: Tensor = self.final_layer(self.deconv_layers(features[0]))
        return heatmaps


class BottomUpSimpleHeadNet(SimpleHeadNet):
    """Features [(B, C, h, w), …] to a list of one: heatmaps, then tags (B, 2 joints, h 2^n, w 2^n)."""

    def forward(self, features: Features) -> list[Tensor]:
        """Reads the first of the features."""
        return [self.final_layer(self.deconv_layers(features[0]))]


class SRHeadNet(nn.Module):
    """Features [(B, C, h, w), …] to heatmaps (B, joints, r h 2^n, r w 2^n); n transposed convolutions, r the upscaling.

    Each joint sees its own embedding only: the 9×9 convolution has one group per joint, whose r² outputs become the pixels of
    an r × r square.
    """

    KERNEL = 9

    def __init__(self, inputs: int, deconv_width: Sequence[int], embedding: int, upscale: int, joints: int) -> None:
        super().__init__()
        self.width, self.upscale = deconv_width[-1] if deconv_width else inputs, upscale
        self.deconv_layers = deconvolutions(inputs, deconv_width)
        self.kp_encoder = nn.Sequential(nn.Conv2d(self.width, embedding * joints, 1), nn.ReLU(inplace=True))
        self.heatmap_head = near_zero(
            nn.Conv2d(embedding * joints, upscale**2 * joints, self.KERNEL, padding=self.KERNEL // 2, groups=joints)
        )

    def heatmaps(self, x: Tensor) -> Tensor:
        """(B, width, h, w) to (B, joints, r h, r w)."""
        return F.pixel_shuffle(self.heatmap_head(self.kp_encoder(x)), self.upscale)

    def forward(self, features: Features) -> Tensor | list[Tensor]:
        """Reads the first of the features."""
        return self.heatmaps(self.deconv_layers(features[0]))


class BottomUpSRHeadNet(SRHeadNet):
    """Features [(B, C, h, w), …] to a list of one: heatmaps, then tags (B, 2 joints, r h 2^n, r w 2^n).

    Only the heatmaps gain detail: a tag is repeated over its r × r square.
    """

    def __init__(self, inputs: int, deconv_width: Sequence[int], embedding: int, upscale: int, joints: int) -> None:
        super().__init__(inputs, deconv_width, embedding, upscale, joints)
        self.tag_head = nn.Conv2d(self.width, joints, 1)

    def forward(self, features: Features) -> list[Tensor]:
        """Reads the first of the features."""
        x = self.deconv_layers(features[0])
        tags = F.interpolate(self.tag_head(x), scale_factor=self.upscale, mode="nearest")
        return [torch.cat([self.heatmaps(x), tags], dim=1)]
