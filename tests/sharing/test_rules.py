"""Slicing rules of PyTorch's layers: extracted equals shared, smaller is a part of larger; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from search_spaces import Space, choice
from supernet import Supernet, UserError, check_alignment
from supernet.sharing.declarations import SharingError
from supernet.sharing.label_audit import check_labels
from supernet.sharing.meta import meta_network
from supernet.sharing.slicing import slices_of

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Arch:
    width: int
    input_hw: tuple[int, int] = (8, 8)


SPACE: Space[Arch] = Space(Arch(choice(4, 8)))


class Between(nn.Module):
    """A convolution, a layer under test, and one that reads it."""

    def __init__(self, width: int, layer: nn.Module, run: Callable[[nn.Module, Tensor], Tensor], outputs: int) -> None:
        super().__init__()
        self.first, self.layer, self.last = nn.Conv2d(3, width, 1), layer, nn.Linear(outputs, 2)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.run(self.layer, self.first(x).flatten(2).transpose(1, 2)))
        return y


def along(layer: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = layer(x)
    return y


def across(layer: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = layer(x.transpose(1, 2)).transpose(1, 2)
    return y


def attend(layer: Any, x: Tensor) -> Tensor:
    y: Tensor = layer(x, x, x, need_weights=False)[0]
    return y


def recur(layer: Any, x: Tensor) -> Tensor:
    y: Tensor = layer(x)[0]
    return y


def look_up(layer: Any, x: Tensor) -> Tensor:
    return x + layer(torch.zeros(x.shape[:2], dtype=torch.long, device=x.device) + 3)


#: A layer of a width, how it is run, and how many channels it has for each of its width.
LAYERS: dict[str, tuple[Callable[[int], nn.Module], Callable[[Any, Tensor], Tensor], int]] = {
    "GroupNorm": (lambda width: nn.GroupNorm(width // 2, width), across, 1),
    "GroupNorm of one": (lambda width: nn.GroupNorm(1, width), across, 1),
    "InstanceNorm": (lambda width: nn.InstanceNorm1d(width, affine=True, track_running_stats=True), across, 1),
    "LayerNorm": (lambda width: nn.LayerNorm(width), along, 1),
    "RMSNorm": (lambda width: nn.RMSNorm(width), along, 1),
    "PReLU": (lambda width: nn.PReLU(width), across, 1),
    "PReLU of one": (lambda width: nn.PReLU(), across, 1),
    "Embedding": (lambda width: nn.Embedding(5, width), look_up, 1),
    "MultiheadAttention": (lambda width: nn.MultiheadAttention(width, width // 2, batch_first=True), attend, 1),
    "LSTM": (lambda width: nn.LSTM(width, width, 2, batch_first=True), recur, 1),
    "GRU, two directions": (lambda width: nn.GRU(width, width, 2, batch_first=True, bidirectional=True), recur, 2),
    "RNN without biases": (lambda width: nn.RNN(width, width, bias=False, batch_first=True), recur, 1),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_shared(name: str) -> None:
    make, run, times = LAYERS[name]

    def build(arch: Arch) -> nn.Module:
        network = Between(arch.width, make(arch.width), run, times * arch.width)
        if times > 1:
            network.last.sources = (arch.width,) * times  # type: ignore[assignment]
        return network

    supernet = Supernet(build, SPACE).eval()
    small = supernet.extract(Arch(4))
    assert torch.equal(small(IMAGES), supernet(IMAGES, Arch(4)))
    assert small(IMAGES).shape == (2, 64, 2) and not torch.equal(small(IMAGES), supernet(IMAGES, Arch(8)))
    assert check_labels(build, SPACE) == 1
    assert check_alignment(build, SPACE) <= 1e-12


class Split(nn.Module):
    """What is made in parts and read in parts, through layers that declare them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide, self.norm = nn.ConvTranspose2d(3, 2 * width, 2, 2), nn.BatchNorm2d(2 * width)
        self.act, self.gated = nn.PReLU(2 * width), nn.Linear(width, 2 * width)
        self.last = nn.Linear(width, 2)
        for layer in (self.wide, self.norm, self.act, self.gated):
            layer.targets = (width, width)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.act(self.norm(self.wide(x))).chunk(2, 1)
        value, gate = self.gated((left * right).mean((2, 3))).chunk(2, -1)
        y: Tensor = self.last(value * gate)
        return y


def test_targets_of_transposed_convolutions_norms_and_linear_layers() -> None:
    assert check_labels(lambda arch: Split(arch.width), SPACE) == 1
    assert check_alignment(lambda arch: Split(arch.width), SPACE) <= 1e-12
    indices = slices_of(Split(4), Split(8))
    chosen = torch.tensor([0, 1, 2, 3, 8, 9, 10, 11])
    assert torch.equal(indices["wide.weight"].index[1], chosen) and torch.equal(indices["wide.bias"].index[0], chosen)
    assert torch.equal(indices["norm.running_var"].index[0], chosen) and torch.equal(
        indices["gated.weight"].index[0], chosen
    )


def declared(layer: Any, **parts: tuple[int, ...]) -> nn.Module:
    for name, widths in parts.items():
        setattr(layer, name, widths)
    return nn.Sequential(layer)


REFUSED: dict[str, tuple[Callable[[int], nn.Module], str]] = {
    "container": (
        lambda width: declared(nn.Sequential(nn.Conv2d(3, width, 1)), targets=(width,)),
        "module 0: nothing reads targets of Sequential",
    ),
    "activation": (lambda width: declared(nn.ReLU(), sources=(width,)), "module 0: nothing reads sources of ReLU"),
    "attention": (
        lambda width: declared(nn.MultiheadAttention(width, 2), sources=(width,)),
        "nothing reads sources of MultiheadAttention",
    ),
    "recurrent": (lambda width: declared(nn.GRU(width, width), targets=(width,)), "nothing reads targets of GRU"),
    "embedding": (
        lambda width: declared(nn.Embedding(3, width), sources=(width,)),
        "nothing reads sources of Embedding",
    ),
    "groups": (
        lambda width: nn.Sequential(nn.GroupNorm(2, width)),
        r"module 0: 2 groups of 2 channels cannot be cut out of 2 groups of 4",
    ),
    "heads": (
        lambda width: nn.Sequential(nn.MultiheadAttention(width, 2)),
        "module 0: 2 heads of 2 channels cannot be cut out of 2 heads of 4",
    ),
    "lazy": (
        lambda width: nn.Sequential(nn.LazyConv2d(width, 1)),
        "module 0: LazyConv2d has no weights before it has run",
    ),
    "weight_norm": (
        lambda width: nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, width, 1))),
        "of a weight that is computed|register one for ParametrizationList",
    ),
    "spectral_norm": (
        lambda width: nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(3, width, 1))),
        "of a weight that is computed|register one for",
    ),
    "old weight_norm": (
        lambda width: nn.Sequential(weight_norm(nn.Conv2d(3, width, 1))),
        r"module 0: .* of a weight that is computed \(weight_norm",
    ),
    "old spectral_norm": (
        lambda width: nn.Sequential(spectral_norm(nn.Conv2d(3, width, 1))),
        r"module 0: .* of a weight that is computed",
    ),
    "the network itself": (
        lambda width: nn.Conv2d(3, 12 - width, 1),
        r"module \(the network itself\): weight \(8, 3, 1, 1\) does not fit",
    ),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as refused:
        slices_of(make(4), make(8))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_a_computed_weight_that_keeps_its_shape_is_shared(norm: Callable[[nn.Module], nn.Module]) -> None:
    def build(arch: Arch) -> nn.Module:
        fixed = norm(nn.Conv2d(3, 4, 1))
        return nn.Sequential(fixed, nn.Conv2d(4, arch.width, 1), nn.Conv2d(arch.width, 2, 1))

    supernet = Supernet(build, SPACE).eval()
    assert torch.equal(supernet.extract(Arch(4))(IMAGES), supernet(IMAGES, Arch(4)))


def test_lazy_networks_are_refused_at_once() -> None:
    with pytest.raises(SharingError, match="module 0: LazyConv2d has no weights before it has run"):
        Supernet(lambda arch: nn.Sequential(nn.LazyConv2d(arch.width, 1)), SPACE)


class Optional(nn.Module):
    """A squeeze that smaller networks lack."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
        self.squeeze = nn.Conv2d(8, 8, 1) if width == 8 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.squeeze(self.first(x)))
        return y


def test_an_identity_is_a_module_that_is_absent() -> None:
    supernet = Supernet(lambda arch: Optional(arch.width), SPACE).eval()
    small = supernet.extract(Arch(4))
    assert torch.equal(small(IMAGES), supernet(IMAGES, Arch(4))) and "squeeze.weight" not in small.state_dict()
    assert check_labels(supernet.build, SPACE) == 1 and check_alignment(supernet.build, SPACE) <= 1e-12
    with pytest.raises(SharingError, match="module squeeze is Conv2d here and Identity in the largest"):
        slices_of(Optional(8), Optional(4))


class Computes(nn.Module):
    """A constructor that needs values, and tensors that are no buffers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        rates = [value.item() for value in torch.linspace(0, 0.5, 3)]
        self.drop, self.conv = nn.Dropout(rates[1]), nn.Conv2d(3, width, 1)
        self.anchors, self.sizes = torch.arange(8.0), [torch.ones(1), torch.zeros(1)]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.drop(self.conv(x)) + self.anchors + self.sizes[0]
        return y


class Keeps(Computes):
    def __init__(self, width: int) -> None:
        nn.Module.__init__(self)
        self.drop, self.conv = nn.Identity(), nn.Conv2d(3, width, 1)
        self.anchors, self.sizes = torch.arange(8.0), [torch.ones(1), torch.zeros(1)]


@pytest.mark.parametrize("kind", [Computes, Keeps])
def test_constructors_that_compute_with_tensors(kind: type[Computes]) -> None:
    state = torch.get_rng_state()
    skeleton: Any = meta_network(lambda arch: kind(arch.width), Arch(4))
    assert torch.equal(torch.get_rng_state(), state)
    assert skeleton.conv.weight.is_meta and skeleton.anchors.tolist() == list(range(8))
    supernet = Supernet(lambda arch: kind(arch.width), SPACE).eval()
    assert torch.equal(supernet.extract(Arch(4))(IMAGES), supernet(IMAGES, Arch(4)))


def test_an_architecture_outside_of_the_space_is_not_run() -> None:
    supernet = Supernet(lambda arch: nn.Conv2d(3, arch.width, 1), SPACE)
    with pytest.raises(ValueError, match="width 6 is not one of 4, 8 at width"):
        supernet(IMAGES, Arch(6))


@dataclass
class Loose:
    width: int


@dataclass(frozen=True)
class Holds:
    parts: Any = field(default=())


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (Holds([choice(1, 2)]), "parts is a list, which no architecture can have; write a tuple"),
        (Holds({"width": choice(1, 2)}), "parts is a dict, which no architecture can have; write a frozen dataclass"),
        (Holds((Loose(choice(1, 2)),)), r"parts\[0\] is a Loose, which is not frozen; write @dataclass\(frozen=True\)"),
        (Loose(choice(1, 2)), "architecture is a Loose, which is not frozen"),
        (Holds(choice([1], [2])), "an option of parts is a list"),
    ],
)
def test_a_space_is_made_of_values(tree: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Space(tree)
