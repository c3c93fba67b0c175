"""An ordinary classification task: a network, images, a loss and a score. Nothing here knows of supernets.

The network is a small one after He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy as loss

__all__ = ["ResNet", "accuracy", "draw_images", "loss", "trained_network"]


class Block(nn.Module):
    """Two convolutions beside a shortcut: (B, C, H, W) -> (B, D, H / stride, W / stride)."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel, 1, kernel // 2, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Conv2d(inputs, width, 1, 2, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """Classify images (B, 3, H, W): scores (B, classes).

    Args:
        widths: channels of each stage; every stage halves height and width.
        kernels: of each stage, the kernel size of each of its blocks.
        classes: how many there are.
        stem: channels before the first stage.
    """

    def __init__(
        self, widths: Sequence[int], kernels: Sequence[Sequence[int]], classes: int = 3, stem: int = 8
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU())
        self.stages = nn.Sequential()
        for inputs, width, sizes in zip((stem, *widths), widths, kernels, strict=False):
            rest = (Block(width, width, kernel, 1) for kernel in sizes[1:])
            self.stages.append(nn.Sequential(Block(inputs, width, sizes[0], 2), *rest))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))

    def forward(self, images: Tensor) -> Tensor:
        """Scores before the softmax."""
        scores: Tensor = self.head(self.stages(self.stem(images)))
        return scores


def draw_images(number: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Draw a disc, a square or a cross somewhere in noise: images (N, 3, 32, 32) and classes (N,)."""
    kinds = rng.integers(3, size=number)
    x, y = np.abs(np.indices((32, 32))[:, None] - rng.uniform(8, 24, (2, number, 1, 1)))
    shapes = np.stack([x**2 + y**2 < 50, np.maximum(x, y) < 6, (np.minimum(x, y) < 3) & (x + y < 10)])
    images = shapes[kinds, range(number)][:, None] + rng.normal(0, 1, (number, 3, 32, 32))
    return torch.tensor(images, dtype=torch.float32), torch.tensor(kinds)


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, kinds: Tensor) -> float:
    """Fraction of the images that are classified correctly."""
    return float((network(images).argmax(1) == kinds).float().mean())


def trained_network(steps: int = 400) -> ResNet:
    """A network that has learned the task; it prints its loss while it does."""
    rng, network = np.random.default_rng(1), ResNet((16, 32), ((3, 3, 3), (3, 3, 3)), stem=16)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(steps):
        images, kinds = draw_images(32, rng)
        error = loss(network(images), kinds)
        error.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"training, step {step}: loss {error.item():.2f}")
    return network.eval()
