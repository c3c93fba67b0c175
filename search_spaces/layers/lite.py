"""Shuffle stem, branches and stages that Lite-HRNet and WideHRNet share: everything but the layers inside of a module.

A shuffle stem to a quarter of the resolution, three stages of two, three and four branches that exchange what they know through
depthwise convolutions, and a head that gathers all branches into the highest resolution.

Layers split every branch into halves, change the second one and interleave the two (the channel shuffle of ShuffleNet V2, Ma
et al., ECCV 2018). A layer more is therefore never the identity.

Branches may be pruned: a stage computes its ``branches`` highest resolutions alone. What is left out has no layers and no
exchange in that stage; a branch that a later stage needs is made where it always is and waits unchanged, and one that none needs
is not made at all.

Widths. The shuffle moves channel i of C to 2 i mod (C - 1); the last one stays. The halves that a channel is in, layer by layer,
are thus the binary digits of i / (C - 1). So channel j of a wide branch goes through the same halves as channel i of a narrow
one, of c channels, only if j / (C - 1) = i / (c - 1): for all i, where c - 1 divides C - 1, as for 14 of 40 or 54 of 160. For
widths that one would choose, no set of channels stays aligned, and the leading ones are as good as others: a narrower branch is
extracted exactly, but it inherits weights that were trained for other channels of the wider one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ..space import ArchitectureError, choice
from .branches import Exchange, Features, enter, exchange, exchange_in_place, fuse_layers, transition
from .convolutions import conv_bn


@dataclass(frozen=True)
class LiteArchitecture:
    """What an architecture of either family begins with.

    Attributes:
        resolution: height and width of the input, pixels, multiples of 32.
        stem: channels of the stem.
        widths: of the four branches, highest resolution first.
        exchange: how branches exchange: ``in_place`` is what the authors' code computes, ``sum`` what the papers say.
    """

    resolution: tuple[int, int]
    stem: int
    widths: tuple[int, ...]
    exchange: Exchange

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input, pixels."""
        return self.resolution


class BlockLike(Protocol):
    """What both families say of a layer."""

    @property
    def kernel(self) -> int:
        """Side of the depthwise kernel, odd."""
        ...

    @property
    def squeeze(self) -> float:
        """Share of the channels that the squeezed weights keep."""
        ...


class ModuleLike(Protocol):
    """What both families say of a module."""

    @property
    def blocks(self) -> Sequence[BlockLike]:
        """Its layers, before the exchange."""
        ...


class StageLike(Protocol):
    """What both families say of a stage."""

    @property
    def branches(self) -> int:
        """How many branches it computes, the highest resolutions."""
        ...

    @property
    def modules(self) -> Sequence[ModuleLike]:
        """One after another."""
        ...


def check(arch: LiteArchitecture, stages: Sequence[StageLike]) -> None:
    """Refuse what the types of an architecture allow and the networks do not.

    Args:
        arch: what both families have.
        stages: of the architecture.

    Raises:
        ArchitectureError: with the place, the value and what it has to be.
    """

    def require(right: bool, place: str, value: object, needed: str) -> None:
        if not right:
            raise ArchitectureError(f"{place} is {value}, it has to be {needed}")

    for index, side in enumerate(arch.resolution):
        require(side > 0 and side % 32 == 0, f"resolution[{index}]", side, "a multiple of 32")
    for place, width in {"stem": arch.stem, **{f"widths[{i}]": width for i, width in enumerate(arch.widths)}}.items():
        require(width > 0 and width % 2 == 0, place, width, "even, because it is split into halves")
    require(len(stages) > 0, "number of stages", len(stages), "at least 1")
    require(len(arch.widths) == len(stages) + 1, "number of widths", len(arch.widths), f"{len(stages) + 1}: stages + 1")
    for s, stage in enumerate(stages):
        require(1 <= stage.branches <= s + 2, f"stages[{s}].branches", stage.branches, f"from 1 to {s + 2}")
        require(len(stage.modules) > 0, f"number of stages[{s}].modules", 0, "at least 1")
        for m, module in enumerate(stage.modules):
            place = f"stages[{s}].modules[{m}].blocks"
            require(len(module.blocks) > 0, f"number of {place}", 0, "at least 1")
            for b, block in enumerate(module.blocks):
                require(block.kernel % 2 == 1, f"{place}[{b}].kernel", block.kernel, "odd")
                require(0 <= block.squeeze <= 1, f"{place}[{b}].squeeze", block.squeeze, "a share from 0 to 1")


#: How many branches each stage may compute; two resolutions are left at the end.
LIVE = (choice(1, 2), choice(2, 3), choice(2, 3, 4))


def with_branches(data: Any) -> Any:
    """The JSON value of an architecture; where its stages do not say how many branches they compute: all of them."""
    stages = data.get("stages") if isinstance(data, dict) else None
    if not isinstance(stages, list):
        return data
    filled = [{"branches": n, **stage} if isinstance(stage, dict) else stage for n, stage in enumerate(stages, 2)]
    return {**data, "stages": filled}


def interleave(first: Tensor, second: Tensor) -> Tensor:
    """Channels of two (B, C, H, W) in turn, (B, 2 C, H, W): their concatenation after a channel shuffle of two groups."""
    return torch.stack((first, second), dim=2).flatten(1, 2)


class LiteStem(nn.Module):
    """A 3×3 convolution, then one half of the channels through a separable convolution, the other through a wider one.

    Images (B, 3, H, W) to (B, width, H/4, W/4).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = conv_bn(3, width, 3, stride=2, act=nn.ReLU, keys="named")
        self.branch1 = nn.Sequential(
            conv_bn(half, half, 3, stride=2, groups=half, act=None, keys="named"),
            conv_bn(half, half, 1, act=nn.ReLU, keys="named"),
        )
        self.expand_conv = conv_bn(half, width, 1, act=nn.ReLU, keys="named")
        self.depthwise_conv = conv_bn(width, width, 3, stride=2, groups=width, act=None, keys="named")
        self.linear_conv = conv_bn(width, half, 1, act=nn.ReLU, keys="named")

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        first, second = self.conv1(images).chunk(2, 1)
        return interleave(self.branch1(first), self.linear_conv(self.depthwise_conv(self.expand_conv(second))))


class LiteModule(nn.Module):
    """Layers over all branches, each from features to features, then one exchange between the branches.

    Args:
        layers: what they do not change they pass on.
        widths: of the branches that take part; those below wait.
        outputs: only the first so many branches are wanted afterwards.
        how: see :class:`LiteArchitecture`.
    """

    def __init__(self, layers: Sequence[nn.Module], widths: Sequence[int], outputs: int, how: Exchange) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.layers.zero_is_identity = False  # type: ignore[assignment]  # every layer shuffles the channels
        self.branches = len(widths)
        self.fuse_layers = fuse_layers(widths, outputs, depthwise=True)
        self.exchange = exchange_in_place if how == "in_place" else exchange

    def forward(self, features: Features) -> Features:
        """All branches, those that wait too, to those that are wanted, at the same widths."""
        changed = self.layers(features)
        return [*self.exchange(self.fuse_layers, changed[: self.branches]), *changed[self.branches :]]


class IterativeHead(nn.Module):
    """From the lowest resolution upwards: add what came from below, and convert it to the width of the next branch.

    Args:
        widths: of the branches that are left.
        pruned: how many lower ones are not.
    """

    def __init__(self, widths: Sequence[int], pruned: int) -> None:
        super().__init__()
        upwards = list(reversed(widths))
        self.projects = nn.ModuleList(
            nn.Sequential(
                OrderedDict(
                    depthwise_conv=conv_bn(width, width, 3, groups=width, act=None, keys="named"),
                    pointwise_conv=conv_bn(width, above, 1, act=nn.ReLU, keys="named"),
                )
            )
            for width, above in zip(upwards, [*upwards[1:], upwards[-1]], strict=True)
        )
        # checkpoints count from the lowest branch, whichever it is
        self.projects.canonical = {str(i): str(i + pruned) for i in range(len(upwards))}  # type: ignore[assignment]

    def forward(self, features: Features) -> Tensor:
        """All branches to one (B, widths[0], H/4, W/4)."""
        *above, lowest = features
        out: Tensor = self.projects[0](lowest)
        for project, x in zip(list(self.projects)[1:], reversed(above), strict=True):
            out = project(x + F.interpolate(out, scale_factor=2.0, mode="bilinear", align_corners=True))
        return out


#: From a block, the widths of the branches that it changes and the branch of its stage's lowest resolution (from 0): its layer.
LayerBuilder = Callable[[Any, Sequence[int], int], nn.Module]


class LiteTrunk(nn.Module):
    """Stem, stages of two, three and four branches less those that are pruned, and the iterative head.

    Args:
        arch: stem, widths and exchange.
        stages: of the architecture.
        layer: builds one layer.

    Attributes:
        widths: channels of the features that ``forward`` returns.
    """

    def __init__(self, arch: LiteArchitecture, stages: Sequence[StageLike], layer: LayerBuilder) -> None:
        super().__init__()
        self.widths = arch.widths[:1]
        self.stem = LiteStem(arch.stem)
        self.stages = len(stages)
        live = [stage.branches for stage in stages]
        before: tuple[int, ...] = (arch.stem,)
        for index, stage in enumerate(stages):
            made = arch.widths[: min(index + 2, max(live[index:]))]
            self.add_module(f"transition{index}", transition(before, made, depthwise=True))
            wanted = max(live[index + 1 :], default=live[index])
            modules = []
            for position, module in enumerate(stage.modules, 1):
                widths = made[: stage.branches]
                layers = [layer(block, widths, index + 1) for block in module.blocks]
                outputs = min(stage.branches, wanted) if position == len(stage.modules) else stage.branches
                modules.append(LiteModule(layers, widths, outputs, arch.exchange))
            sequence = nn.Sequential(*modules)
            sequence.zero_is_identity = False  # type: ignore[assignment]  # an exchange in place doubles a branch
            self.add_module(f"stage{index}", sequence)
            before = made
        self.head_layer = IterativeHead(before, pruned=len(arch.widths) - len(before))

    def forward(self, images: Tensor) -> Features:
        """Images (B, 3, H, W), H and W multiples of 32, to one feature (B, widths[0], H/4, W/4) in a list."""
        features: Features = [self.stem(images)]
        for index in range(self.stages):
            features = enter(self.get_submodule(f"transition{index}"), features)  # type: ignore[arg-type]
            features = self.get_submodule(f"stage{index}")(features)
        return [self.head_layer(features)]
