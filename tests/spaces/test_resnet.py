"""ResNet's space, its features, and files that are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from search_spaces import ArchitectureError, resnet
from search_spaces.layers.heads import SimpleHead


def test_the_published_space_contains_resnet50() -> None:
    assert resnet.SPACE.size == 524_880
    assert resnet.SPACE.kinds == ("resolution", "width", "blocks", "deconv_width")
    for arch in resnet.published().values():
        assert resnet.SPACE.why_not(arch) is None
    deeper = resnet.ResNetPose((256, 192), resnet.resnet((3, 4, 23, 3)), SimpleHead((256, 256, 256)))
    assert "blocks 23 is not one of" in str(resnet.SPACE.why_not(deeper))


@pytest.mark.parametrize(("multiscale", "sizes"), [(True, [8, 4, 2, 1]), (False, [1])])
def test_features(multiscale: bool, sizes: list[int]) -> None:
    """All resolutions or the last one, with the widths that the backbone states."""
    backbone = resnet.SMALL.smallest.backbone.network(multiscale)
    features = backbone(torch.zeros(2, 3, 32, 32))
    assert [tuple(x.shape[1:]) for x in features] == [
        (width, size, size) for width, size in zip(backbone.widths, sizes, strict=True)
    ]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("resolution", [250, 192], "resolution is .250, 192., it has to be two multiples of 32"),
        ("stages", [{"width": 64, "blocks": 3}], "backbone.stages has 1 entries, it has to have 4"),
        ("stages", [{"width": 64, "blocks": 0}] * 4, "backbone.stages.0. has width 64 and 0 blocks"),
        ("stem", 0, "backbone.stem is 0"),
        ("deconv_width", [0], "head.deconv_width is .0,."),
    ],
)
def test_wrong_file(place: str, value: Any, message: str) -> None:
    data = resnet.to_json(resnet.SPACE.smallest)
    next(part for part in (data, data["backbone"], data["head"]) if place in part)[place] = value
    with pytest.raises(ArchitectureError, match=message):
        resnet.from_json(data)
