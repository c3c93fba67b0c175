"""HigherHRNet: what is its own beside the golden record and the contracts of every family."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from search_spaces import ArchitectureError, higher_hrnet, hrnet
from supernet import Supernet
from supernet.cost.conventions import CONVENTIONS
from supernet.cost.macs import operations
from supernet.sharing.slicing import slices_of


@pytest.mark.parametrize("name", list(higher_hrnet.REBUILT))
def test_gradual_shrinking_costs_what_the_slides_say(name: str) -> None:
    """Within 0.1 %, with bottlenecks of twice the width."""
    entry = higher_hrnet.REBUILT[name]
    with torch.device("meta"):
        network = higher_hrnet.build(entry.arch, entry.joints)
    figure = CONVENTIONS["ptflops"](operations(network, (1, 3, *entry.arch.input_hw)))
    assert figure == pytest.approx(entry.gmacs, rel=0.001)


def test_published_networks_are_in_the_space() -> None:
    """Those of the paper, those of LitePose, and its gradual shrinking."""
    assert {name: higher_hrnet.SPACE.why_not(arch) for name, arch in higher_hrnet.published().items()} == dict.fromkeys(
        [*higher_hrnet.PUBLISHED, *higher_hrnet.REBUILT]
    )


def test_named_extraction() -> None:
    """Cut out of the published space, it has the tensors of the published network and computes what the supernet does."""
    supernet = Supernet(partial(higher_hrnet.build, joints=14), higher_hrnet.SPACE).eval()
    arch, images = higher_hrnet.published()["higherhrnet-shrink3"], torch.randn(1, 3, 64, 64)
    network = higher_hrnet.build(arch, 14).eval()
    network.load_state_dict(supernet.extract(arch).state_dict())
    with torch.inference_mode():
        for shared, own in zip(supernet(images, arch), network(images), strict=True):
            assert torch.equal(shared, own)


def test_the_convolution_of_an_empty_branch_is_that_of_the_first_block() -> None:
    """Its weights, statistics and gradients are the first convolution's and the first BatchNorm's of the larger branch."""
    arch = replace(higher_hrnet.SMALL.largest, deconv_blocks=0)
    empty = replace(arch.backbone, stages=tuple(hrnet.HRStage(1, (0,) * n) for n in (2, 3, 4)), empty_branch="conv")
    slices = slices_of(higher_hrnet.build(replace(arch, backbone=empty)), higher_hrnet.build(arch))
    pairs = {name: part.key for name, part in slices.items() if name.startswith("stage3.0.branches.1.")}
    assert pairs["stage3.0.branches.1.0.weight"] == "stage3.0.branches.1.0.conv1.weight"
    assert pairs["stage3.0.branches.1.1.running_var"] == "stage3.0.branches.1.0.bn1.running_var"
    assert len(pairs) == 6
    branch, block = hrnet.HRBranch(4, 0, "conv").eval(), hrnet.BasicBlock(4).eval()
    branch[0].load_state_dict(block.conv1.state_dict())
    branch[1].load_state_dict(block.bn1.state_dict())
    x = 30 * torch.randn(1, 4, 8, 8)
    with torch.inference_mode():
        assert torch.equal(branch(x), block.bn1(block.conv1(x)).clamp(0, 6))


def test_empty_branches_of_litepose() -> None:
    """A branch of no blocks is one convolution there, and elsewhere nothing at all."""
    arch = higher_hrnet.published()["litepose_higherhrnet_w16_512_crowdpose"]
    with torch.device("meta"):
        branches = higher_hrnet.build(arch, 14).get_submodule("stage3.0.branches")
        clean = higher_hrnet.build(replace(arch, backbone=replace(arch.backbone, empty_branch="identity")), 14)
    assert [key for key in branches.state_dict() if key.endswith("weight")][:3] == [
        "0.0.weight",
        "0.1.weight",
        "1.0.weight",
    ]
    assert not clean.get_submodule("stage3.0.branches.0").state_dict()


def test_outputs() -> None:
    """Heatmaps and tags at a quarter of the resolution, heatmaps at a half."""
    network = higher_hrnet.build(higher_hrnet.SMALL.smallest, joints=5).eval()
    with torch.inference_mode():
        shapes = [tuple(out.shape) for out in network(torch.randn(2, 3, 64, 96))]
    assert shapes == [(2, 10, 16, 24), (2, 5, 32, 48)]


def test_wrong_json() -> None:
    """One line that names the entry."""
    data = higher_hrnet.to_json(higher_hrnet.SMALL.smallest)
    with pytest.raises(ArchitectureError, match="deconv_width is 0, it has to be at least 1"):
        higher_hrnet.from_json(data | {"deconv_width": 0})
    with pytest.raises(ArchitectureError, match="lacks 'deconv_blocks'; HigherHRNet has resolution, backbone"):
        higher_hrnet.from_json({key: value for key, value in data.items() if key != "deconv_blocks"})
