"""BatchNorm folded into convolutions: the same numbers, wherever a convolution alone feeds it, and left where not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces import FAMILIES
from supernet.deploy.fusion import fuse_batchnorm


def unsettled(network: nn.Module) -> nn.Module:
    """The network with BatchNorms that do something."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.2)
    return network.eval()


def left(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]


def difference(one: Any, other: Any) -> float:
    """The largest difference as a part of the largest value."""
    pairs = zip(*([value] if isinstance(value, Tensor) else value for value in (one, other)), strict=True)
    return max(float(((a - b).abs().max() / a.abs().max()).detach()) for a, b in pairs)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_family_keeps_a_batchnorm(name: str) -> None:
    family = FAMILIES[name]
    arch = family.SPACES["small"].smallest
    network, images = unsettled(family.build(arch, joints=17)), torch.randn(2, 3, *arch.input_hw)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fused = fuse_batchnorm(network, images[:1])
    assert not left(fused)
    with torch.no_grad():
        assert difference(network(images), fused(images)) < 1e-5
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(4, 6, 3, groups=2),
        nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2),
        nn.ConvTranspose2d(4, 6, 4, bias=False),
    ],
)
@pytest.mark.parametrize("affine", [True, False])
def test_each_kind_of_convolution(convolution: nn.Module, affine: bool) -> None:
    network = unsettled(nn.Sequential(convolution, nn.BatchNorm2d(6, affine=affine)))
    images = torch.randn(2, 4, 5, 7)
    fused = fuse_batchnorm(network, images)
    assert not left(fused)
    assert difference(network(images), fused(images)) < 1e-5


class Cells(nn.Module):
    """Two convolutions and a BatchNorm, wired in different ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.a, self.b, self.norm = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Any:
        a = self.a(x)
        match self.way:
            case "sum":
                return self.norm(a + self.b(x))
            case "sum of three":
                return self.norm(a + self.b(x) + a.detach())
            case "read twice":
                return self.norm(a) + a
            case "returned":
                return self.norm(a), a
            case "same layer":
                return self.norm(a) + self.a(x)
            case "normalised twice":
                return self.norm(a) + self.norm(self.b(x))
            case "in place":
                a += self.b(x)
                return self.norm(a)
            case _:
                return self.norm(torch.relu(a))


@pytest.mark.parametrize(
    "way", ["sum", "sum of three", "read twice", "returned", "same layer", "normalised twice", "in place", "nonlinear"]
)
def test_only_what_feeds_nothing_else_is_folded(way: str) -> None:
    network, images = unsettled(Cells(way)), torch.randn(2, 3, 6, 6)
    fused = fuse_batchnorm(network, images)
    assert left(fused) == ([] if way == "sum" else ["norm"])
    assert difference(network(images), fused(images)) < 1e-5


def test_a_batchnorm_without_statistics_stays() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    assert left(fuse_batchnorm(network, torch.randn(2, 3, 6, 6))) == ["1"]
