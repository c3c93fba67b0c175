"""Heads that classify coordinates (SimCC): for each joint one vector over the bins of x and one over those of y.

Papers: Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation", ECCV 2022; Jiang et al.,
"RTMPose" (2023), whose head lets the joints attend to one another; Hua et al., "Transformer Quality in Linear Time" (ICML 2022),
its gated attention unit. Names are those of mmpose's checkpoints. Shape legend: B people, K joints, F cells of a map, d
channels of a token, bins: ``BINS_PER_PIXEL`` of each pixel of the input's width or height.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .convolutions import near_zero
from .heads import Backbone, SimpleHeadNet

BINS_PER_PIXEL = 2  # mmpose: simcc_split_ratio
STRIDE = 32  # pixels of the input to a cell of the backbone's last map


class CoordinateHead(Protocol):
    """An architecture that classifies coordinates of features at 1/32 of the resolution."""

    def network(self, inputs: int, input_hw: tuple[int, int], joints: int) -> nn.Module:
        """The network: features [(B, inputs, H/32, W/32)] to vectors for x and for y."""
        ...


class SimCCNet(nn.Module):
    """A backbone and a head that classifies coordinates; takes images of one size only.

    ``forward`` returns a list of two: logits over the bins of x (B, joints, 2 W), and over those of y (B, joints, 2 H).
    """

    def __init__(self, backbone: Backbone, head: CoordinateHead, input_hw: tuple[int, int], joints: int) -> None:
        super().__init__()
        self.joints, self.input_hw = joints, input_hw
        self.backbone = backbone.network(multiscale=False)
        self.head = head.network(cast("tuple[int, ...]", self.backbone.widths)[0], input_hw, joints)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) to the outputs.

        Raises:
            RuntimeError: the images are of another size than the network's.
        """
        if tuple(images.shape[2:]) != self.input_hw:
            found, own = tuple(images.shape[2:]), self.input_hw
            raise RuntimeError(f"images are {found[0]}x{found[1]} (HxW), the network takes {own[0]}x{own[1]} only")
        outputs: list[Tensor] = self.head(self.backbone(images))
        return outputs


def _own_weights(input_hw: tuple[int, int], *children: str) -> dict[str, str]:
    """The names of layers whose weights belong to one input size, in a network that has them for several."""
    return {child: f"{child}_{input_hw[0]}x{input_hw[1]}" for child in children}


def _normal(layer: nn.Linear, std: float) -> nn.Linear:
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


# ------------------------------------------------------------------------------------------------------------ SimCC


@dataclass(frozen=True)
class SimCC:
    """Transposed convolutions of stride 2, if any, a map for each joint, and a linear layer from it to the bins of an axis."""

    deconv_width: tuple[int, ...]

    def network(self, inputs: int, input_hw: tuple[int, int], joints: int) -> SimCCHeadNet:
        """See :class:`SimCCHeadNet`."""
        return SimCCHeadNet(inputs, self.deconv_width, input_hw, joints)


class SimCCHeadNet(nn.Module):
    """Features [(B, C, h, w)] to logits (B, joints, 2 W) and (B, joints, 2 H)."""

    separate_by = "resolution"

    def __init__(self, inputs: int, deconv_width: Sequence[int], input_hw: tuple[int, int], joints: int) -> None:
        super().__init__()
        finer = 2 ** len(deconv_width)
        cells = (input_hw[0] * finer // STRIDE) * (input_hw[1] * finer // STRIDE)
        if deconv_width:
            self.deconv_head = SimpleHeadNet(inputs, deconv_width, joints)
        else:
            self.final_layer = near_zero(nn.Conv2d(inputs, joints, 1))
        self.mlp_head_x = _normal(nn.Linear(cells, BINS_PER_PIXEL * input_hw[1]), 0.01)
        self.mlp_head_y = _normal(nn.Linear(cells, BINS_PER_PIXEL * input_hw[0]), 0.01)
        self.canonical = _own_weights(input_hw, "mlp_head_x", "mlp_head_y")

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Reads the first of the features."""
        maps = self.deconv_head(features) if hasattr(self, "deconv_head") else self.final_layer(features[0])
        flat_BKF = maps.flatten(2)
        return [self.mlp_head_x(flat_BKF), self.mlp_head_y(flat_BKF)]


# ---------------------------------------------------------------------------------------------------------- RTMPose


@dataclass(frozen=True)
class RTMCC:
    """RTMPose's head.

    Attributes:
        kernel: of the convolution that makes a map for each joint.
        hidden: channels d of a joint's token.
        key: channels s of queries and keys.
        expansion: channels of the gated values, as a multiple of ``hidden``.
    """

    kernel: int
    hidden: int
    key: int
    expansion: int

    def network(self, inputs: int, input_hw: tuple[int, int], joints: int) -> RTMCCHeadNet:
        """See :class:`RTMCCHeadNet`."""
        return RTMCCHeadNet(self, inputs, input_hw, joints)


class ScaleNorm(nn.Module):
    """x · g / max(‖x‖ / √n, 1e-5) over the last axis, of n entries; one factor g for all (Nguyen and Salazar, 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """(…, n) to the same."""
        norm = x.square().sum(dim=-1, keepdim=True).sqrt() * x.shape[-1] ** -0.5
        out: Tensor = x / norm.clamp(min=1e-5) * self.g
        return out


class Scale(nn.Module):
    """A factor for each channel."""

    shares_leading = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) to the same."""
        return x * self.scale


class GatedAttention(nn.Module):
    """Gated attention unit: x · scale + W (u × relu(q kᵀ / √s)² v), all of u, v, q and k from one projection.

    Without softmax, dropout, position bias or rotary encoding, as RTMPose uses it; the sum over tokens is not divided by their
    number.
    """

    shares_leading = True

    def __init__(self, width: int, key: int, gated: int) -> None:
        super().__init__()
        self.parts = (gated, gated, key)
        self.gamma = nn.Parameter(torch.rand(2, key))
        self.beta = nn.Parameter(torch.rand(2, key))
        self.o = _normal(nn.Linear(gated, width, bias=False), 0.01)
        self.uv = _normal(nn.Linear(width, sum(self.parts), bias=False), 0.01)
        self.uv.targets = self.parts  # type: ignore[assignment]
        self.ln = ScaleNorm()
        self.res_scale = Scale(width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, K, width) to the same."""
        u_BKe, v_BKe, base_BKs = torch.split(F.silu(self.uv(self.ln(x))), list(self.parts), dim=2)
        q_BKs, k_BKs = (base_BKs * self.gamma[index] + self.beta[index] for index in range(2))
        weights_BKK = F.relu(torch.bmm(q_BKs, k_BKs.transpose(1, 2)) / math.sqrt(self.parts[2])).square()
        out: Tensor = self.res_scale(x) + self.o(u_BKe * torch.bmm(weights_BKK, v_BKe))
        return out


class RTMCCHeadNet(nn.Module):
    """Features [(B, C, H/32, W/32)] to logits (B, joints, 2 W) and (B, joints, 2 H)."""

    separate_by = "resolution"

    def __init__(self, head: RTMCC, inputs: int, input_hw: tuple[int, int], joints: int) -> None:
        super().__init__()
        cells = (input_hw[0] // STRIDE) * (input_hw[1] // STRIDE)
        self.final_layer = near_zero(nn.Conv2d(inputs, joints, head.kernel, padding=head.kernel // 2))
        self.mlp = nn.Sequential(ScaleNorm(), _normal(nn.Linear(cells, head.hidden, bias=False), 0.01))
        self.gau = GatedAttention(head.hidden, head.key, head.expansion * head.hidden)
        self.cls_x = _normal(nn.Linear(head.hidden, BINS_PER_PIXEL * input_hw[1], bias=False), 0.01)
        self.cls_y = _normal(nn.Linear(head.hidden, BINS_PER_PIXEL * input_hw[0], bias=False), 0.01)
        self.canonical = _own_weights(input_hw, "mlp", "cls_x", "cls_y")

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Reads the first of the features."""
        tokens_BKd = self.gau(self.mlp(self.final_layer(features[0]).flatten(2)))
        return [self.cls_x(tokens_BKd), self.cls_y(tokens_BKd)]
