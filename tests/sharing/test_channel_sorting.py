"""Sorting channels must leave the function alone, and put the important channels first."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces import litepose
from supernet.errors import UserError
from supernet.sharing.channel_sorting import ChannelGroup, channel_groups, channel_importance, sort_channels

SHAPE = (1, 3, 64, 64)


def _randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights, affine parameters and running statistics, in float64, ready to evaluate."""
    generator = torch.Generator().manual_seed(seed)
    network.double().eval()
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if key.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.is_floating_point():
                scale = (2 / tensor[0].numel()) ** 0.5 if tensor.dim() > 1 else 1.0
                tensor.copy_(scale * torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
    return network


def _images() -> Tensor:
    return torch.randn(2, *SHAPE[1:], generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _difference(one: list[Tensor], two: list[Tensor]) -> float:
    """Largest difference of two lists of outputs, relative to the largest value of each output."""
    return max(float((a - b).detach().abs().max() / a.detach().abs().max()) for a, b in zip(one, two, strict=True))


def _small() -> nn.Module:
    return _randomised(litepose.build(litepose.SMALL.largest))


class Residual(nn.Module):
    """Two convolutions around an addition, with a squeeze-and-excitation gate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.conv2, self.bn2 = nn.Conv2d(12, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.squeeze, self.excite = nn.Conv2d(width, 6, 1), nn.Conv2d(6, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        return nn.functional.relu(x + y * gate)


class Own(nn.Module):
    """A network that nobody wrote for this project: residuals, concatenation, groups, a flattened classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.PReLU(16))
        self.layers = nn.Sequential(Residual(16), Residual(16))
        self.left, self.right = nn.Conv2d(16, 8, 1), nn.Conv2d(16, 10, 3, padding=1)
        self.mixed = nn.Conv2d(18, 20, 1)
        self.grouped = nn.Conv2d(20, 20, 3, padding=1, groups=4)
        self.twice = nn.Conv2d(20, 20, 1)
        self.up = nn.ConvTranspose2d(20, 14, 4, 2, 1)
        self.scale = nn.Parameter(torch.ones(1, 14, 1, 1))
        self.out = nn.Conv2d(14, 5, 1)
        self.fc1, self.fc2 = nn.Linear(20, 9), nn.Linear(9, 4)
        self.auxiliary = nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.layers(self.stem(x))
        extra = [self.auxiliary(x)] if self.training else []
        y = torch.cat([self.left(x), self.right(x)], dim=1)
        y = self.grouped(self.mixed(y))
        y = self.twice(torch.relu(self.twice(y)))
        scores = self.fc2(torch.relu(self.fc1(nn.functional.adaptive_avg_pool2d(y, 1).flatten(1))))
        big = nn.functional.interpolate(y, size=x.shape[2:], mode="nearest")
        return [self.out(torch.relu(self.up(big)) * self.scale), scores, *extra]


def test_litepose_computes_the_same_and_its_leading_channels_are_the_important_ones() -> None:
    network, images = _small(), _images()
    before, old = network(images), copy.deepcopy(network.state_dict())
    sort_channels(network, SHAPE)
    state, groups = network.state_dict(), channel_groups(network, SHAPE)
    assert _difference(before, network(images)) <= 1e-10
    assert len(groups) == 10 + 9  # hidden widths; stem, its output, one width per stage, one per deconvolution
    for group in groups:
        importance = channel_importance(state, group)
        assert (importance.diff() <= 1e-12 * importance.max()).all(), group.members
    moved = {key for key, tensor in state.items() if not torch.equal(tensor, old[key])}
    assert {"first.0.0.weight", "stage.0.0.inv.1.running_mean", "deconv_raw.2.weight"} <= moved


def test_litepose_groups_hold_every_tied_tensor() -> None:
    groups = channel_groups(_small(), SHAPE)
    of = {tie: group for group in groups for tie in group.members}
    hidden = of["stage.1.0.inv.0.weight", 0]
    assert set(hidden.members) == {
        ("stage.1.0.inv.0.weight", 0),
        *((f"stage.1.0.{part}.1.{kind}", 0) for part in ("inv", "depth_conv")
          for kind in ("weight", "bias", "running_mean", "running_var")),
        ("stage.1.0.depth_conv.0.weight", 0),
        ("stage.1.0.point_conv.0.weight", 1),
    }  # fmt: skip
    assert hidden.consumers == (("stage.1.0.point_conv.0.weight", 1),)
    assert hidden.producers == (("stage.1.0.inv.0.weight", 0),)
    assert of["stage.1.0.point_conv.0.weight", 0] is of["stage.1.2.point_conv.0.weight", 0]  # residual
    assert ("deconv_raw.0.weight", 0) in of["stage.2.0.point_conv.0.weight", 0].consumers
    assert of["deconv_raw.1.weight", 1] is of["deconv_refined.1.weight", 1] is of["final_refined.0.conv.0.weight", 0]
    fixed = {("first.0.0.weight", 1), ("final_refined.0.conv.3.weight", 0), ("final_raw.1.conv.3.weight", 0)}
    assert not fixed & of.keys()


@pytest.mark.parametrize("forgotten", ["running_mean", "running_var"])
def test_forgetting_the_running_statistics_shows(forgotten: str) -> None:
    network, images = _small(), _images()
    before = network(images)
    old = {key: tensor.clone() for key, tensor in network.state_dict().items() if key.endswith(forgotten)}
    sort_channels(network, SHAPE)
    network.load_state_dict(old, strict=False)
    assert _difference(before, network(images)) > 1e-3


def test_an_own_network_keeps_its_function_in_both_modes() -> None:
    network, images = _randomised(Own()), _images()
    trained = copy.deepcopy(network).train()
    before = network(images), trained(images)
    sort_channels(network, SHAPE)
    assert _difference(before[0], network(images)) <= 1e-10
    assert _difference(before[1], network.train()(images)) <= 1e-9  # the auxiliary head's input was reordered too


def test_what_is_not_understood_is_frozen() -> None:
    groups = channel_groups(Own(), SHAPE)
    free = {tie for group in groups for tie in group.members}
    assert {("stem.0.weight", 0), ("stem.2.weight", 0), ("layers.1.conv2.weight", 0), ("auxiliary.weight", 1)} <= free
    assert {("layers.0.squeeze.weight", 0), ("fc1.weight", 0), ("fc2.weight", 1)} <= free
    frozen = ["left", "right", "mixed", "grouped", "twice", "out", "fc2", "auxiliary"]  # out of these
    assert not {(f"{name}.weight", 0) for name in frozen} & free
    assert not {("mixed.weight", 1), ("twice.weight", 1), ("fc1.weight", 1), ("scale", 1), ("up.weight", 1)} & free


def test_shared_and_parametrised_weights() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)
    )
    network[4].weight = network[2].weight
    _randomised(network)
    before = network(_images())
    (group,) = channel_groups(network, SHAPE)
    assert ("2.weight", 0) in group.members and ("2.weight", 1) in group.members
    assert not any(key == "4.weight" for key, _ in group.members)  # one tensor, permuted once
    sort_channels(network, SHAPE)
    assert _difference([before], [network(_images())]) <= 1e-10

    nn.utils.parametrizations.weight_norm(network[5])
    assert channel_groups(network, SHAPE) == []


def test_ties_keep_their_order_and_integers_survive() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 1)).eval()
    with torch.no_grad():
        network[2].weight.copy_(torch.tensor([1.0, 3.0, 1.0, 3.0, 2.0, 1.0]).reshape(1, 6, 1, 1).expand(2, 6, 1, 1))
        network[1].running_mean.copy_(torch.arange(6.0))
    identity = id(network[2].weight)
    sort_channels(network, SHAPE)
    assert network[1].running_mean.tolist() == [1, 3, 4, 0, 2, 5]
    assert id(network[2].weight) == identity


def test_importance_falls_back_to_the_layer_that_makes_the_channels() -> None:
    weight = torch.from_numpy(np.arange(12.0).reshape(3, 4))
    group = ChannelGroup((("a.weight", 0),), (), (("a.weight", 0),), 3)
    assert channel_importance({"a.weight": weight}, group).tolist() == [6, 22, 38]


class Untraceable(nn.Module):
    """Decides by the values of its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_bad_input_is_one_line() -> None:
    with pytest.raises(UserError, match="cannot trace Untraceable to sort its channels: .*; leave it unsorted"):
        channel_groups(Untraceable(), SHAPE)
    with pytest.raises(UserError, match="importance 'l2' is not known; it is 'l1'"):
        sort_channels(Own(), SHAPE, importance="l2")
