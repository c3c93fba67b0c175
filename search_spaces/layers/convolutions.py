"""Convolution blocks: conv-BN-activation, inverted residual, squeeze-and-excitation; names as in the papers' checkpoints.

Shapes: x is (B, C, H, W). Convolutions have no bias unless said otherwise; BatchNorm eps is 1e-5.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Literal

import torch
from torch import Tensor, nn

#: How the authors' checkpoints name what a convolution with BatchNorm is made of: ``0``, ``1`` in a plain sequence; ``conv``,
#: ``bn`` in mmcv's ConvModule; ``1``, ``2`` behind an explicit padding (EfficientNet).
Keys = Literal["sequence", "named", "padded"]


def make_divisible(value: float, divisor: int = 8) -> int:
    """``value`` rounded to a multiple of ``divisor``, at least ``divisor`` and never below 0.9 ``value`` (MobileNet)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def conv_bn(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    act: type[nn.Module] | None = nn.ReLU6,
    bias: bool = False,
    keys: Keys = "sequence",
) -> nn.Sequential:
    """Convolution ("same" padding), BatchNorm and, unless ``act`` is None, an activation.

    With ``padded`` keys the padding is a layer of its own, and what is odd of it goes to the right and to the bottom (as
    TensorFlow pads), so that a stride of 2 pads a kernel of 3 there only.
    """
    padded = keys == "padded"
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(inputs, outputs, kernel, stride, 0 if padded else kernel // 2, groups=groups, bias=bias),
        "bn": nn.BatchNorm2d(outputs),
    }
    if padded:
        total = max(kernel - stride, 0)
        before, after = total // 2, total - total // 2
        layers = {"pad": nn.ZeroPad2d((before, after, before, after)), **layers}
    if act is not None:
        layers["act"] = act() if act is nn.Sigmoid else act(inplace=True)
    return nn.Sequential(OrderedDict(layers)) if keys == "named" else nn.Sequential(*layers.values())


def named(convolution: nn.Conv2d) -> nn.Sequential:
    """A convolution under the name ``conv`` alone: mmcv's ConvModule without a normalisation."""
    sequence = nn.Sequential()
    sequence.add_module("conv", convolution)
    return sequence


def near_zero(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer that makes heatmaps, its weights drawn near 0: a training then begins with empty maps, not with noise.

    Xiao et al., "Simple Baselines" (ECCV 2018), and HRNet: normal distribution of standard deviation 0.001, bias 0.
    """
    nn.init.normal_(layer.weight, std=0.001)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def ends_residual(norm: Any) -> nn.Module:
    """Mark the BatchNorm at the end of a residual branch, for :func:`start_as_identity`."""
    norm.ends_residual = True
    return norm  # type: ignore[no-any-return]


def start_as_identity(network: nn.Module) -> None:
    """Set the last BatchNorm weight of every residual branch to 0: a training begins with the identity instead of noise.

    Goyal et al., "Accurate, Large Minibatch SGD" (2017), section 5.1. In a supernet, blocks of a rarely drawn depth would
    otherwise disturb the networks that have them for as long as they are not trained.
    """
    for module in network.modules():
        if getattr(module, "ends_residual", False):
            assert isinstance(module, nn.BatchNorm2d)
            nn.init.zeros_(module.weight)


class SqueezeExcite(nn.Module):
    """x × sigmoid(W2 act(W1 mean(x))): every channel weighed by a global average of all (Hu et al., CVPR 2018).

    Args:
        width: channels of x.
        squeezed: channels between the two 1×1 convolutions, which have a bias.
        act: between them.
        names: of the two convolutions in checkpoints; ``se.1`` stands for ``1`` within ``se``.
    """

    def __init__(
        self, width: int, squeezed: int, act: type[nn.Module] = nn.ReLU, names: tuple[str, str] = ("fc1", "fc2")
    ) -> None:
        super().__init__()
        convolutions = (nn.Conv2d(width, squeezed, 1), nn.Conv2d(squeezed, width, 1))
        for name, convolution in zip(names, convolutions, strict=True):
            place: nn.Module = self
            *parents, last = name.split(".")
            for parent in parents:
                if not hasattr(place, parent):
                    place.add_module(parent, nn.Module())
                place = place.get_submodule(parent)
            place.add_module(last, convolution)
        self.names, self.act = names, act(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        squeeze, excite = (self.get_submodule(name) for name in self.names)
        weight = torch.sigmoid(excite(self.act(squeeze(x.mean((2, 3), keepdim=True)))))
        return x * weight


class InvertedResidual(nn.Module):
    """1×1 to the hidden width, k×k depthwise, 1×1 back; plus the input where stride is 1 and the widths agree.

    MobileNetV2 (Sandler et al., 2018); with kernels up to 9 it is LitePose's large-kernel block (Wang et al., 2022, §3.3); with
    squeeze-and-excitation it is the block of EfficientNet (Tan and Le, 2019) and of WideHRNet.

    Args:
        inputs: channels.
        outputs: channels.
        hidden: channels of the depthwise convolution.
        kernel: of the depthwise convolution.
        stride: of the depthwise convolution.
        act: after the first two convolutions.
        squeeze: what weighs the hidden channels, or None.
        names: of the parts in checkpoints: ``litepose`` (``inv``, ``depth_conv``, ``point_conv``), ``mmpose`` (``block.0`` …), or
            ``efficientnet`` (``conv.0`` …, with explicit padding, and without the first 1×1 where it would not widen).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: int,
        kernel: int,
        stride: int,
        *,
        act: type[nn.Module] = nn.ReLU6,
        squeeze: nn.Module | None = None,
        names: Literal["litepose", "mmpose", "efficientnet"] = "litepose",
    ) -> None:
        super().__init__()
        keys: Keys = {"litepose": "sequence", "mmpose": "named", "efficientnet": "padded"}[names]  # type: ignore[assignment]
        expand = conv_bn(inputs, hidden, 1, act=act, keys=keys)
        depthwise = conv_bn(hidden, hidden, kernel, stride=stride, groups=hidden, act=act, keys=keys)
        project = conv_bn(hidden, outputs, 1, act=None, keys="named" if names == "mmpose" else "sequence")
        middle = [] if squeeze is None else [squeeze]
        if names == "litepose":
            self.inv, self.depth_conv = expand, depthwise
            self.squeeze = nn.Sequential(*middle)
            self.point_conv = project
        elif names == "mmpose":
            self.block = nn.Sequential(expand, depthwise, *middle, project)
            self.block.zero_is_identity = False  # type: ignore[assignment]  # zeros in the squeeze halve what it weighs
            if not middle:
                # where the projection stands in a block that weighs its channels
                self.block.canonical = {"2": "3"}  # type: ignore[assignment]
        else:
            first = [expand] if hidden != inputs else []
            self.conv = nn.Sequential(*first, depthwise, *middle, *project)
        self.residual = stride == 1 and inputs == outputs
        if self.residual:
            ends_residual(list(project.children())[-1])

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        out = x
        for part in self.children():
            out = part(out)
        return x + out if self.residual else out


class SeparableHead(nn.Module):
    """k×k depthwise, BatchNorm, ReLU and a 1×1 convolution to the outputs (no bias)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 5) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, inputs, kernel, 1, kernel // 2, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
            near_zero(nn.Conv2d(inputs, outputs, 1, bias=False)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        out: Tensor = self.conv(x)
        return out
