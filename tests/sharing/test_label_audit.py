"""Wrong sharing that stays silent otherwise: found by labels, and by computing."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces import FAMILIES, Space, choice
from supernet import audit, check_alignment, stages
from supernet.errors import UserError
from supernet.sharing.declarations import SharingError
from supernet.sharing.label_audit import check_labels
from supernet.sharing.probes import probes
from tests.sharing.undeclared import SPACE, UNDECLARED, Arch, Shuffled, Undeclared

OPEN = stages(SPACE, [{"name": "all", "open": ["width"], "steps": 1}])


@pytest.mark.parametrize("name", UNDECLARED)
def test_what_is_not_declared_is_found_and_the_module_named(name: str) -> None:
    make = UNDECLARED[name]
    with pytest.raises(SharingError) as refused:
        audit(lambda arch: make(arch, False), SPACE, OPEN)
    said = str(refused.value)
    assert said.startswith(tuple(f"{kind} {one}" for one in name.split("|") for kind in ("module", "buffer")))
    assert "\n" not in said


@pytest.mark.parametrize("name", UNDECLARED)
def test_what_is_declared_passes_and_is_aligned(name: str) -> None:
    make = UNDECLARED[name]

    def build(arch: Arch) -> nn.Module:
        return make(arch, True)

    assert audit(build, SPACE, OPEN) == sum(parameter.numel() for parameter in build(SPACE.largest).parameters())
    assert check_alignment(build, SPACE) < 1e-12


@pytest.mark.parametrize("name", [name for name in UNDECLARED if name != "scale"])
def test_computing_finds_them_too(name: str) -> None:
    make = UNDECLARED[name]
    with pytest.raises(SharingError, match=r"outputs of Arch\(width=4.* differ by .* from the largest network"):
        check_alignment(lambda arch: make(arch, False), SPACE)


def test_an_allowance_by_name() -> None:
    both: Space[Arch] = SPACE
    assert check_labels(lambda arch: Shuffled(arch, False), both, unaligned=["width"]) == 0
    assert check_alignment(lambda arch: Shuffled(arch, False), both, unaligned=["width"]) == 0


def test_an_input_of_unknown_shape() -> None:
    space: Space[Any] = Space((choice(4, 8),))
    with pytest.raises(UserError, match="the shape of an input of tuple is not known; give input_shape=lambda arch"):
        check_labels(lambda arch: nn.Conv2d(3, arch[0], 1), space)
    assert check_labels(lambda arch: nn.Conv2d(3, arch[0], 1), Space((8,)), lambda arch: (1, 3, 4, 4)) == 0


class Computed(Undeclared):
    """Reads channels in an order that it computes."""

    def make(self, width: int, right: bool) -> None:
        self.out = nn.Conv2d(width, 3, 1)
        self.right = right

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        order = torch.arange(x.shape[1], device=x.device)
        y: Tensor = self.out(x[:, order if self.right else order.flip(0)])
        return y


def test_a_network_whose_code_needs_values_is_built_with_them() -> None:
    with pytest.raises(
        SharingError, match="module out: entry 3 of dimension 1 of its weight meets channel 0 of stem.0"
    ):
        check_labels(lambda arch: Computed(arch, False), SPACE)
    assert check_labels(lambda arch: Computed(arch, True), SPACE) == 1


def test_probes_are_deep_and_small() -> None:
    space = FAMILIES["litepose"].SPACES["small"]
    deep, small, *_ = probes(space)
    assert deep != small == space.smallest
    codes = space.encode(deep)
    for position, gene in enumerate(space.genes):
        assert codes[position] == (len(gene.options) - 1 if gene.kind == "depth" else 0)


CASES = [(family, name) for family, module in FAMILIES.items() for name in module.SPACES]
QUICK = {("litepose", "small"), ("widehrnet", "small"), ("srpose", "small")}


@pytest.mark.parametrize(
    ("family", "name"), [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES]
)
def test_the_spaces_of_the_families_pass(family: str, name: str) -> None:
    module: ModuleType = FAMILIES[family]
    unaligned = getattr(module, "UNALIGNED", ())
    assert check_labels(module.build, module.SPACES[name], unaligned=unaligned) >= 2


def test_the_allowance_of_widehrnet_is_needed() -> None:
    with pytest.raises(SharingError, match="in a smaller network, but"):
        check_labels(FAMILIES["widehrnet"].build, FAMILIES["widehrnet"].SPACES["small"])
