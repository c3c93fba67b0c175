"""Networks that are trained and extracted exactly, and whose smaller forms are bad: something is not declared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from search_spaces import Space, choice


@dataclass(frozen=True)
class Arch:
    width: int = choice(4, 8)
    input_hw: tuple[int, int] = (16, 16)


SPACE: Space[Arch] = Space(Arch())


class Undeclared(nn.Module):
    """With ``right``, what is missing is declared."""

    def __init__(self, arch: Arch, right: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, arch.width, 3, 2, 1), nn.BatchNorm2d(arch.width), nn.ReLU())
        self.make(arch.width, right)

    def make(self, width: int, right: bool) -> None:
        raise NotImplementedError


class SmallUNet(Undeclared):
    def make(self, width: int, right: bool) -> None:
        self.down, self.up = nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.join = nn.Conv2d(2 * width, 3, 3, padding=1)
        if right:
            self.join.sources = (width, width)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y: Tensor = self.join(torch.cat([x, self.up(F.relu(self.down(x)))], 1))
        return y


class Shuffled(Undeclared):
    def make(self, width: int, right: bool) -> None:
        self.wide, self.after = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(2 * width, 3, 1)
        if right:  # channel i of the halves lies at 2 i and 2 i + 1
            self.wide.targets = (width, width)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        x = self.wide(self.stem(x))
        batch, channels, height, width = x.shape
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)
        y: Tensor = self.after(x)
        return y


class ChannelsLast(Undeclared):
    def make(self, width: int, right: bool) -> None:
        self.head = nn.Linear(64 * width, 3)
        if right:
            self.head.sources = (width,) * 64  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.stem(x).permute(0, 2, 3, 1).flatten(1))
        return y


class FusedAttention(Undeclared):
    def make(self, width: int, right: bool) -> None:
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, 3)
        if right:
            self.qkv.targets = (width,) * 3  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.stem(x).flatten(2).transpose(1, 2)).chunk(3, -1)
        y: Tensor = self.proj((q @ k.transpose(1, 2) * 0.3).softmax(-1) @ v)
        return y


class NormFirst(Undeclared):
    """DenseNet's order: what was concatenated is normalised before it is read."""

    def make(self, width: int, right: bool) -> None:
        self.grow = nn.Conv2d(width, width, 3, padding=1)
        self.norm, self.read = nn.BatchNorm2d(2 * width), nn.Conv2d(2 * width, 3, 1)
        self.read.sources = (width, width)  # type: ignore[assignment]
        if right:
            self.norm.sources = (width, width)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y: Tensor = self.read(F.relu(self.norm(torch.cat([x, self.grow(x)], 1))))
        return y


class ScaledBuffer(Undeclared):
    scale: Tensor

    def make(self, width: int, right: bool) -> None:
        self.out = nn.Conv2d(width, 3, 1)
        self.register_buffer("scale", torch.full((1,), 1.0 if right else width**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.stem(x) * self.scale)
        return y


#: By the name of the module, or buffer, that has to be named.
UNDECLARED: dict[str, Callable[[Arch, bool], nn.Module]] = {
    "join": SmallUNet, "wide|after": Shuffled, "head": ChannelsLast, "qkv": FusedAttention, "norm": NormFirst,
    "scale": ScaledBuffer,
}  # fmt: skip
