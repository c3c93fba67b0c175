"""Weights that options of a choice have each for itself: where they stand, who uses them, and that all are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces import Space, choice
from supernet import Supernet, UserError, audit, stages


@dataclass(frozen=True)
class Arch:
    resolution: int
    width: int

    @property
    def input_hw(self) -> tuple[int, int]:
        return self.resolution, self.resolution


class Net(nn.Module):
    """A linear layer over all pixels, whose weights another number of pixels cannot share."""

    separate_by = "resolution"

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, arch.width, 1)
        self.place = nn.Linear(arch.resolution**2, 2)
        self.canonical = {"place": f"place_{arch.resolution}"}

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.place(self.body(images).flatten(2))
        return out


SPACE: Space[Arch] = Space(Arch(choice(2, 3, 4), choice(4, 8)))
ARCHS = [SPACE.decode(code) for code in SPACE.all_codes()]


def test_each_option_has_its_own() -> None:
    supernet = Supernet(Net, SPACE)
    assert [name for name, _ in supernet.network.named_children()] == ["body", "place", "place_2", "place_3"]
    for arch in ARCHS:
        subnet, images = supernet.extract(arch), torch.randn(2, 3, *arch.input_hw)
        assert list(subnet.state_dict()) == list(Net(arch).state_dict())
        assert torch.equal(subnet(images), supernet(images, arch))
    supernet(torch.randn(2, 3, 3, 3), Arch(3, 4)).sum().backward()
    trained = {name for name, parameter in supernet.network.named_parameters() if parameter.grad is not None}
    assert trained == {"body.weight", "body.bias", "place_3.weight", "place_3.bias"}


def test_inserted_weights_come_back_and_the_others_stay() -> None:
    supernet, arch, other = Supernet(Net, SPACE), Arch(3, 4), Arch(2, 8)
    before, network = supernet.extract(other).state_dict(), Net(arch)
    supernet.insert(arch, network)
    found, after = supernet.extract(arch).state_dict(), supernet.extract(other).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in network.state_dict().items())
    assert torch.equal(after["place.weight"], before["place.weight"])
    assert torch.equal(after["body.weight"][4:], before["body.weight"][4:])
    assert torch.equal(after["body.weight"][:4], network.body.weight)


def test_a_stage_without_an_option_leaves_its_weights_untrained() -> None:
    whole: Any = stages(SPACE, [{"name": "all", "open": ["resolution", "width"], "steps": 1}])
    assert audit(Net, SPACE, whole) == 8 * 4 + 2 * (4 + 9 + 16) + 3 * 2
    shut: Any = stages(SPACE, [{"name": "largest", "open": ["width"], "steps": 1}])
    with pytest.raises(UserError, match=r"place_2.weight: 8 of 8 weights would never be trained"):
        audit(Net, SPACE, shut)
