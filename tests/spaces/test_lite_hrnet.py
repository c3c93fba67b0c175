"""Lite-HRNet, and what it shares with WideHRNet: the shuffle, the exchange in place, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from search_spaces import ArchitectureError, lite_hrnet, widehrnet
from search_spaces.layers.lite import LiteModule, interleave
from supernet.sharing.meta import meta_network


def features(*widths: int) -> list[torch.Tensor]:
    """Random features of branches with so many channels, 8 × 8 at the highest resolution, float64."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, width, 8 >> branch, 8 >> branch, generator=generator).double()
        for branch, width in enumerate(widths)
    ]


def test_interleave_is_a_channel_shuffle() -> None:
    """Concatenation and a shuffle of two groups."""
    first, second = features(6)[0], features(6)[0] + 1
    assert torch.equal(interleave(first, second), torch.nn.functional.channel_shuffle(torch.cat((first, second), 1), 2))


def test_exchange_in_place() -> None:
    """S = 2 x0 + f01(x1) + f02(x2) replaces x0; the exchange of the paper does not."""
    x = features(4, 6, 8)
    module = LiteModule([], (4, 6, 8), 3, "in_place").double().eval()
    f = module.fuse_layers
    total = 2 * x[0] + f[0][1](x[1]) + f[0][2](x[2])
    expected = [total, 2 * f[1][0](total) + x[1] + f[1][2](x[2]), 2 * f[2][0](total) + f[2][1](x[1]) + x[2]]
    for mine, theirs in zip(module(x), expected, strict=True):
        torch.testing.assert_close(mine, theirs.relu(), rtol=1e-12, atol=1e-12)

    plain = LiteModule([], (4, 6, 8), 3, "sum").double().eval()
    plain.load_state_dict(module.state_dict())
    torch.testing.assert_close(plain(x)[1], (f[1][0](x[0]) + x[1] + f[1][2](x[2])).relu(), rtol=1e-12, atol=1e-12)


def halves(width: int) -> set[tuple[bool, ...]]:
    """For every channel of a branch, whether it is in the second half before each of sixteen shuffles."""
    channels, seen = torch.arange(width).view(1, -1, 1, 1), []
    for _ in range(16):
        second = torch.zeros(width, dtype=torch.bool)
        second[channels.flatten()[width // 2 :]] = True
        seen.append(second)
        channels = interleave(*channels.chunk(2, 1))
    return set(map(tuple, torch.stack(seen, 1).tolist()))


@pytest.mark.parametrize(
    ("narrow", "wide", "aligned"), [(14, 40, True), (54, 160, True), (20, 40, False), (30, 40, False)]
)
def test_which_widths_stay_aligned(narrow: int, wide: int, aligned: bool) -> None:
    """Those where narrow - 1 divides wide - 1: all others have channels whose way through the halves no wider one goes."""
    assert aligned == ((wide - 1) % (narrow - 1) == 0)
    assert aligned == (halves(narrow) <= halves(wide))


@pytest.mark.parametrize("family", [lite_hrnet, widehrnet])
def test_pruned_branches(family: Any) -> None:
    """What a stage does not compute has no layers and no exchange there; what no later stage needs is not made."""

    def names(*branches: int) -> set[str]:
        small = family.SMALL.smallest
        stages = tuple(replace(stage, branches=n) for stage, n in zip(small.stages, branches, strict=True))
        backbone = meta_network(family.build, replace(small, stages=stages)).backbone
        assert backbone(torch.empty(1, 3, 64, 64, device="meta"))[0].shape[2:] == (16, 16)
        return {name for name, _ in backbone.named_parameters()}

    def has(found: set[str], prefix: str) -> bool:
        return any(name.startswith(prefix) for name in found)

    full, late, never = names(2, 3, 4), names(2, 2, 4), names(2, 3, 2)
    assert late < full and never < names(2, 3, 3)
    assert has(late, "transition1.2") and not has(
        late, "stage1.0.fuse_layers.0.2"
    )  # made where it always is, and waits
    assert has(never, "stage1.0.fuse_layers.0.2") and not has(
        never, "stage1.0.fuse_layers.2"
    )  # nobody reads it any more
    assert not has(names(2, 2, 2), "transition1.2") and not has(never, "transition2.3")
    assert [has(found, "head_layer.projects.3") for found in (full, late, never)] == [True, True, False]


def test_a_branch_that_waits_is_unchanged() -> None:
    """By layers and by the exchange."""
    x = features(4, 6, 8)
    block = widehrnet.WideBlock(widehrnet.Block(2, 3, 0.25), (4, 6)).double().eval()
    changed = LiteModule([block], (4, 6), 2, "in_place").double().eval()(x)
    assert len(changed) == 3 and changed[2] is x[2]


@pytest.mark.parametrize(("how", "steps"), [("in_place", 2), ("sum", 1)])
def test_statistics_of_what_runs_twice(how: Any, steps: int) -> None:
    """In training, BatchNorm on the way down from branch 0 moves at every call."""
    module = LiteModule([], (4, 6), 2, how).double()
    module(features(4, 6))
    assert int(module.fuse_layers[1][0][0][1].num_batches_tracked) == steps
    assert int(module.fuse_layers[0][1][1].num_batches_tracked) == 1


def test_spaces() -> None:
    """What was published lies inside, and the published reduction of 8 is a share of 0.125 of 60, 140 and 300 channels."""
    for arch in lite_hrnet.published().values():
        assert lite_hrnet.SPACE.why_not(arch) is None
    assert lite_hrnet.SPACE.kinds == ("resolution", "branches", "depth", "kernel", "squeeze")
    backbone = lite_hrnet.build(lite_hrnet.published()["litehrnet_18_coco_256x192"]).backbone
    blocks = [stage[0].layers[0] for stage in (backbone.stage0, backbone.stage1, backbone.stage2)]
    assert [block.cross_resolution_weighting.conv1.conv.out_channels for block in blocks] == [7, 17, 37]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": [250, 192]}, r"resolution\[0\] is 250, it has to be a multiple of 32"),
        ({"stem": 33}, "stem is 33, it has to be even"),
        ({"widths": [40, 81, 160, 320]}, r"widths\[1\] is 81, it has to be even"),
        ({"widths": [40, 80]}, "number of widths is 2, it has to be 4"),
        ({"stages": []}, "number of stages is 0"),
        ({"stages": [{"modules": []}] * 3}, r"number of stages\[0\].modules is 0"),
        ({"stages": [{"modules": [{"blocks": []}]}] * 3}, r"number of stages\[0\].modules\[0\].blocks is 0"),
        (
            {"stages": [{"modules": [{"blocks": [{"kernel": 4, "squeeze": 0.125}]}]}] * 3},
            "kernel is 4, it has to be odd",
        ),
        (
            {"stages": [{"modules": [{"blocks": [{"kernel": 3, "squeeze": 8}]}]}] * 3},
            "squeeze is 8.0, it has to be a share",
        ),
        ({"stages": [{"branches": 3, "modules": []}] * 3}, r"stages\[0\].branches is 3, it has to be from 1 to 2"),
        ({"stages": [{"branches": 0, "modules": []}] * 3}, r"stages\[0\].branches is 0, it has to be from 1 to 2"),
        ({"exchange": "max"}, "exchange is 'max', it has to be one of"),
    ],
)
def test_wrong_json(change: dict[str, Any], message: str) -> None:
    """One line that names the place and what is needed there."""
    data = lite_hrnet.to_json(lite_hrnet.published()["litehrnet_18_coco_256x192"]) | change
    with pytest.raises(ArchitectureError, match=message):
        lite_hrnet.from_json(data)
