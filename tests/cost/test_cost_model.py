"""Counting against the reference records and by hand; tables against counting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from search_spaces import litepose
from search_spaces.space import Space, choice, repeat
from supernet.cost.cost_model import CostModel
from supernet.cost.costs import COSTS
from supernet.cost.macs import count, operations
from supernet.errors import UserError
from supernet.sharing.meta import meta_network
from tests import reference

Codes = npt.NDArray[np.int16]


@pytest.mark.parametrize(
    ("name", "macs", "params"),
    [
        ("XS_crowdpose", 882_892_800, 1_675_552),
        ("S_crowdpose", 3_614_139_648, 2_731_240),
        ("M_coco", 5_275_717_888, 3_534_336),
    ],
)
def test_published_networks_cost_what_the_originals_cost(name: str, macs: int, params: int) -> None:
    record = reference.record(f"litepose_{name}")
    assert (record["macs"]["ours"]["total"], record["params"]["total"]) == (macs, params)
    arch = litepose.from_json(record["config"]["arch"])
    network = meta_network(lambda arch: litepose.build(arch, record["config"]["num_joints"]), arch)
    cost = count(network, tuple(record["input_shape"]))
    assert (cost.macs, cost.params) == (macs, params)
    assert len(cost.per_layer) == sum(record["macs"]["ours"]["calls"].values())
    deconv = sum(value for key, value in cost.per_layer.items() if key.startswith("deconv_r"))
    assert deconv == record["macs"]["ours"]["deconv"]


class Zoo(nn.Module):
    """One of each counted layer, one called twice, one never, and a shared parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(8, 12, (1, 3), padding=(0, 1), groups=4, bias=False)
        self.up = nn.ConvTranspose2d(12, 6, 4, 2, 1, groups=2)
        self.again = nn.Conv2d(6, 6, 1)
        self.norm = nn.BatchNorm2d(6)
        self.linear, self.tied = nn.Linear(6, 6), nn.Linear(6, 6)
        self.tied.weight = self.linear.weight
        self.unused = nn.Conv2d(6, 100, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(self.grouped(self.conv(x)))
        x = self.again(torch.relu(self.norm(self.again(x))) + x).flatten(2).transpose(1, 2)
        return self.tied(self.linear(x))


def test_every_layer_by_hand() -> None:
    cost = count(Zoo(), (2, 3, 10, 14))
    assert cost.per_layer == {
        "conv": 2 * 5 * 7 * 8 * 3 * 9,
        "grouped": 2 * 5 * 7 * 12 * 2 * 3,
        "up": 2 * 5 * 7 * 12 * 3 * 16,  # input positions
        "again": 2 * (2 * 10 * 14 * 6 * 6),
        "linear": 2 * 2 * 140 * 36,  # and the layer that has its weight
    }
    assert cost.macs == sum(cost.per_layer.values())
    assert cost.params == (216 + 8) + 72 + (12 * 3 * 16 + 6) + 42 + 12 + 36 + 6 + 6 + (5400 + 100)


def test_counting_leaves_the_network_alone() -> None:
    network = Zoo().train()
    network.unused.eval()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    assert count(network, (1, 3, 8, 8)) == count(meta_network(lambda _: Zoo(), None), (1, 3, 8, 8))
    assert network.training and network.norm.training and not network.unused.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


@dataclass(frozen=True)
class Level:
    """A block with a kernel of its own."""

    kernel: int


@dataclass(frozen=True)
class Arch:
    """Nothing like LitePose: parallel branches that are concatenated, an optional gate, a stride that is a choice."""

    side: int
    stride: int
    gate: bool
    widths: tuple[int, ...]
    levels: tuple[Level, ...]

    @property
    def input_hw(self) -> tuple[int, int]:
        return self.side, self.side + 8


SPACE: Space[Arch] = Space(
    Arch(choice(16, 24, 32), choice(1, 2), choice(False, True), repeat(choice(2, 4, 6), choice(1, 2, 3)),
         repeat(Level(choice(1, 3, 5)), choice(1, 2, 4)))
)  # fmt: skip


class Branches(nn.Module):
    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(3, width, 3, arch.stride, 1) for width in arch.widths)
        total = sum(arch.widths)
        self.levels = nn.Sequential(
            *(nn.Conv2d(total, total, level.kernel, padding=level.kernel // 2) for level in arch.levels)
        )
        self.gate = nn.Linear(total, total) if arch.gate else None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.levels(torch.cat([branch(x) for branch in self.branches], dim=1))
        return y if self.gate is None else y * self.gate(y.mean((2, 3)))[:, :, None, None]


def _counted(build: Any, space: Space[Any], codes: Codes) -> list[list[int]]:
    costs = []
    for code in codes:
        arch = space.decode(code)
        cost = count(meta_network(build, arch), (1, 3, *arch.input_hw))
        costs.append([cost.macs, cost.params])
    return costs


@pytest.mark.parametrize(
    ("build", "space"), [(Branches, SPACE), (litepose.build, litepose.SMALL)], ids=["branches", "litepose"]
)
def test_tables_equal_counting(build: Any, space: Space[Any]) -> None:
    model, codes = CostModel(build, space), space.sample_codes(3000, np.random.default_rng(7))
    macs, params = model.macs(codes), model.params(codes)
    assert macs.dtype == params.dtype == np.int64 and macs.shape == (3000,)
    assert np.stack([macs[:40], params[:40]], axis=1).tolist() == _counted(build, space, codes[:40])
    ends = np.stack([space.encode(space.smallest), space.encode(space.largest)])
    assert np.stack([model.macs(ends), model.params(ends)], axis=1).tolist() == _counted(build, space, ends)
    assert macs.min() > 0 and model.macs(codes[:0]).tolist() == []


def test_the_whole_space_and_the_same_tables_again() -> None:
    first, second = CostModel(Branches, SPACE), CostModel(Branches, SPACE, checks=60)
    codes = SPACE.all_codes()
    assert len(codes) == SPACE.size
    assert (first.macs(codes) == second.macs(codes)).all() and (first.params(codes) == second.params(codes)).all()
    assert first.built == CostModel(Branches, SPACE).built < 200


def test_a_combination_that_was_never_sampled_is_built_not_guessed() -> None:
    class Narrow(Space[Arch]):
        def sample_codes(self, n: int, rng: np.random.Generator) -> Codes:
            codes = super().sample_codes(n, rng)
            codes[(codes[:, 4] == 0) & (codes[:, 5] > 0), 5] = 0  # two narrow branches or none
            return codes

    space = Narrow(SPACE.tree)
    model = CostModel(Branches, space)
    before, codes = model.built, SPACE.sample_codes(25, np.random.default_rng(3))
    assert np.stack([model.macs(codes), model.params(codes)], axis=1).tolist() == _counted(Branches, SPACE, codes)
    assert model.built > before


@dataclass(frozen=True)
class Bits:
    """Many small choices."""

    bits: tuple[int, ...]
    input_hw: tuple[int, int] = (8, 8)


BITS: Space[Bits] = Space(Bits(tuple(choice(0, 1) for _ in range(8))))


def test_a_layer_that_depends_on_everything_is_named() -> None:
    def build(arch: Bits) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 1 + sum(bit << i for i, bit in enumerate(arch.bits)), 1))

    with pytest.raises(UserError, match="the cost of 0 cannot be tabulated: it depends on more than 4 choices at once"):
        CostModel(build, BITS)


def test_a_layer_that_depends_on_no_choice_is_named() -> None:
    widths = iter(range(1, 10_000))

    def build(arch: Bits) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4 + arch.bits[0], 1), nn.Conv2d(4 + arch.bits[0], next(widths), 1))

    with pytest.raises(UserError, match="the cost of 1 cannot be tabulated"):
        CostModel(build, BITS)


def test_codes_that_are_none_are_refused() -> None:
    model = CostModel(Branches, SPACE)
    codes = SPACE.sample_codes(3, np.random.default_rng(0))
    with pytest.raises(UserError, match=r"codes have shape \(3, 2\), the space needs \(N, 12\)"):
        model.macs(codes[:, :2])
    codes[1, 1] = 2
    with pytest.raises(UserError, match=r"for stride, its options are 0 to 1, and -1 where it is absent"):
        model.params(codes)


def activation_factors(
    network: nn.Module, input_shape: tuple[int, ...], names: Mapping[str, str]
) -> dict[str, tuple[int, ...]]:
    """Positions and channels of the output of every convolution ("activations" of Radosavovic et al., CVPR 2020)."""
    convolutions = [o for o in operations(network, input_shape, names) if o.kind == "conv"]
    return {o.layer: (o.positions, o.weight[0]) for o in convolutions}


def test_any_other_sum_over_layers_is_tabulated() -> None:
    """As exact as the others, and once."""
    model, codes = CostModel(Branches, SPACE), SPACE.sample_codes(40, np.random.default_rng(5))
    activations = model.sum_of(activation_factors)
    for code, found in zip(codes, activations(codes).tolist(), strict=True):
        arch = SPACE.decode(code)
        shape = (1, 3, *arch.input_hw)
        assert found == sum(prod(factors) for factors in activation_factors(Branches(arch), shape, {}).values())
    assert model.sum_of(activation_factors).func is activations.func  # type: ignore[attr-defined]


def test_every_cost_has_names_of_its_own() -> None:
    limits = [cost.limit for cost in COSTS.values()]
    assert list(COSTS)[0] == "macs" and len(set(limits)) == len(COSTS)
    assert all(name == cost.name and cost.title and cost.axis and cost.text(1.0) for name, cost in COSTS.items())
    assert [COSTS[name].in_limit_units(2_500_000) for name in ("macs", "memory", "latency_ms")] == [
        "2,500,000", "2.50", "2,500,000.00"
    ]  # fmt: skip
