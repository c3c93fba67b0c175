"""EfficientHRNet: what is its own beside the golden record and the contracts of every family."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from search_spaces import ArchitectureError, efficient_hrnet
from supernet.sharing.slicing import slices_of
from tests import reference


@pytest.mark.parametrize("name", sorted(efficient_hrnet.PUBLISHED))
def test_scaling(name: str) -> None:
    """Widths, depth and resolution as the original's constructor computes them; every variant is in the space."""
    config = reference.load_json("configs")[name]["config"]
    arch = efficient_hrnet.published()[name]
    depth = 1 + sum(len(stage.blocks) for tap in arch.taps for stage in tap)
    derived = {"trunk_channels": [*arch.widths], "num_features": depth, "deconv_channels": [arch.deconv_width]}
    assert (derived, [*arch.resolution]) == (config["derived"], config["input_hw"])
    assert efficient_hrnet.SPACE.why_not(arch) is None


def test_blocks_are_paired_by_stage() -> None:
    """The checkpoint numbers blocks through, so that a stage of less depth moves all that follow; sharing does not follow."""
    largest, smallest = efficient_hrnet.SMALL.largest, efficient_hrnet.SMALL.smallest
    short = replace(largest, taps=(replace_depth(largest.taps[0]), *largest.taps[1:]))
    parts = slices_of(efficient_hrnet.build(short), efficient_hrnet.build(largest))
    assert parts["features.1.conv.0.1.weight"].key == "features.1.conv.0.1.weight"
    assert parts["features.2.conv.0.1.weight"].key == "features.3.conv.0.1.weight"
    assert len(smallest.taps[0][0].blocks) < len(largest.taps[0][0].blocks)


def replace_depth(tap: tuple[efficient_hrnet.Stage, ...]) -> tuple[efficient_hrnet.Stage, ...]:
    """The tap with one block in its only stage."""
    return (replace(tap[0], blocks=tap[0].blocks[:1]),)


def test_outputs() -> None:
    """Heatmaps and tags at a quarter of the resolution, heatmaps at a half."""
    network = efficient_hrnet.build(efficient_hrnet.SMALL.smallest, joints=5).eval()
    with torch.inference_mode():
        shapes = [tuple(out.shape) for out in network(torch.randn(2, 3, 64, 96))]
    assert shapes == [(2, 10, 16, 24), (2, 5, 32, 48)]


def test_wrong_json() -> None:
    """One line that names the entry."""
    data = efficient_hrnet.to_json(efficient_hrnet.SMALL.smallest)
    data["taps"][2][0]["stride"] = 1
    with pytest.raises(ArchitectureError, match=r"taps\[2\] has the strides \[1\]; one of them has to be 2"):
        efficient_hrnet.from_json(data)
    data["taps"][2][0]["blocks"] = []
    with pytest.raises(ArchitectureError, match=r"taps\[2\] has a stage without blocks"):
        efficient_hrnet.from_json(data)
    with pytest.raises(ArchitectureError, match="widths has 3 entries, it has to have 4"):
        efficient_hrnet.from_json(data | {"widths": [8, 16, 32]})
