"""HRNet and HRNetV2p: what is theirs beside the golden records and the contracts of every family."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch

from search_spaces import ArchitectureError, hrnet, hrnetv2p


def pruned(branches: tuple[int, int, int]) -> hrnet.HRNetPose:
    """A small network of two modules a stage, with so many branches in each stage, and one block in each branch."""
    backbone = hrnet.backbone(8, (2, 2, 2), 1, branches, bottlenecks=1, bottleneck_width=8, stem_width=16)
    return hrnet.HRNetPose((96, 64), backbone, "mmpose")


def test_published_networks_are_in_the_space() -> None:
    """W18, W32 and W48, by their short names, too; the layout of the authors' checkpoints is another name for the same."""
    for name, arch in hrnet.published().items():
        assert hrnet.SPACE.why_not(replace(arch, layout="mmpose")) is None, name
    assert hrnet.published()["hrnet-w32"] == hrnet.PUBLISHED["hrnet_w32_coco_256x192_mmpose"].arch


@pytest.mark.parametrize("branches", list(product((1, 2), (1, 2, 3), (1, 2, 3, 4))))
def test_a_branch_that_is_gone_takes_everything_with_it(branches: tuple[int, int, int]) -> None:
    """No blocks, no exchange, no beginning; what is left has a name of the whole network, and has an effect."""
    network, whole = hrnet.build(pruned(branches)), hrnet.build(pruned((2, 3, 4)))
    assert set(network.state_dict()) <= set(whole.state_dict())
    for stage, count in enumerate(branches, 2):
        for module in range(2):
            place = network.get_submodule(f"backbone.stage{stage}.{module}")
            receiving = [len(row) for row in place.fuse_layers]
            assert len(place.branches) == count
            assert receiving == [count] * (count if module == 0 else min(count, max(branches[stage - 1 :], default=1)))
    begun = [sum(f"transition{b}.{b}.0.0.weight" in key for key in network.state_dict()) for b in (1, 2, 3)]
    assert begun == [max(branches[b - 1 :]) > b for b in (1, 2, 3)]
    network(torch.randn(2, 3, 64, 32)).square().sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_a_resting_branch_passes_unchanged() -> None:
    """Stage 3 with two branches and stage 4 with four: the third begins before stage 3 and is not touched there."""
    trunk = hrnet.build(pruned((2, 2, 4))).get_submodule("backbone").eval()
    seen: dict[str, list[torch.Tensor]] = {}
    trunk.get_submodule("stage3").register_forward_hook(lambda _, inputs, out: seen.update(before=inputs[0], after=out))
    with torch.inference_mode():
        trunk(torch.randn(1, 3, 64, 64))
    assert [x.shape[-1] for x in seen["after"]] == [16, 8, 4]
    assert seen["after"][2] is seen["before"][2]
    assert not torch.equal(seen["after"][1], seen["before"][1])


def test_heads_of_all_resolutions_need_all_branches() -> None:
    """One line, at the file and at the network."""
    message = r"backbone.stages\[2\].blocks has 3 entries, it has to have 4: the head reads all four resolutions"
    arch = pruned((2, 3, 3))
    data = hrnetv2p.to_json(replace(hrnetv2p.SMALL.smallest, backbone=arch.backbone))
    with pytest.raises(ArchitectureError, match=message):
        hrnetv2p.from_json(data)
    with pytest.raises(ArchitectureError, match=message):
        arch.backbone.network(multiscale=True)


def test_layouts_name_one_function() -> None:
    """Both checkpoint layouts hold the same tensors in the same order, and compute the same."""
    arch = hrnet.SMALL.smallest
    mmpose = hrnet.build(arch).eval()
    original = hrnet.build(replace(arch, layout="original")).eval()
    assert [key.rsplit(".", 1)[0] for key in original.state_dict()][-1] == "final_layer"
    original.load_state_dict(dict(zip(original.state_dict(), mmpose.state_dict().values(), strict=True)))
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(mmpose(images), original(images))


@pytest.mark.parametrize("detector", ["faster_rcnn", "fcos"])
def test_pyramid(detector: str) -> None:
    """Five levels, each half of the one before; FCOS starts at an eighth. All Faster R-CNN variants are in the space."""
    arch = replace(hrnetv2p.SMALL.smallest, neck_stride=hrnetv2p.PUBLISHED[f"hrnetv2p_w18_{detector}"].arch.neck_stride)
    with torch.inference_mode():
        levels = hrnetv2p.build(arch).eval()(torch.randn(1, 3, 128, 128))
    first = 4 * arch.neck_stride
    assert [level.shape[-1] for level in levels] == [128 // (first * 2**level) for level in range(5)]
    inside = [name for name, arch in hrnetv2p.published().items() if hrnetv2p.SPACE.contains(arch)]
    assert inside == [f"hrnetv2p_w{width}_faster_rcnn" for width in (18, 32, 40)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": [250, 192]}, "resolution has 250, it has to be a multiple of 32"),
        ({"layout": "caffe"}, "layout is 'caffe', it has to be one of mmpose, original"),
        ({"backbone": {"width": 0}}, "backbone.width is 0, it has to be at least 1"),
        ({"backbone": {"stages": []}}, r"backbone.stages has 0 entries, it has to have 3"),
        ({"backbone": {"empty_branch": None}}, "backbone.empty_branch is None"),
    ],
)
def test_wrong_json(change: dict[str, Any], message: str) -> None:
    """One line that names the entry."""
    data = hrnet.to_json(hrnet.SMALL.smallest)
    for key, value in change.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) else value
    with pytest.raises(ArchitectureError, match=message):
        hrnet.from_json(data)


def test_wrong_branches() -> None:
    """A stage has a branch, and at most one more than the one before; a pyramid of five levels needs 64 pixels."""
    data = hrnet.to_json(hrnet.SMALL.smallest)
    for blocks in ([], [1] * 4):
        data["backbone"]["stages"][1]["blocks"] = blocks
        message = rf"backbone.stages\[1\].blocks has {len(blocks)} entries, it has to have 1 to 3"
        with pytest.raises(ArchitectureError, match=message):
            hrnet.from_json(data)
    data = hrnetv2p.to_json(hrnetv2p.SMALL.smallest) | {"resolution": [64, 32]}
    with pytest.raises(ArchitectureError, match="resolution has 32, it has to be a multiple of 32 from 64 pixels on"):
        hrnetv2p.from_json(data)
