"""The four contracts of every family, found through ``FAMILIES``."""

from __future__ import annotations

import json
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces import FAMILIES, Space
from supernet import Supernet
from supernet.sharing.meta import meta_network
from supernet.sharing.separate_weights import shared_network
from supernet.sharing.slicing import canonical_modules, slices_of

CASES = [(family, name) for family, module in FAMILIES.items() for name in module.SPACES]
#: Their largest networks have 70 and 100 million parameters.
LARGE = {("faster_rcnn", "published"), ("cascade_rcnn", "published")}


@pytest.fixture(
    params=[pytest.param(case, id="-".join(case), marks=[pytest.mark.slow] if case in LARGE else []) for case in CASES]
)
def case(request: pytest.FixtureRequest) -> tuple[ModuleType, Space[Any]]:
    """A family and one of its spaces."""
    family, name = request.param
    return FAMILIES[family], FAMILIES[family].SPACES[name]


def randomised(network: nn.Module) -> nn.Module:
    """Statistics and affine parameters of no special value, so that a wrong slice shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.dtype.is_floating_point and tensor.ndim == 1:
                low = 0.5 if name.endswith(("weight", "running_var")) else -0.2
                tensor.uniform_(low, 1.5 if low > 0 else 0.2, generator=generator)
    return network


def architectures(space: Space[Any]) -> list[Any]:
    """The ends of a space and some draws, fewer where networks are large."""
    rng = np.random.default_rng(0)
    draws = 6 if any(space is family.SPACES["small"] for family in FAMILIES.values()) else 2
    return [space.smallest, space.largest, *(space.sample(rng) for _ in range(draws))]


def images(family: ModuleType, space: Space[Any], dtype: torch.dtype = torch.float32, arch: Any = None) -> Any:
    """A random image, small where the space leaves the resolution open; a fixed one may be the only one that fits.

    A family may add what else its networks ask for (``example_input``).
    """
    side = getattr(family, "SMALLEST_INPUT", 32)
    size = (side, side) if "resolution" in space.kinds else space.smallest.input_hw
    if "resolution" in getattr(family, "UNALIGNED", ()):  # a network takes its own size only
        size = (arch or space.smallest).input_hw
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(2)).to(dtype)
    return getattr(family, "example_input", lambda image: image)(image)


def of_cheap_sizes(family: ModuleType, space: Space[Any], count: int) -> Space[Any]:
    """Of a space whose networks are each for one input size, the part with the smallest so many sizes."""
    if "resolution" not in getattr(family, "UNALIGNED", ()):
        return space
    sizes = next(gene.options for gene in space.genes if gene.kind == "resolution")
    return space.restrict({"resolution": sizes[:count]})


def drop_absent_layers(largest: nn.Module, subnet: nn.Module) -> None:
    """Layers that a smaller network lacks are taken out where zeros would not make them the identity.

    So it is behind a post-norm, a channel shuffle, an exchange that counts a branch twice, or within squeeze-and-excitation;
    their containers say so.
    """
    for name, _, module in canonical_modules(subnet):
        if not getattr(module, "zero_is_identity", True):
            renamed: dict[str, str] = getattr(module, "canonical", {})
            container = largest.get_submodule(name)
            container._modules = {
                key: container.get_submodule(renamed.get(key, key)) for key, _ in module.named_children()
            }


def test_names_and_shapes_grow(case: tuple[ModuleType, Space[Any]]) -> None:
    """Every tensor of a smaller network has a place in the largest, and in any network between."""
    family, space = case
    largest = shared_network(partial(meta_network, family.build), space)
    for arch in architectures(space):
        network = meta_network(family.build, arch)
        assert set(slices_of(network, largest)) == set(network.state_dict())


def test_extracted_computes_exactly_what_the_supernet_computed(case: tuple[ModuleType, Space[Any]]) -> None:
    """Difference 0.0, and the extracted weights are its own."""
    family, space = case
    space = of_cheap_sizes(family, space, 2)
    supernet = Supernet(family.build, space).eval()
    randomised(supernet.network)
    with torch.inference_mode():
        for arch in architectures(space):
            subnet = supernet.extract(arch)
            x = images(family, space, arch=arch)
            for shared, own in zip(supernet(x, arch), subnet(x), strict=True):
                assert torch.equal(shared, own)
    before = supernet(images(family, space), space.smallest)[0]
    for parameter in supernet.extract(space.smallest).parameters():
        parameter.data.zero_()
    assert torch.equal(before, supernet(images(family, space), space.smallest)[0])


def test_json_round_trip(case: tuple[ModuleType, Space[Any]]) -> None:
    """Through text and back."""
    family, space = case
    for arch in architectures(space):
        assert family.from_json(json.loads(json.dumps(family.to_json(arch)))) == arch


def test_alignment(case: tuple[ModuleType, Space[Any]]) -> None:
    """The largest network, with all that a smaller one does not use set to zero, is that smaller one.

    A family names the choices of which it says, with the reason, that this cannot be; they stay at their largest option.
    """
    family, space = case
    space = of_cheap_sizes(family, space, 1)
    unaligned = [name for name in getattr(family, "UNALIGNED", ()) if name != "resolution" or name in space.kinds]
    aligned = space.restrict(dict.fromkeys(unaligned, 1))
    supernet = Supernet(family.build, space).eval()
    randomised(supernet.network)
    rng = np.random.default_rng(0)
    for arch in [aligned.smallest, *(aligned.sample(rng) for _ in range(1 if space.smallest.input_hw[0] > 128 else 2))]:
        subnet = supernet.extract(arch).double()
        largest = family.build(space.largest).eval()
        largest.load_state_dict(supernet.network.state_dict())
        used = {name: torch.zeros_like(tensor, dtype=torch.bool) for name, tensor in largest.state_dict().items()}
        for part in slices_of(subnet, largest).values():
            part.mark(used[part.key])
        with torch.no_grad():
            for name, tensor in largest.state_dict().items():
                if not name.endswith(("running_var", "num_batches_tracked")):  # a zero variance would divide by eps
                    tensor[~used[name]] = 0
            drop_absent_layers(largest, subnet)
            inputs = images(family, space, torch.float64)
            for whole, part_ in zip(largest.double()(inputs), subnet(inputs), strict=True):
                assert (whole - part_).abs().max() <= 1e-10 * part_.abs().max()
