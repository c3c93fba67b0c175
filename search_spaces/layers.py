"""Blocks that several families share. Plain PyTorch; names follow the papers' own checkpoints.

Shapes: x is (B, C, H, W). Convolutions have no bias unless said otherwise; BatchNorm eps is 1e-5.
"""

from __future__ import annotations

from torch import Tensor, nn


def make_divisible(value: float, divisor: int = 8) -> int:
    """``value`` rounded to a multiple of ``divisor``, at least ``divisor`` and never below 0.9 ``value`` (MobileNet)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def conv_bn(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, act: type[nn.Module] | None = nn.ReLU6
) -> nn.Sequential:
    """Convolution ("same" padding), BatchNorm and, unless ``act`` is None, an activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    if act is not None:
        layers.append(act(inplace=True))
    return nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    """1×1 to the hidden width, k×k depthwise, 1×1 back; plus the input where stride is 1 and the widths agree.

    MobileNetV2 (Sandler et al., 2018); with kernels up to 9 it is LitePose's large-kernel block (Wang et al., 2022, §3.3).
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.inv = conv_bn(inputs, hidden, 1)
        self.depth_conv = conv_bn(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.point_conv = conv_bn(hidden, outputs, 1, act=None)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        out: Tensor = self.point_conv(self.depth_conv(self.inv(x)))
        return x + out if self.residual else out


class SeparableHead(nn.Module):
    """k×k depthwise, BatchNorm, ReLU and a 1×1 convolution to the outputs (no bias)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 5) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, inputs, kernel, 1, kernel // 2, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(inputs, outputs, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        out: Tensor = self.conv(x)
        return out
