"""Sharing, the supernet and calibration on networks that no family has: bring your own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces import ArchitectureError, Space, choice, litepose
from supernet import Supernet, calibrate
from supernet.errors import UserError
from supernet.sharing.declarations import SharingError
from supernet.sharing.slicing import slices_of


@dataclass(frozen=True)
class Own:
    """A user's architecture."""

    width: int
    extra: int
    kernel: int
    groups: int
    second: bool
    resolution: int = 32

    @property
    def input_hw(self) -> tuple[int, int]:
        """Of the input."""
        return self.resolution, self.resolution


class OwnNet(nn.Module):
    """A concatenation, a grouped convolution of elastic group count, a branch that may be absent, a linear layer."""

    def __init__(self, arch: Own) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, arch.width, 3, padding=1)
        self.two = nn.Conv2d(3, arch.extra, arch.kernel, padding=arch.kernel // 2)
        self.join = nn.Conv2d(arch.width + arch.extra, 4 * arch.groups, 1)
        self.join.sources = (arch.width, arch.extra)  # type: ignore[assignment]
        self.grouped = nn.Conv2d(4 * arch.groups, 4 * arch.groups, 3, padding=1, groups=arch.groups)
        self.norm = nn.BatchNorm2d(4 * arch.groups)
        if arch.second:
            self.branch = nn.Conv2d(4 * arch.groups, 4 * arch.groups, 1)
        self.head = nn.Linear(4 * arch.groups, 5)

    def forward(self, images: Tensor) -> Tensor:
        """Images to five numbers."""
        x = torch.cat([self.one(images), self.two(images)], dim=1)
        x = torch.relu(self.norm(self.grouped(self.join(x))))
        if hasattr(self, "branch"):
            x = x + self.branch(x)
        out: Tensor = self.head(x.mean((2, 3)))
        return out


SPACE: Space[Own] = Space(Own(choice(4, 6, 8), choice(2, 6), choice(1, 3, 5), choice(2, 3, 4), choice(False, True), 32))
IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_own_network_is_elastic_without_changing_a_layer() -> None:
    """Extracted == shared, 0.0, on every architecture; the weights of each part of a concatenation are its own."""
    supernet = Supernet(OwnNet, SPACE).eval()
    with torch.inference_mode():
        for code in SPACE.all_codes():
            arch = SPACE.decode(code)
            assert torch.equal(supernet(IMAGES, arch), supernet.extract(arch)(IMAGES))
        small = supernet.extract(SPACE.smallest)
    stored = supernet.network.get_parameter("join.weight")
    expected = torch.cat([stored[:8, :4], stored[:8, 8:10]], dim=1)
    assert torch.equal(small.get_parameter("join.weight"), expected)
    centre = supernet.network.get_parameter("two.weight")[:2, :, 2:3, 2:3]
    assert torch.equal(small.get_parameter("two.weight"), centre)


def test_gradients_reach_exactly_what_was_used() -> None:
    """And add up over architectures."""
    supernet = Supernet(OwnNet, SPACE)
    supernet(IMAGES, SPACE.smallest).square().sum().backward()
    gradient = supernet.network.get_parameter("one.weight").grad
    assert gradient is not None
    assert bool(gradient[:4].abs().sum() > 0)
    assert float(gradient[4:].abs().sum()) == 0.0
    assert supernet.network.get_parameter("branch.weight").grad is None
    first = gradient[:4].clone()
    supernet(IMAGES, SPACE.smallest).square().sum().backward()
    torch.testing.assert_close(gradient[:4], 2 * first)


def test_training_a_smaller_network_leaves_the_running_statistics_alone() -> None:
    """A part of them would be the statistics of no network."""
    supernet = Supernet(OwnNet, SPACE).train()
    before = supernet.network.norm.running_mean.clone()  # type: ignore[operator,union-attr]
    supernet(IMAGES, SPACE.smallest)
    assert torch.equal(supernet.network.norm.running_mean, before)  # type: ignore[arg-type,union-attr]
    supernet(IMAGES, SPACE.largest)
    assert not torch.equal(supernet.network.norm.running_mean, before)  # type: ignore[arg-type,union-attr]


def test_out_of_space() -> None:
    """Extraction names the place."""
    with pytest.raises(ArchitectureError, match="width 5 is not one of 4, 6, 8 at width"):
        Supernet(OwnNet, SPACE).extract(replace(SPACE.largest, width=5))


def test_networks_without_weights_are_bounded() -> None:
    """A long training does not collect them."""
    supernet = Supernet(OwnNet, SPACE, cached=3).eval()
    for code in SPACE.all_codes()[:10]:
        supernet(IMAGES, SPACE.decode(code))
    assert len(supernet._meta_networks) == 3


class Single(nn.Module):
    """One layer under a name."""

    def __init__(self, layer: nn.Module, name: str = "layer") -> None:
        super().__init__()
        self.add_module(name, layer)


@pytest.mark.parametrize(
    ("small", "big", "message"),
    [
        (
            Single(nn.Conv2d(2, 2, 1), "new"),
            Single(nn.Conv2d(2, 2, 1)),
            "module new exists in the smaller network but not",
        ),
        (Single(nn.ReLU()), Single(nn.GELU()), "module layer is ReLU here and GELU in the largest"),
        (
            Single(nn.Conv2d(2, 4, 1)),
            Single(nn.Conv2d(2, 2, 1)),
            r"weight \(4, 2, 1, 1\) does not fit into \(2, 2, 1, 1\)",
        ),
        (Single(nn.Conv2d(2, 2, 3, stride=2)), Single(nn.Conv2d(2, 2, 3)), r"stride is \(2, 2\) here and \(1, 1\)"),
        (Single(nn.Conv2d(2, 2, 2)), Single(nn.Conv2d(2, 2, 3)), "kernel 2 has no place at the centre of kernel 3"),
        (Single(nn.Conv2d(2, 2, 3)), Single(nn.Conv2d(2, 2, 5)), "padding 0 with kernel 3 shifts against padding 0"),
        (Single(nn.Conv2d(4, 4, 1, groups=2)), Single(nn.Conv2d(8, 8, 1, groups=2)), "keep the width of a group"),
        (Single(nn.Conv2d(4, 4, 1, bias=True)), Single(nn.Conv2d(4, 4, 1, bias=False)), "bias is missing"),
        (Single(nn.BatchNorm2d(2, eps=1e-3)), Single(nn.BatchNorm2d(4)), "eps is 0.001 here and 1e-05"),
        (
            Single(nn.Bilinear(2, 2, 3)),
            Single(nn.Bilinear(2, 2, 4)),
            "no rule to cut weight .* register one for Bilinear",
        ),
    ],
)
def test_refusals_name_the_module(small: nn.Module, big: nn.Module, message: str) -> None:
    """What cannot be shared is refused before anything is computed."""
    with pytest.raises(SharingError, match=message):
        slices_of(small, big)


def test_a_child_may_stand_under_another_name_in_a_larger_network() -> None:
    """``canonical`` names pair, and the larger network's tensors are used."""
    small = Single(nn.Sequential(nn.Conv2d(2, 2, 1)))
    big = Single(nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 1)))
    with pytest.raises(SharingError, match=r"module layer.0 is Conv2d here and ReLU in the largest"):
        slices_of(small, big)
    small.layer.canonical = {"0": "1"}  # type: ignore[union-attr]
    assert {name: part.key for name, part in slices_of(small, big).items()} == {
        "layer.0.weight": "layer.1.weight",
        "layer.0.bias": "layer.1.bias",
    }


def test_kernel_transforms() -> None:
    """They begin as the identity, change what a small kernel computes, are trained, and leave with the extraction."""
    space = litepose.SMALL
    torch.manual_seed(0)
    supernet = Supernet(litepose.build, space, kernel_transforms=True).eval()
    torch.manual_seed(0)
    plain = Supernet(litepose.build, space).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert len(supernet.transforms) == 5  # depthwise convolutions with kernel 3 or 5, in the largest network
    small = space.restrict({"kernel": [3]}).largest
    assert torch.equal(supernet(images, small)[0], plain(images, small)[0])
    for parameter in supernet.transforms.parameters():
        nn.init.normal_(parameter, std=0.1)
    assert not torch.equal(supernet(images, small)[0], plain(images, small)[0])
    assert torch.equal(supernet(images, space.largest)[0], plain(images, space.largest)[0])
    subnet = supernet.extract(small)
    assert torch.equal(supernet(images, small)[0], subnet(images)[0])
    assert set(subnet.state_dict()) == set(litepose.build(small).state_dict())
    supernet(images, small)[0].sum().backward()
    assert all(parameter.grad is not None for parameter in supernet.transforms.parameters())


def test_calibration_pools_statistics_exactly() -> None:
    """One BatchNorm: mean of variances plus variance of means equals the statistics of all images at once."""
    norm = nn.Sequential(nn.BatchNorm2d(3)).double()
    images = torch.randn(24, 3, 5, 7, dtype=torch.float64) * 3 + torch.randn(24, 3, 1, 1, dtype=torch.float64)
    assert calibrate(norm, images.split([8, 10, 6])) == 24
    values = images.transpose(0, 1).flatten(1)
    torch.testing.assert_close(norm[0].running_mean, values.mean(1))
    torch.testing.assert_close(norm[0].running_var, values.var(1))
    assert not norm.training
    assert norm[0].momentum == 0.1


def test_calibration_stops_when_converged() -> None:
    """The same batch again and again tells nothing new."""
    norm = nn.Sequential(nn.BatchNorm2d(3))
    batch = torch.randn(4, 3, 8, 8)
    assert calibrate(norm, [batch] * 50, tolerance=1e-6) == 8
    assert calibrate(norm, [batch] * 50) == 200
    with pytest.raises(UserError, match="no calibration image"):
        calibrate(norm, [])


def test_supernet_of_published_space_holds_the_largest() -> None:
    """Nothing is stored but the largest network."""
    supernet = Supernet(litepose.build, litepose.SPACE)
    largest = litepose.build(litepose.SPACE.largest)
    assert [tuple(p.shape) for p in supernet.parameters()] == [tuple(p.shape) for p in largest.parameters()]
    assert np.sum([p.numel() for p in supernet.parameters()]) == sum(p.numel() for p in largest.parameters())
