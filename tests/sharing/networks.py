"""Well-known networks as one finds them elsewhere, small by default: they know nothing of supernets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: Any = nn.ReLU) -> Any:
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([act()] if act else []))


class Basic(nn.Module):
    """He et al., 2016."""

    grows = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv_bn(inputs, width, 3, stride), conv_bn(width, width, act=None)
        self.downsample = conv_bn(inputs, width, 1, stride, act=None) if stride > 1 or inputs != width else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        y += x if self.downsample is None else self.downsample(x)
        return F.relu(y, inplace=True)


class Bottleneck(nn.Module):
    grows = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv_bn(inputs, width, 1), conv_bn(width, width, 3, stride)
        self.conv3 = conv_bn(width, 4 * width, 1, act=None)
        self.downsample = conv_bn(inputs, 4 * width, 1, stride, act=None) if stride > 1 or inputs != 4 * width else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv3(self.conv2(self.conv1(x)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, block: Any, depths: Sequence[int], width: int = 64, classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, width, 7, 2), nn.MaxPool2d(3, 2, 1))
        inputs, stages = width, []
        for stage, depth in enumerate(depths):
            blocks = []
            for number in range(depth):
                blocks.append(block(inputs, width << stage, 2 if stage and not number else 1))
                inputs = (width << stage) * block.grows
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        y: Tensor = self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
        return y


class SqueezeExcite(nn.Module):
    """Hu et al., 2018."""

    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(width, squeezed, 1), nn.Conv2d(squeezed, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(scale)


class Inverted(nn.Module):
    def __init__(self, inputs: int, hidden: int, outputs: int, kernel: int, stride: int, squeeze: bool) -> None:
        super().__init__()
        layers = [
            conv_bn(inputs, hidden, 1, act=nn.Hardswish),
            conv_bn(hidden, hidden, kernel, stride, hidden, nn.Hardswish),
        ]
        layers += [SqueezeExcite(hidden, max(8, hidden // 4))] if squeeze else []
        self.block = nn.Sequential(*layers, conv_bn(hidden, outputs, 1, act=None))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.residual else y


class MobileNetV3(nn.Module):
    """Howard et al., 2019: the large network at ``scale=1``."""

    ROWS = (
        (3, 16, 16, 0, 1), (3, 64, 24, 0, 2), (3, 72, 24, 0, 1), (5, 72, 40, 1, 2), (5, 120, 40, 1, 1), (5, 120, 40, 1, 1),
        (3, 240, 80, 0, 2), (3, 200, 80, 0, 1), (3, 184, 80, 0, 1), (3, 184, 80, 0, 1), (3, 480, 112, 1, 1),
        (3, 672, 112, 1, 1), (5, 672, 160, 1, 2), (5, 960, 160, 1, 1), (5, 960, 160, 1, 1),
    )  # fmt: skip

    def __init__(self, scale: float = 1.0, classes: int = 1000, rows: int = 15) -> None:
        super().__init__()
        inputs, layers = round(16 * scale), []
        self.stem = conv_bn(3, inputs, 3, 2, act=nn.Hardswish)
        for kernel, hidden, outputs, squeeze, stride in self.ROWS[:rows]:
            hidden, outputs = round(hidden * scale), round(outputs * scale)
            layers.append(Inverted(inputs, hidden, outputs, kernel, stride, bool(squeeze)))
            inputs = outputs
        self.blocks = nn.Sequential(*layers)
        self.last = conv_bn(inputs, 6 * inputs, 1, act=nn.Hardswish)
        head = round(1280 * scale)
        self.head = nn.Sequential(
            nn.Linear(6 * inputs, head), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(head, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.last(self.blocks(self.stem(x))).mean((2, 3)))
        return y


class UNet(nn.Module):
    """Ronneberger et al., 2015: every level concatenates what it had on the way down."""

    def __init__(self, width: int = 64, levels: int = 4, classes: int = 2) -> None:
        super().__init__()
        widths = [width << level for level in range(levels)]
        self.down = nn.ModuleList(
            nn.Sequential(conv_bn(inputs, outputs), conv_bn(outputs, outputs))
            for inputs, outputs in zip([3, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * one, one, 2, 2) for one in widths[-2::-1])
        self.join = nn.ModuleList(nn.Sequential(conv_bn(2 * one, one), conv_bn(one, one)) for one in widths[-2::-1])
        self.out = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for level, down in enumerate(self.down):
            x = down(F.max_pool2d(x, 2) if level else x)
            kept.append(x)
        for up, join, skip in zip(self.up, self.join, kept[-2::-1], strict=True):
            x = join(torch.cat([skip, up(x)], 1))
        y: Tensor = self.out(x)
        return y


class DenseNet(nn.Module):
    """Huang et al., 2017: every layer reads all that came before, normalised first."""

    def __init__(self, growth: int = 32, depths: Sequence[int] = (6, 12, 24, 16), classes: int = 1000) -> None:
        super().__init__()
        width = 2 * growth
        self.stem = nn.Sequential(conv_bn(3, width, 7, 2), nn.MaxPool2d(3, 2, 1))
        self.layers, self.transitions = nn.ModuleList(), nn.ModuleList()
        for number, depth in enumerate(depths):
            block = nn.ModuleList()
            for _ in range(depth):
                parts = [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 4 * growth, 1, bias=False)]
                parts += [
                    nn.BatchNorm2d(4 * growth),
                    nn.ReLU(),
                    nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
                ]
                block.append(nn.Sequential(*parts))
                width += growth
            self.layers.append(block)
            last = number == len(depths) - 1
            halve = [] if last else [nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2, 2)]
            self.transitions.append(nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), *halve))
            width = width if last else width // 2
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block, transition in zip(self.layers, self.transitions, strict=True):
            seen = [x]
            for layer in block:  # type: ignore[attr-defined]
                seen.append(layer(torch.cat(seen, 1)))
            x = transition(torch.cat(seen, 1))
        y: Tensor = self.fc(x.mean((2, 3)))
        return y


class ShuffleUnit(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.halve = stride == 1
        if stride > 1:
            self.left = nn.Sequential(conv_bn(inputs, inputs, 3, stride, inputs, None), conv_bn(inputs, half, 1))
        inputs = half if stride == 1 else inputs
        self.right = nn.Sequential(
            conv_bn(inputs, half, 1), conv_bn(half, half, 3, stride, half, None), conv_bn(half, half, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.halve:
            left, right = x.chunk(2, dim=1)
            y = torch.cat([left, self.right(right)], 1)
        else:
            y = torch.cat([self.left(x), self.right(x)], 1)
        batch, channels, height, width = y.shape
        return (
            y.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous().view(batch, -1, height, width)
        )


class ShuffleNetV2(nn.Module):
    """Ma et al., 2018."""

    def __init__(self, widths: Sequence[int] = (24, 116, 232, 464), depths: Sequence[int] = (4, 8, 4)) -> None:
        super().__init__()
        self.stem = conv_bn(3, widths[0], 3, 2)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    ShuffleUnit(inputs, outputs, 2), *(ShuffleUnit(outputs, outputs, 1) for _ in range(depth - 1))
                )
                for inputs, outputs, depth in zip(widths, widths[1:], depths, strict=False)
            )
        )
        self.last = conv_bn(widths[-1], 1024 if widths[-1] > 400 else 64, 1)
        self.fc = nn.Linear(1024 if widths[-1] > 400 else 64, 1000)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(self.last(self.stages(self.stem(x))).mean((2, 3)))
        return y


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Liu et al., 2022: the tiny network by default."""

    def __init__(self, widths: Sequence[int] = (96, 192, 384, 768), depths: Sequence[int] = (3, 3, 9, 3)) -> None:
        super().__init__()
        steps: list[nn.Module] = [nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), LayerNorm2d(widths[0], eps=1e-6))]
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            steps.append(nn.Sequential(LayerNorm2d(inputs, eps=1e-6), nn.Conv2d(inputs, outputs, 2, 2)))
        self.downsample = nn.ModuleList(steps)
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(width) for _ in range(depth)))
            for width, depth in zip(widths, depths, strict=True)
        )
        self.norm, self.head = nn.LayerNorm(widths[-1], eps=1e-6), nn.Linear(widths[-1], 1000)

    def forward(self, x: Tensor) -> Tensor:
        for down, stage in zip(self.downsample, self.stages, strict=True):
            x = stage(down(x))
        y: Tensor = self.head(self.norm(x.mean((2, 3))))
        return y


class Attention(nn.Module):
    """Fused queries, keys and values, as most write it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weights = (q @ k.transpose(-2, -1) * self.scale).softmax(-1)
        y: Tensor = self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, width))
        return y


class MultiHead(nn.MultiheadAttention):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        y: Tensor = super().forward(x, x, x, need_weights=False)[0]
        return y


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, own: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads) if own else MultiHead(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class ViT(nn.Module):
    """Dosovitskiy et al., 2021; ``own`` attention or PyTorch's."""

    def __init__(self, width: int = 192, depth: int = 12, heads: int = 3, side: int = 224, own: bool = True) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, (side // 16) ** 2 + 1, width) * 0.02)
        self.blocks = nn.ModuleList(Layer(width, heads, own) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.head(self.norm(x)[:, 0])
        return y


#: Small forms, for quick tests: a network, and the side of its images.
SMALL: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "ResNet-18": (lambda: ResNet(Basic, (2, 2, 2, 2), 16, 10), 64),
    "ResNet-50": (lambda: ResNet(Bottleneck, (2, 2, 2, 2), 16, 10), 64),
    "MobileNetV3": (lambda: MobileNetV3(1.0, 10, 6), 64),
    "U-Net": (lambda: UNet(16, 3), 32),
    "DenseNet": (lambda: DenseNet(16, (2, 3), 10), 32),
    "ShuffleNet": (lambda: ShuffleNetV2((24, 48, 96), (2, 3)), 64),
    "ConvNeXt": (lambda: ConvNeXt((16, 32), (2, 2)), 32),
    "ViT": (lambda: ViT(32, 2, 2, 32), 32),
    "ViT, MultiheadAttention": (lambda: ViT(32, 2, 2, 32, own=False), 32),
}

#: The published sizes.
PUBLISHED: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "ResNet-18": (lambda: ResNet(Basic, (2, 2, 2, 2)), 224),
    "ResNet-50": (lambda: ResNet(Bottleneck, (3, 4, 6, 3)), 224),
    "MobileNetV3": (MobileNetV3, 224),
    "U-Net": (UNet, 128),
    "DenseNet": (DenseNet, 224),
    "ShuffleNet": (ShuffleNetV2, 224),
    "ConvNeXt": (ConvNeXt, 224),
    "ViT": (ViT, 224),
    "ViT, MultiheadAttention": (lambda: ViT(own=False), 224),
}
