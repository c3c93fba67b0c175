"""HRNet and HRNetV2p: what is theirs beside the golden records and the contracts of every family."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from search_spaces import ArchitectureError, hrnet, hrnetv2p


@pytest.mark.parametrize("width", [18, 32, 48])
def test_the_papers_networks_are_in_the_space(width: int) -> None:
    """W18, W32 and W48 of four blocks and 1, 4 and 3 modules."""
    arch = hrnet.HRNetPose((256, 192), hrnet.backbone(width), "mmpose")
    assert hrnet.SPACE.why_not(arch) is None


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
    """A stage has one branch more than the one before; a pyramid of five levels needs 64 pixels."""
    data = hrnet.to_json(hrnet.SMALL.smallest)
    data["backbone"]["stages"][1]["blocks"] = [1, 1]
    with pytest.raises(ArchitectureError, match=r"backbone.stages\[1\].blocks has 2 entries, it has to have 3"):
        hrnet.from_json(data)
    data = hrnetv2p.to_json(hrnetv2p.SMALL.smallest) | {"resolution": [64, 32]}
    with pytest.raises(ArchitectureError, match="resolution has 32, it has to be a multiple of 32 from 64 pixels on"):
        hrnetv2p.from_json(data)
