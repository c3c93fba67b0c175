"""Copied layers and kept slices are what building and slicing in full gives, whatever a constructor does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from search_spaces import FAMILIES, Space, choice, litepose
from supernet import Supernet
from supernet.sharing.layer_copies import copied_layers
from supernet.sharing.meta import meta_network, no_weights
from supernet.sharing.meta_networks import MetaNetworkBuilder
from supernet.sharing.rules import SharingError, share
from supernet.sharing.separate_weights import shared_network
from supernet.sharing.slicing import slices_of

CASES = [(family, name) for family, module in FAMILIES.items() for name in module.SPACES]


def described(network: nn.Module) -> list[Any]:
    """Names, types, attributes and shapes of all modules, in order."""
    found: list[Any] = []
    for name, module in network.named_modules():
        plain = {key: value for key, value in vars(module).items() if not key.startswith("_") and not callable(value)}
        tensors = {**module._parameters, **module._buffers}
        shapes = {key: None if tensor is None else (tensor.shape, tensor.dtype) for key, tensor in tensors.items()}
        hooks = [key for key, value in vars(module).items() if key.endswith("_hooks") and value]
        found.append((name, type(module), plain, shapes, list(module._modules), hooks, sorted(vars(module))))
    return found


def check(build: Callable[[Any], nn.Module], space: Space[Any], archs: list[Any]) -> None:
    """The same network with the same slices, also when most of it comes out of the caches."""
    largest = shared_network(partial(meta_network, build), space)
    make = MetaNetworkBuilder(build, largest)
    for arch in archs:
        network = meta_network(build, arch)
        expected, description = slices_of(network, largest), described(network)
        for _ in range(2):
            meta = make(arch)
            assert described(meta.module) == description
            assert meta.slices.keys() == expected.keys()
            for name, part in meta.slices.items():
                assert (part.key, part.whole) == (expected[name].key, expected[name].whole)
                for mine, reference in zip(part.index, expected[name].index, strict=True):
                    same = torch.equal(mine, reference) if isinstance(mine, Tensor) else mine == reference
                    assert same, name


@pytest.mark.parametrize(("family", "name"), CASES, ids=[f"{family}-{name}" for family, name in CASES])
def test_equal_to_building_in_full(family: str, name: str) -> None:
    """In every space of every family."""
    module: ModuleType = FAMILIES[family]
    space, rng = module.SPACES[name], np.random.default_rng(0)
    check(module.build, space, [space.sample(rng) for _ in range(3 if name == "small" else 1)])


@dataclass(frozen=True)
class Arch:
    width: int
    extra: int
    deep: bool


class Changing(nn.Module):
    """Changes layers after their construction, in a way that depends on the architecture."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, arch.width, 3, padding=1), nn.Conv2d(3, arch.extra, 3, padding=1)
        self.join = nn.Conv2d(arch.width + arch.extra, 6, 1)
        self.join.sources = (arch.width, arch.extra)  # type: ignore[assignment]
        self.norm, self.again = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.norm.momentum = 0.3 if arch.deep else 0.01
        self.block = nn.Sequential(nn.Conv2d(6, 6, 1), nn.PReLU())
        if arch.deep:
            self.block.append(nn.Conv2d(6, 6, 1))
        else:
            self.again.eps = 1e-5

    def forward(self, images: Tensor) -> Tensor:
        """Images to maps."""
        x = torch.cat([self.one(images), self.two(images)], dim=1)
        out: Tensor = self.again(self.block(self.norm(self.join(x))))
        return out


SPACE: Space[Arch] = Space(Arch(choice(2, 4, 6), choice(2, 4, 6), choice(False, True)))
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_layers_that_are_changed_after_their_construction() -> None:
    """Widths of 2 + 4 and 4 + 2 give the same convolution, of other sources; a copy has nothing of an earlier one."""
    check(Changing, SPACE, [SPACE.decode(code) for code in SPACE.all_codes()])


def test_gradients_are_those_of_slices_made_in_full() -> None:
    """To the last bit, with architectures in turn, so that caches are warm."""
    space = litepose.SMALL
    torch.manual_seed(0)
    supernet = Supernet(litepose.build, space)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    for _ in range(3):
        arch = space.sample(rng)
        network = meta_network(litepose.build, arch)
        stored = {**dict(supernet.network.named_parameters()), **dict(supernet.network.named_buffers())}
        tensors = {name: part.of(stored[part.key]) for name, part in slices_of(network, supernet.network).items()}
        tensors = {name: tensor if tensor.requires_grad else tensor.clone() for name, tensor in tensors.items()}
        gradients = []
        for outputs in (supernet(images, arch), functional_call(network.train(), tensors, (images,))):
            supernet.zero_grad()
            torch.stack([output.square().mean() for output in outputs]).sum().backward()
            gradients.append({name: p.grad for name, p in supernet.network.named_parameters()})
        for name, gradient in gradients[0].items():
            other = gradients[1][name]
            assert (gradient is None) == (other is None)
            assert gradient is None or other is None or torch.equal(gradient, other), name


class Hooked(nn.Module):
    """Registers a hook, either when it is built or when it runs."""

    def __init__(self, arch: Arch, late: bool) -> None:
        super().__init__()
        self.late = late
        self.layer = nn.Conv2d(3, arch.width, 1)
        if not late:
            try:
                self.register()
            except Exception:  # noqa: BLE001  # a constructor may catch what it likes
                pytest.fail("the reason is not the constructor's business")

    def register(self) -> None:
        """Double what the layer computes."""
        self.layer.register_forward_hook(lambda module, args, output: 2 * output)

    def forward(self, images: Tensor) -> Tensor:
        """Images to maps."""
        if self.late:
            self.register()
        out: Tensor = self.layer(images)
        return out


def test_hooks_belong_to_one_module() -> None:
    """One of the constructor is there and alone; one that comes later is refused, and nothing is doubled by it."""
    supernet = Supernet(lambda arch: Hooked(arch, late=False), SPACE).eval()
    plain = supernet.network.layer
    for arch in map(SPACE.decode, SPACE.all_codes()[::5]):
        expected = 2 * torch.conv2d(IMAGES, plain.weight[: arch.width], plain.bias[: arch.width])  # type: ignore[index,union-attr,arg-type]
        torch.testing.assert_close(supernet(IMAGES, arch), expected)
        assert torch.equal(supernet(IMAGES, arch), supernet.extract(arch)(IMAGES))
    late = Supernet(lambda arch: Hooked(arch, late=True), SPACE).eval()
    with pytest.raises(SharingError, match="register it when the network is built"):
        late(IMAGES, SPACE.smallest)


def test_every_copy_is_its_own() -> None:
    """Tensors, attributes and collections are not shared between copies, nor with an ordinary layer."""
    with no_weights(), copied_layers():
        first, second, third = (nn.BatchNorm2d(4) for _ in range(3))
    second.eps, second.extra = 1e-3, 1  # type: ignore[assignment]
    second.register_buffer("more", torch.zeros(1), persistent=False)
    assert (third.eps, hasattr(third, "extra"), hasattr(third, "more")) == (1e-5, False, False)
    assert third._non_persistent_buffers_set == set()
    tensors = [tensor for norm in (first, second, third) for tensor in norm.state_dict(keep_vars=True).values()]
    assert len({id(tensor) for tensor in tensors}) == 15
    assert all(tensor.is_meta for tensor in tensors)
    assert isinstance(third.weight, nn.Parameter)


def test_arguments_are_told_apart_by_their_types() -> None:
    """1, 1.0 and True are equal, but not the same to a constructor; what is no plain value is constructed as usual."""
    with no_weights(), copied_layers():
        for value in (1, 1.0, True, 1, 1.0, True):
            assert type(nn.LeakyReLU(value).negative_slope) is type(value)
        for size in (np.int64(4), [4], (4,), 4):
            assert nn.LayerNorm(size).normalized_shape == (4,)  # type: ignore[arg-type]
        assert nn.Conv2d(1, 2, 1, dtype=torch.float64).weight.dtype is torch.float64
        assert nn.Conv2d(1, 2, 1).weight.dtype is torch.float32


def test_torch_is_as_before_and_other_threads_do_not_notice() -> None:
    """Also when a constructor fails."""
    own = [nn.Module.__init__, nn.Conv2d.__init__, nn.BatchNorm2d.__init__, nn.Sequential.__init__]
    layers: list[nn.Conv2d] = []

    def elsewhere() -> None:
        layers.append(nn.Conv2d(1, 2, 3))

    with pytest.raises(ZeroDivisionError), no_weights(), copied_layers():
        assert nn.Conv2d.__init__ is not own[1]
        for _ in range(2):
            nn.Conv2d(1, 2, 3)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        raise ZeroDivisionError
    assert [nn.Module.__init__, nn.Conv2d.__init__, nn.BatchNorm2d.__init__, nn.Sequential.__init__] == own
    assert "__init__" not in vars(nn.BatchNorm2d)
    assert layers[0].weight.abs().sum() > 0


def test_children_of_copied_containers() -> None:
    """Sequences and lists take what torch's take, and refuse what they refuse."""
    with no_weights(), copied_layers():
        layers = [nn.ReLU(), nn.Conv2d(1, 1, 1)]
        assert list(nn.Sequential(*layers)._modules.values()) == layers
        assert list(nn.ModuleList(layer for layer in layers)._modules) == ["0", "1"]
        with pytest.raises(TypeError, match="is not a Module subclass"):
            nn.Sequential(nn.ReLU(), 3)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="is not a Module subclass"):
            nn.ModuleList([nn.ReLU(), 3])  # type: ignore[list-item]


@dataclass(frozen=True)
class Offset:
    """An architecture whose choice shows in no shape."""

    start: int


class Window(nn.Conv2d):
    """A convolution with two of four filters."""


class Windowed(nn.Module):
    """Reads two of four channels, those after a number that is no shape of a tensor."""

    def __init__(self, arch: Offset, kind: type[nn.Conv2d]) -> None:
        super().__init__()
        self.layer = kind(3, 4 if arch.start == 2 else 2, 1)
        self.layer.start = arch.start  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor:
        """Images to maps."""
        out: Tensor = self.layer(images)
        return out


@share.register
def _share_window(small: Window, big: Window) -> dict[str, Any]:
    rows = slice(0, 4) if small.out_channels == 4 else slice(small.start, small.start + 2)  # type: ignore[arg-type,operator]
    return {"weight": (rows, slice(0, 3), slice(0, 1), slice(0, 1)), "bias": (rows,)}


def test_a_rule_of_ones_own_may_read_what_it_likes() -> None:
    """Its result is found anew for every architecture."""
    space: Space[Offset] = Space(Offset(choice(0, 1, 2)))
    supernet = Supernet(lambda arch: Windowed(arch, Window), space).eval()
    whole = supernet(IMAGES, Offset(2))
    for start in (0, 1, 0, 1):
        torch.testing.assert_close(supernet(IMAGES, Offset(start)), whole[:, start : start + 2])


def test_slices_are_kept_by_every_attribute_of_a_module() -> None:
    """One that a rule might read gives an entry of its own; equal modules share one."""
    space: Space[Offset] = Space(Offset(choice(0, 1, 2)))
    make = MetaNetworkBuilder(
        lambda arch: Windowed(arch, nn.Conv2d), meta_network(lambda _: Windowed(Offset(2), nn.Conv2d), 0)
    )
    for start in (0, 1, 0, 1, 2):
        make(Offset(start))
    layers = [key for key in make._found if key[0] == "layer"]  # type: ignore[index]
    assert len(layers) == space.size
