"""A supernet of any module in hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces import published
from supernet import CostModel, Supernet, audit, calibrate, check_alignment, count, stages
from supernet.errors import UserError
from supernet.sharing.from_module import Elastic, ModuleArch
from supernet.sharing.tied_weights import first_names
from tests.sharing.networks import PUBLISHED, SMALL, MobileNetV3, UNet, ViT, conv_bn

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def settled(network: nn.Module) -> nn.Module:
    """Affine parameters and running statistics of no special value."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor, name in first_names(network).items():
            if tensor.is_floating_point() and tensor.dim() == 1:
                low = 0.5 if name.endswith(("weight", "running_var")) else -0.2
                tensor.uniform_(low, low + 0.5, generator=generator)
    return network.eval()


def check(network: nn.Module, images: Tensor, architectures: int, least: float = 0.9) -> Supernet[Any]:
    """All that has to hold of a supernet of a module."""
    settled(network)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    said: list[str] = []
    supernet = Supernet.from_module(network, images, log=said.append)
    space, rng = supernet.space, np.random.default_rng(0)
    covered = float(said[0].partition("% of the weights")[0].rpartition(" ")[2]) / 100
    assert covered >= least, said[0]
    with torch.inference_mode():
        for whole, own in zip(tensors(network(images)), tensors(supernet(images, space.largest)), strict=True):
            assert torch.equal(whole, own)
        for arch in [space.smallest, *(space.sample(rng) for _ in range(architectures - 1))]:
            subnet = supernet.extract(arch)
            for shared, own in zip(tensors(supernet(images, arch)), tensors(subnet(images)), strict=True):
                assert torch.equal(shared, own)
            assert arch == space.largest or count(subnet, images.shape).params <= count(network, images.shape).params
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert check_alignment(supernet.build, space, lambda arch: tuple(images.shape), network=supernet.network) <= 1e-12
    return supernet


def tensors(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


@pytest.mark.parametrize("name", SMALL)
def test_well_known_networks(name: str) -> None:
    build, side = SMALL[name]
    check(build(), torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(2)), 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_well_known_networks_of_published_size(name: str) -> None:
    build, side = PUBLISHED[name]
    check(build(), torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(2)), 100)


FAMILIES = {
    "litepose_XS_crowdpose": (256, 256), "hrnet_w32_coco_256x192_mmpose": (256, 192), "widehrnet_18_se_coco_256x192": (256, 192),
    "litehrnet_18_coco_256x192": (256, 192), "srpose_hrnet_w32_coco_256x192": (256, 192), "hrnetv2p_w32_fcos": (256, 256),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_networks_of_the_families(name: str) -> None:
    images = torch.randn(1, 3, *FAMILIES[name], generator=torch.Generator().manual_seed(2))
    check(published(name), images, 100)


def test_it_is_searched_audited_and_calibrated_like_any_other() -> None:
    supernet = check(SMALL["ResNet-18"][0](), IMAGES, 2)
    space = supernet.space
    schedule = stages(space, [{"name": "all", "open": list(space.kinds), "steps": 1}])
    assert audit(supernet.build, space, schedule) == sum(one.numel() for one in supernet.network.parameters())
    costs, rng = CostModel(supernet.build, space), np.random.default_rng(1)
    codes = space.sample_codes(5, rng)
    for code, macs in zip(codes, costs.macs(codes), strict=True):
        assert macs == count(supernet.extract(space.decode(code)), (1, 3, 32, 32)).macs
    network = supernet.extract(space.smallest)
    assert calibrate(network, [IMAGES]) == 2
    assert not any(hasattr(module, "slices") for module in network.modules())
    loss = supernet.train()(IMAGES, space.smallest).sum()
    loss.backward()
    assert all(one.grad is not None for name, one in supernet.network.named_parameters() if name.endswith("fc.weight"))


def test_what_varies_is_chosen_by_name_fraction_and_divisor() -> None:
    network = UNet(16, 3)
    found = Elastic(network, IMAGES, exclude=["down.0*", "up.*"], fractions=(0.25, 1.0), divisor=4)
    touched = {name for gene in found.widths for name in gene.tensors}
    assert touched and not any(name.startswith(("down.0", "up.")) for name in touched)
    assert all(gene.options == (gene.options[-1] // 4, gene.options[-1]) for gene in found.widths)
    only = Elastic(network, IMAGES, include=["join.1*"], divisor=8)
    assert {name.partition(".")[0] for gene in only.widths for name in gene.tensors} == {"join"}


def test_kernels_and_blocks() -> None:
    found = Elastic(MobileNetV3(1.0, 4, 6), IMAGES)
    kernels = {gene.title: gene.options for gene in found.kernels}
    kernels |= {
        gene.title: gene.options
        for run in found.runs
        for inside in run.inside
        for gene in inside
        if gene.kind == "kernel"
    }
    assert kernels and set(kernels.values()) == {(3, 5)}
    assert all("blocks." in run.title for run in found.runs) and len(found.runs) == 3
    small = found.build(found.space.smallest)
    assert len(list(small.get_submodule("blocks").children())) < 6


def test_heads_of_attention_shrink_with_the_embedding() -> None:
    found = Elastic(ViT(32, 2, 2, 32), IMAGES)
    (joint,) = [gene for gene in found.widths if len(gene.groups) > 1]
    assert joint.options == (16, 24, 32) and {group.size for group in joint.groups} == {16, 32}


def test_sorting_leaves_the_function_and_puts_the_important_first() -> None:
    network = settled(SMALL["ResNet-18"][0]()).double()
    images = IMAGES.double()
    supernet = Supernet.from_module(network, images, importance="l1", log=None)
    torch.testing.assert_close(supernet(images, supernet.space.largest), network(images), rtol=1e-10, atol=1e-10)
    weight = supernet.network.get_parameter("layer1.0.conv2.0.weight").detach()
    norms = weight.abs().sum((0, 2, 3))
    assert torch.equal(norms, norms.sort(descending=True).values)
    assert not torch.equal(weight, network.get_parameter("layer1.0.conv2.0.weight"))


class Odd(nn.Module):
    """Flattens by a number of its own, sorts channels, and has a width that its code writes down."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = conv_bn(3, 16, 3, 4), conv_bn(16, 16), conv_bn(16, 32)
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(torch.sort(self.one(x), 1)[0])
        x = self.three(x).mean((2, 3)).view(-1, 32)
        y: Tensor = self.head(x)
        return y


def test_what_stays_fixed_is_said_with_the_reason() -> None:
    said: list[str] = []
    supernet = Supernet.from_module(Odd(), IMAGES, log=said.append)
    assert "what sort meets in the network itself: the operation is not understood" in said[0]
    assert "width of three.0: RuntimeError: " in said[0] or "width of three.0: the output" in said[0]
    assert [gene.options for gene in supernet.space.genes] == [(8, 16)]  # between the second and the third


def test_values_that_the_code_needs() -> None:
    class Picked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("order", torch.arange(7, -1, -1))
            self.one, self.two, self.three = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 16, 1), nn.Conv2d(16, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.three(self.two(self.one(x)[:, self.order]))
            return y

    supernet = check(Picked(), IMAGES, 3, least=0.5)
    assert [gene.options for gene in supernet.space.genes] == [(8, 16)]


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "two inputs": (lambda: Elastic(nn.Conv2d(3, 8, 1), (IMAGES, IMAGES)), "has to be one tensor"),  # type: ignore[arg-type]
    "fractions": (lambda: Elastic(nn.Conv2d(3, 8, 1), IMAGES, fractions=(0.0, 1.0)), r"fractions .* \(0.0, 1.0\)"),
    "divisor": (lambda: Elastic(nn.Conv2d(3, 8, 1), IMAGES, divisor=0), "divisor has to be at least 1, not 0"),
    "importance": (lambda: Elastic(nn.Conv2d(3, 8, 1), IMAGES, importance="l2"), "importance 'l2' is not known"),
    "name": (
        lambda: Elastic(nn.Conv2d(3, 8, 1), IMAGES, exclude=["stem"]),
        "'stem' is the name of no module of Conv2d",
    ),
    "input": (lambda: Elastic(nn.Conv2d(4, 8, 1), IMAGES), "Conv2d does not run on the example: RuntimeError"),
    "lazy": (lambda: Elastic(nn.LazyConv2d(8, 1), IMAGES), "LazyConv2d has no weights before it has run"),
    "nothing": (lambda: Elastic(nn.Conv2d(3, 8, 1), IMAGES), "nothing in Conv2d may vary"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_the_architecture_is_a_value() -> None:
    assert ModuleArch((8,), (3,)) == ModuleArch((8,), (3,)) and hash(ModuleArch()) == hash(ModuleArch())
