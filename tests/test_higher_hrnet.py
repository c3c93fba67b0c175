"""HigherHRNet: what is its own beside the golden record and the contracts of every family."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from search_spaces import ArchitectureError, higher_hrnet
from supernet.conventions import CONVENTIONS
from supernet.counting import operations


@pytest.mark.parametrize("name", list(higher_hrnet.REBUILT))
def test_gradual_shrinking_costs_what_the_slides_say(name: str) -> None:
    """Within 0.1 %, with bottlenecks of twice the width."""
    entry = higher_hrnet.REBUILT[name]
    with torch.device("meta"):
        network = higher_hrnet.build(entry.arch, entry.joints)
    figure = CONVENTIONS["ptflops"](operations(network, (1, 3, *entry.arch.input_hw)))
    assert figure == pytest.approx(entry.gmacs, rel=0.001)


def test_only_empty_branches_of_litepose_are_outside_the_space() -> None:
    """A branch of no blocks is a convolution in its code."""
    outside = [name for name, arch in higher_hrnet.published().items() if not higher_hrnet.SPACE.contains(arch)]
    assert outside == ["litepose_higherhrnet_w16_512_crowdpose", "higherhrnet-shrink3"]


def test_empty_branches_of_litepose() -> None:
    """A branch of no blocks is one convolution there, and in the spaces nothing at all."""
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
