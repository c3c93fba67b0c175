"""Lite-HRNet, and what it shares with WideHRNet: the shuffle, the exchange in place, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from search_spaces import ArchitectureError, lite_hrnet
from search_spaces.lite import LiteModule, interleave


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
    module = LiteModule([], (4, 6, 8), "in_place").double().eval()
    f = module.fuse_layers
    total = 2 * x[0] + f[0][1](x[1]) + f[0][2](x[2])
    expected = [total, 2 * f[1][0](total) + x[1] + f[1][2](x[2]), 2 * f[2][0](total) + f[2][1](x[1]) + x[2]]
    for mine, theirs in zip(module(x), expected, strict=True):
        torch.testing.assert_close(mine, theirs.relu(), rtol=1e-12, atol=1e-12)

    plain = LiteModule([], (4, 6, 8), "sum").double().eval()
    plain.load_state_dict(module.state_dict())
    torch.testing.assert_close(plain(x)[1], (f[1][0](x[0]) + x[1] + f[1][2](x[2])).relu(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("how", "steps"), [("in_place", 2), ("sum", 1)])
def test_statistics_of_what_runs_twice(how: Any, steps: int) -> None:
    """In training, BatchNorm on the way down from branch 0 moves at every call."""
    module = LiteModule([], (4, 6), how).double()
    module(features(4, 6))
    assert int(module.fuse_layers[1][0][0][1].num_batches_tracked) == steps
    assert int(module.fuse_layers[0][1][1].num_batches_tracked) == 1


def test_spaces() -> None:
    """What was published lies inside, and the published reduction of 8 is a share of 0.125 of 60, 140 and 300 channels."""
    for arch in lite_hrnet.published().values():
        assert lite_hrnet.SPACE.why_not(arch) is None
    assert lite_hrnet.SPACE.kinds == ("resolution", "depth", "kernel", "squeeze")
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
        ({"exchange": "max"}, "exchange is 'max', it has to be one of"),
    ],
)
def test_wrong_json(change: dict[str, Any], message: str) -> None:
    """One line that names the place and what is needed there."""
    data = lite_hrnet.to_json(lite_hrnet.published()["litehrnet_18_coco_256x192"]) | change
    with pytest.raises(ArchitectureError, match=message):
        lite_hrnet.from_json(data)
