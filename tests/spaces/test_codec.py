"""Architectures as JSON, and the family that CONTRIBUTING shows."""

from __future__ import annotations

import json
import re
import sys
import types
from typing import Any

import pytest
import torch

import search_spaces
from search_spaces import ArchitectureError, hrnet, srpose
from supernet import Supernet
from tests.paths import ROOT

ARCH = hrnet.PUBLISHED["hrnet_w32_coco_256x192_mmpose"].arch


def changed(path: str, value: Any) -> Any:
    """The architecture as JSON with one entry replaced, or removed where ``value`` is ``...``."""
    data = json.loads(json.dumps(hrnet.to_json(ARCH)))
    node, *keys = data, *path.split(".")
    for key in keys[:-1]:
        node = node[int(key) if key.isdigit() else key]
    if value is ...:
        del node[keys[-1]]
    else:
        node[int(keys[-1]) if keys[-1].isdigit() else keys[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("resolution", [256], "resolution has 1 entries, it has to have 2"),
        ("resolution.0", "tall", r"resolution\[0\] is 'tall', it has to be a whole number"),
        ("resolution.0", -1, r"resolution\[0\] is -1, it has to be a whole number"),
        ("resolution.1", True, r"resolution\[1\] is True, it has to be a whole number"),
        ("layout", "flat", "layout is 'flat', it has to be one of"),
        ("backbone", 3, "backbone is 3, it has to be an object with the fields of HRNet"),
        ("backbone.width", ..., "backbone lacks 'width'; HRNet has"),
        ("backbone.colour", 1, "backbone has the unknown field 'colour'; HRNet has"),
        ("backbone.type", "ResNet", "backbone is of type 'ResNet', it has to be HRNet"),
        ("backbone.stages", {}, "backbone.stages is {}, it has to be a list"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(path: str, value: Any, message: str) -> None:
    """One line each."""
    with pytest.raises(ArchitectureError, match=message) as caught:
        hrnet.from_json(changed(path, value))
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 300


def test_one_of_several_types_is_found_by_its_name() -> None:
    """And another name is refused with those there are."""
    data = json.loads(json.dumps(srpose.to_json(srpose.PUBLISHED["srpose_res50_coco_256x192"].arch)))
    data["head"]["type"] = "Unknown"
    with pytest.raises(ArchitectureError, match="head is of type 'Unknown', it has to be one of SRPoseHead"):
        srpose.from_json(data)


def test_every_published_architecture_comes_back() -> None:
    """Through text."""
    for family in search_spaces.FAMILIES.values():
        for arch in family.published().values():
            assert family.from_json(json.loads(json.dumps(family.to_json(arch)))) == arch


def test_the_family_that_contributing_shows() -> None:
    """It is a whole one: its code is run, built, shared and written."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    source = re.findall(r"```python\n(.*?)```", text.split("## Add a family in one file")[1], re.DOTALL)[0]
    module = types.ModuleType("tiny")
    sys.modules["tiny"] = module
    try:
        exec(source, module.__dict__)
        family: Any = module
        largest = family.SPACES["small"].largest
        assert family.from_json(json.loads(json.dumps(family.to_json(largest)))) == largest
        supernet, images = Supernet(family.build, family.SPACE).eval(), torch.zeros(1, 3, 64, 48)
        subnet = supernet.extract(family.SPACE.smallest)
        assert torch.equal(supernet(images, family.SPACE.smallest), subnet(images))
        assert family.published() == {}
    finally:
        del sys.modules["tiny"]
