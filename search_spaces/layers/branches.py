"""Parallel branches of falling resolution and their exchange (multi-resolution fusion), as in every HRNet-like network.

Branch b has 1 / 2^b of the resolution of branch 0; branch 0 is at a quarter of the image. A list of features is always in
this order, high resolution first: [(B, C_0, H/4, W/4), (B, C_1, H/8, W/8), …].

HRNet: Sun et al., "Deep High-Resolution Representation Learning for Human Pose Estimation", CVPR 2019; Wang et al., TPAMI 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from .convolutions import conv_bn, ends_residual

Features = list[Tensor]
Exchange = Literal["sum", "in_place"]
BranchBuilder = Callable[[int, int, int], nn.Module]  # branch, its width, number of blocks -> its layers


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around the identity (He et al., CVPR 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = ends_residual(nn.BatchNorm2d(width))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        out: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + x)  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1×1, 3×3 (with the stride) and 1×1 convolutions around the identity (He et al., CVPR 2016).

    Args:
        inputs: channels.
        width: channels of the 3×3 convolution; the block has four times as many outputs.
        stride: of the 3×3 convolution.
        downsample_first: the projection of the input comes first in checkpoints (HRFormer), not last.
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1, *, downsample_first: bool = False) -> None:
        super().__init__()
        outputs = width * self.expansion
        projects = stride != 1 or inputs != outputs
        downsample = conv_bn(inputs, outputs, 1, stride=stride, act=None) if projects else None
        if downsample_first:
            self.downsample = downsample
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = ends_residual(nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU(inplace=True)
        if not downsample_first:
            self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, 4 width, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))  # type: ignore[no-any-return]


def bottlenecks(
    inputs: int, width: int, blocks: int, stride: int = 1, *, downsample_first: bool = False
) -> nn.Sequential:
    """A sequence of :class:`Bottleneck`; the first one has the stride and changes the number of channels."""
    layers = [Bottleneck(inputs, width, stride, downsample_first=downsample_first)]
    layers += [Bottleneck(width * Bottleneck.expansion, width) for _ in range(blocks - 1)]
    return nn.Sequential(*layers)


def basic_branch(branch: int, width: int, blocks: int) -> nn.Module:
    """HRNet's branch: so many residual blocks."""
    return nn.Sequential(*(BasicBlock(width) for _ in range(blocks)))


def _down(inputs: int, outputs: int, *, depthwise: bool, act: bool, stride: int = 2) -> nn.Sequential:
    """To half the resolution: a 3×3 convolution, or a depthwise 3×3 and a 1×1, each with BatchNorm."""
    last = nn.ReLU if act else None
    if not depthwise:
        return conv_bn(inputs, outputs, 3, stride=stride, act=last)
    first = conv_bn(inputs, inputs, 3, stride=stride, groups=inputs, act=None)
    return nn.Sequential(*first, *conv_bn(inputs, outputs, 1, act=last))


def fuse_layers(
    widths: Sequence[int],
    outputs: int,
    *,
    depthwise: bool = False,
    upsample: Literal["nearest", "bilinear"] = "nearest",
) -> nn.ModuleList:
    """Multi-resolution fusion: ``layers[i][j]`` brings branch j to the width and resolution of branch i.

    To a lower resolution: i - j convolutions of stride 2, the last of which changes the width and has no activation; to a
    higher one: 1×1 convolution, BatchNorm and upsampling; for i = j nothing.

    Args:
        widths: of the branches.
        outputs: only the first so many branches receive.
        depthwise: depthwise and 1×1 convolutions in place of full ones on the way down.
        upsample: how resolution is gained; bilinear is without aligned corners.
    """

    def layer(i: int, j: int) -> nn.Module:
        if i == j:
            return nn.Identity()
        if i < j:
            align = None if upsample == "nearest" else False
            return nn.Sequential(
                *conv_bn(widths[j], widths[i], 1, act=None),
                nn.Upsample(scale_factor=2 ** (j - i), mode=upsample, align_corners=align),
            )
        links = [_down(widths[j], widths[j], depthwise=depthwise, act=True) for _ in range(i - j - 1)]
        return nn.Sequential(*links, _down(widths[j], widths[i], depthwise=depthwise, act=False))

    return nn.ModuleList(
        nn.ModuleList(layer(i, j) for j in range(len(widths))) for i in range(min(outputs, len(widths)))
    )


def exchange(layers: nn.ModuleList, features: Features) -> Features:
    """Every branch becomes the rectified sum of what all branches bring it (HRNet, equation 1)."""
    received, rows = [], list[Any](layers)
    for row in rows:
        brought = [bring(x) for bring, x in zip(row, features, strict=True)]
        received.append(sum(brought[1:], start=brought[0]).relu())
    return received


def exchange_in_place(layers: nn.ModuleList, features: Features) -> Features:
    """What Lite-HRNet and WideHRNet compute: the sum for branch 0 overwrites that branch, and counts its own term twice.

    With S = 2 x_0 + Σ_{j>0} f_0j(x_j): branch 0 becomes relu(S), and branch i > 0 becomes
    relu(2 f_i0(S) + x_i + Σ_{j>0, j≠i} f_ij(x_j)); f_i0 runs twice, so that in training its BatchNorm statistics move twice.
    """
    changed = list(features)
    received, rows = [], list[Any](layers)
    for i, row in enumerate(rows):
        total = changed[0] if i == 0 else row[0](changed[0])
        for j, bring in enumerate(row):
            total = total + bring(changed[j])
        if i == 0:
            changed[0] = total
        received.append(total.relu())
    return received


class HRModule(nn.Module):
    """Layers of every branch, then one exchange between the branches.

    It may have fewer branches than there are features: those of lower resolution rest, and pass as they are.

    Args:
        widths: of the branches.
        blocks: of each branch.
        outputs: only the first so many branches are wanted afterwards.
        branch: builds the layers of one branch.
        depthwise: see :func:`fuse_layers`.
        upsample: see :func:`fuse_layers`.
    """

    def __init__(
        self,
        widths: Sequence[int],
        blocks: Sequence[int],
        outputs: int,
        *,
        branch: BranchBuilder = basic_branch,
        depthwise: bool = False,
        upsample: Literal["nearest", "bilinear"] = "nearest",
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            branch(b, width, depth) for b, (width, depth) in enumerate(zip(widths, blocks, strict=True))
        )
        self.fuse_layers = fuse_layers(widths, outputs, depthwise=depthwise, upsample=upsample)

    def forward(self, features: Features) -> Features:
        """All branches to the first ``outputs`` branches, and the resting ones behind them."""
        own, resting = features[: len(self.branches)], features[len(self.branches) :]
        return exchange(self.fuse_layers, [branch(x) for branch, x in zip(self.branches, own, strict=True)]) + resting


def transition(before: Sequence[int], widths: Sequence[int], *, depthwise: bool = False) -> nn.ModuleList:
    """From the branches of one stage to those of the next: a branch whose width changes is converted, others pass.

    A new branch is made of the last one before, by convolutions of stride 2 (a sequence of sequences in checkpoints).
    """
    layers: list[nn.Module] = []
    for index, width in enumerate(widths):
        if index < len(before):
            same = before[index] == width
            layers.append(
                nn.Identity() if same else _down(before[index], width, depthwise=depthwise, act=True, stride=1)
            )
        else:
            steps = index - len(before) + 1
            links = [_down(before[-1], before[-1], depthwise=depthwise, act=True) for _ in range(steps - 1)]
            layers.append(nn.Sequential(*links, _down(before[-1], width, depthwise=depthwise, act=True)))
    return nn.ModuleList(layers)


def enter(layers: nn.ModuleList, features: Features) -> Features:
    """Apply a :func:`transition`."""
    return [layer(features[min(index, len(features) - 1)]) for index, layer in enumerate(layers)]


class HRTrunk(nn.Module):
    """Stem to a quarter of the resolution, bottlenecks, and three stages of up to two, three and four branches.

    A stage may lack branches of low resolution. A branch begins at its usual place, where its transition is, if any stage from
    there on has it; in a stage without it, it rests: no blocks, and no exchange with the others. What no later stage reads is
    not made. So leaving a branch out is what zeros in its blocks and in its exchange would do, and keeps every name.

    Args:
        widths: of the four branches.
        stages: per stage (up to 2, 3 and 4 branches) the blocks per branch of each of its modules.
        stem: channels of the two stem convolutions.
        bottleneck_blocks: of the first stage, which has one branch.
        bottleneck_width: of their 3×3 convolutions.
        multiscale: the last stage delivers all branches, not only the highest resolution.
        branch: builds the layers of one branch.
        depthwise: see :func:`fuse_layers`.
        upsample: see :func:`fuse_layers`.
        downsample_first: see :class:`Bottleneck`.

    Attributes:
        widths: channels of the features that ``forward`` returns.
    """

    def __init__(
        self,
        widths: Sequence[int],
        stages: Sequence[Sequence[Sequence[int]]],
        *,
        stem: int = 64,
        bottleneck_blocks: int = 4,
        bottleneck_width: int = 64,
        multiscale: bool = False,
        branch: BranchBuilder = basic_branch,
        depthwise: bool = False,
        upsample: Literal["nearest", "bilinear"] = "nearest",
        downsample_first: bool = False,
    ) -> None:
        super().__init__()
        counts = [len(modules[0]) for modules in stages]
        self.widths = tuple(widths[: counts[-1]]) if multiscale else tuple(widths[:1])
        self.conv1 = nn.Conv2d(3, stem, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.conv2 = nn.Conv2d(stem, stem, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = bottlenecks(stem, bottleneck_width, bottleneck_blocks, downsample_first=downsample_first)
        before: tuple[int, ...] = (bottleneck_width * Bottleneck.expansion,)
        for number, modules in enumerate(stages, 2):
            branches, later = counts[number - 2], max(counts[number - 1 :], default=0)
            current = tuple(widths[: min(number, max(branches, later))])
            self.add_module(f"transition{number - 1}", transition(before, current))
            kept = min(len(current), later) if later else len(self.widths)
            layers = []
            for index, blocks in enumerate(modules):
                outputs = kept if index == len(modules) - 1 else branches
                layers.append(
                    HRModule(current[:branches], blocks, outputs, branch=branch, depthwise=depthwise, upsample=upsample)
                )
            self.add_module(f"stage{number}", nn.Sequential(*layers))
            before = current[:kept]
        self.stages = len(stages)

    def forward(self, images: Tensor) -> Features:
        """Images (B, 3, H, W), H and W multiples of 32, to features (B, widths[b], H / 4 / 2^b, W / 4 / 2^b)."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.relu(self.bn2(self.conv2(x)))
        features = [self.layer1(x)]
        for number in range(2, self.stages + 2):
            features = enter(self.get_submodule(f"transition{number - 1}"), features)  # type: ignore[arg-type]
            features = self.get_submodule(f"stage{number}")(features)
        return features
