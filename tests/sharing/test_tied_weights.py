"""Tied weights: one parameter in two modules, and one module in several places, wherever weights are touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from search_spaces import Space, choice
from supernet import CostModel, Sampler, Supernet, audit, calibrate, load_checkpoint, stages
from supernet.cost.macs import count
from supernet.cost.peak_memory import peak_memory
from supernet.deploy.fusion import fuse_batchnorm
from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.sharing.channel_sorting import sort_channels
from supernet.sharing.declarations import SharingError
from supernet.sharing.slicing import slices_of


@dataclass(frozen=True)
class Arch:
    width: int
    kernel: int
    input_hw: tuple[int, int] = (12, 12)


class Tied(nn.Module):
    """Two convolutions with one weight and a BatchNorm each; a block that stands in three places and runs twice."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        width, kernel = arch.width, arch.kernel
        self.stem = nn.Conv2d(3, width, 1)
        self.one, self.norm_one = nn.Conv2d(width, width, kernel, padding=kernel // 2), nn.BatchNorm2d(width)
        self.two, self.norm_two = nn.Conv2d(width, width, kernel, padding=kernel // 2), nn.BatchNorm2d(width)
        self.two.weight = self.one.weight
        self.block = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.again = self.block
        self.tail = nn.Sequential(self.block, nn.Conv2d(width, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(self.norm_one(self.one(x)) + x)
        x = torch.relu(self.norm_two(self.two(x)) + x)
        y: Tensor = self.tail(self.again(x) + x)
        return y


SPACE: Space[Arch] = Space(Arch(choice(4, 6, 8), choice(1, 3, 5)))
IMAGES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
SHAPE = (1, 3, 12, 12)


def settled(network: nn.Module) -> nn.Module:
    """Statistics and affine parameters of no special value."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim == 1:
            low = 0.5 if name.endswith(("weight", "running_var")) else -0.2
            tensor.uniform_(low, low + 1, generator=generator)
    return network.eval()


def test_extraction_computes_the_same_and_keeps_the_ties() -> None:
    supernet = Supernet(Tied, SPACE)
    settled(supernet.network)
    supernet.eval()
    with torch.inference_mode():
        for arch in map(SPACE.decode, SPACE.all_codes()):
            subnet: Any = supernet.extract(arch)
            assert torch.equal(supernet(IMAGES, arch), subnet(IMAGES))
            assert subnet.two.weight is subnet.one.weight
            assert subnet.again is subnet.block is subnet.tail[0]
            assert len(list(subnet.parameters())) == len(list(Tied(arch).parameters()))
            fresh = Tied(arch).eval()
            fresh.load_state_dict(subnet.state_dict())
            assert torch.equal(subnet(IMAGES), fresh(IMAGES))
            assert set(subnet.state_dict()) == set(fresh.state_dict())


def test_the_gradient_is_that_of_the_static_network() -> None:
    """Of a smaller network in the leading channels, summed over all places of a weight, and zero elsewhere."""
    small = Arch(4, 3)
    supernet = Supernet(Tied, SPACE)
    subnet = supernet.extract(small)
    for _ in range(2):  # again, on the network without weights that was kept
        supernet.zero_grad()
        supernet(IMAGES, small).square().sum().backward()
    subnet(IMAGES).square().sum().backward()
    for name, parameter in subnet.named_parameters():
        gradient = supernet.network.get_parameter(name).grad
        assert gradient is not None and parameter.grad is not None
        part = slices_of(subnet, supernet.network)[name].of(gradient)
        assert torch.equal(part, parameter.grad), name
        assert torch.isclose(gradient.abs().sum(), part.abs().sum()), name


def test_a_training_step_moves_the_tied_weights_together() -> None:
    supernet: Any = Supernet(Tied, SPACE)
    optimizer = torch.optim.SGD(supernet.parameters(), 0.1)
    before = supernet.network.one.weight.detach().clone()
    for arch in Sampler(SPACE).draw(np.random.default_rng(0)):
        supernet(IMAGES, arch).square().sum().backward()
    optimizer.step()
    assert not torch.equal(supernet.network.one.weight, before)
    assert supernet.network.two.weight is supernet.network.one.weight
    assert supernet.network.again is supernet.network.block


def test_the_audit_covers_every_weight_once() -> None:
    training = stages(SPACE, [{"name": "all", "open": list(SPACE.kinds), "steps": 1}])
    assert audit(Tied, SPACE, training) == sum(parameter.numel() for parameter in Tied(SPACE.largest).parameters())


def test_checkpoints_hold_tied_weights(tmp_path: Path) -> None:
    """Of a supernet, and of a network: under every name, or under the first alone."""
    supernet, other = Supernet(Tied, SPACE).eval(), Supernet(Tied, SPACE).eval()
    settled(supernet.network)
    checkpoint.save(tmp_path / "supernet.pt", checkpoint.packed(supernet.state_dict()))
    assert load_checkpoint(other, tmp_path / "supernet.pt") == checkpoint.Loaded((), ())
    arch = SPACE.smallest
    assert torch.equal(supernet(IMAGES, arch), other(IMAGES, arch))

    subnet, network = supernet.extract(arch), Tied(arch).eval()
    first = {**dict(subnet.named_parameters()), **dict(subnet.named_buffers())}
    assert len(first) < len(subnet.state_dict())
    checkpoint.save(tmp_path / "first.pt", {name: tensor.detach() for name, tensor in first.items()})
    assert load_checkpoint(network, tmp_path / "first.pt") == checkpoint.Loaded((), ())
    assert torch.equal(subnet(IMAGES), network(IMAGES)) and network.two.weight is network.one.weight


def test_weights_that_differ_where_the_network_ties_them_are_refused() -> None:
    network = Tied(SPACE.smallest)
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weights["two.weight"] += 1
    message = "checkpoint: one.weight and two.weight differ, which are one tensor in this network; give weights"
    with pytest.raises(UserError, match=message):
        load_checkpoint(network, weights)


def test_calibration_takes_every_pass() -> None:
    """The BatchNorm of the block sees two inputs of each image; its statistics are those of both."""
    network = settled(Tied(SPACE.largest)).double()
    images, seen = IMAGES.double(), []
    norm: Any = network.get_submodule("block.1")
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].transpose(0, 1).flatten(1)))
    with torch.no_grad():
        for batch in images.split(2):
            network.train()(batch)
    hook.remove()
    assert len(seen) == 4
    calibrate(network, images.split(2))
    values = torch.cat(seen, dim=1)
    torch.testing.assert_close(norm.running_mean, values.mean(1))
    torch.testing.assert_close(norm.running_var, values.var(1))


def test_channels_are_sorted_once() -> None:
    network = settled(Tied(SPACE.largest)).double()
    before, old = network(IMAGES.double()), network.get_parameter("one.weight").detach().clone()
    sort_channels(network, SHAPE)
    assert not torch.equal(network.get_parameter("one.weight"), old)
    torch.testing.assert_close(network(IMAGES.double()), before, rtol=1e-10, atol=1e-10)


def test_counting_takes_tied_parameters_once_and_changes_nothing() -> None:
    network: Any = Tied(Arch(4, 3))
    weights = dict(network.named_parameters())
    cost = count(network, SHAPE)
    assert cost.params == (3 * 4 + 4) + (4 * 4 * 9 + 4 + 4) + (4 * 4) + 3 * (4 + 4) + (4 * 2 + 2)
    assert cost.per_layer == {
        "stem": 144 * 3 * 4, "one": 2 * 144 * 4 * 4 * 9, "block.0": 2 * 144 * 4 * 4, "tail.1": 144 * 4 * 2
    }  # fmt: skip
    assert peak_memory(network, SHAPE) > 0
    assert all(network.get_parameter(name) is parameter for name, parameter in weights.items())
    assert network(IMAGES).shape == (4, 2, 12, 12)


def test_tables_of_costs_are_exact() -> None:
    model, codes = CostModel(Tied, SPACE), SPACE.all_codes()
    costs = [count(Tied(SPACE.decode(code)), SHAPE) for code in codes]
    assert model.macs(codes).tolist() == [cost.macs for cost in costs]
    assert model.params(codes).tolist() == [cost.params for cost in costs]
    assert model.memory(codes).tolist() == [peak_memory(Tied(SPACE.decode(code)), SHAPE) for code in codes]


def test_fusion_gives_each_convolution_weights_of_its_own() -> None:
    network = settled(Tied(SPACE.largest))
    fused: Any = fuse_batchnorm(network, IMAGES)
    norms = [name for name, module in fused.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms == ["block.1"]  # which runs twice
    assert fused.one.weight is not fused.two.weight
    torch.testing.assert_close(fused(IMAGES), network(IMAGES))


class Named(nn.Module):
    """A BatchNorm under two names that runs under the second, or a convolution whose weight is read beside it."""

    def __init__(self, beside: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.beside = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), beside
        self.other = self.norm

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.other(self.conv(x))
        return y + conv2d(x, self.conv.weight) if self.beside else y


@pytest.mark.parametrize("beside", [False, True])
def test_fusion_takes_every_name_of_a_batchnorm_and_no_weight_that_is_read_elsewhere(beside: bool) -> None:
    network = settled(Named(beside))
    fused: Any = fuse_batchnorm(network, IMAGES)
    assert (
        isinstance(fused.other, nn.BatchNorm2d if beside else nn.Identity) and fused.norm is fused.other or not beside
    )
    torch.testing.assert_close(fused(IMAGES), network(IMAGES))


class Depthwise(nn.Module):
    """Two depthwise convolutions with one weight."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        one, two = (nn.Conv2d(3, 3, arch.kernel, padding=arch.kernel // 2, groups=3) for _ in range(2))
        two.weight = one.weight
        self.layers = nn.Sequential(one, nn.ReLU(), two)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def test_a_tied_kernel_has_one_transform() -> None:
    space: Space[Arch] = Space(Arch(4, choice(3, 5)))
    supernet = Supernet(Depthwise, space, kernel_transforms=True).eval()
    assert list(supernet.transforms) == ["layers/0@3"]
    nn.init.normal_(supernet.transforms["layers/0@3"].weight)  # type: ignore[arg-type]
    small = supernet.extract(Arch(4, 3))
    assert torch.equal(supernet(IMAGES, Arch(4, 3)), small(IMAGES))
    assert len(list(small.parameters())) == 3


class Pair(nn.Module):
    def __init__(self, width: int, tied: bool, sources: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(width, 4, 1), nn.Conv2d(width, 4, 1)
        if tied:
            self.two.weight = self.one.weight
        if sources:
            self.two.sources = sources  # type: ignore[assignment]


def test_ties_that_only_the_smaller_has_are_refused() -> None:
    message = (
        "two.weight is tied to one.weight in the smaller network, but not in the largest; tie them in both or in none"
    )
    with pytest.raises(SharingError, match=message):
        slices_of(Pair(4, True), Pair(8, False))
    slices = slices_of(Pair(4, False), Pair(8, True))  # parts of one weight, each network's own when cut out
    assert slices["one.weight"].key == slices["two.weight"].key == "one.weight"


def test_tied_weights_that_would_be_different_parts_are_refused() -> None:
    message = "two.weight is tied to one.weight, but another part of the largest network's; give both the same sources"
    with pytest.raises(SharingError, match=message):
        slices_of(Pair(4, True, (2, 2)), Pair(8, True, (4, 4)))
