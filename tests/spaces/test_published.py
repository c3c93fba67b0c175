"""Every published network: exact names, parameters and multiply-accumulates, and outputs through the checkpoint import."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import search_spaces
from search_spaces import cascade_rcnn, faster_rcnn, fcos
from supernet import load_checkpoint
from supernet.cost.conventions import CONVENTIONS
from supernet.cost.macs import count, operations
from tests import reference

CONFIGS: dict[str, Any] = reference.load_json("configs") | reference.load_json("rtmpose/facts/configs")
RECORDS = reference.networks()
SUPERNETS = [name for name in CONFIGS if name.startswith("litepose_supernet")]


def outputs_of(network: nn.Module, golden: dict[str, Any]) -> list[Tensor]:
    """What the record lists: the outputs of evaluation, then those of a head in training mode where it has them."""
    images = reference.image(golden)
    with torch.inference_mode():
        out = network(images)
        found = list(out) if isinstance(out, list) else [out]
        if any(entry["name"].startswith("train.") for entry in golden["outputs"]):
            network.get_submodule("keypoint_head").training = True
            found += network(images)
            network.eval()
    return found


def test_every_name_of_the_papers_is_there() -> None:
    """All that have a configuration in the records, and detectors (test_detectors.py)."""
    detectors = {name for family in (fcos, faster_rcnn, cascade_rcnn) for name in family.PUBLISHED}
    assert len(detectors) == 29
    assert sorted(set(search_spaces.list_published()) - detectors) == sorted(CONFIGS)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    """One line."""
    with pytest.raises(search_spaces.ArchitectureError, match="the nearest name is litepose_XS_coco"):
        search_spaces.published("litepose_XS_cocoo")


@pytest.mark.parametrize("name", RECORDS)
def test_golden_record(name: str) -> None:
    """Layout, parameters and MACs exact; outputs within 1e-6 of max |out| in float64."""
    golden = reference.record(name)
    network = search_spaces.published(name)
    assert not network.training
    cost = count(network, tuple(golden["input_shape"]))
    if name not in SUPERNETS:  # there the record has the supernet's layout, and counts its kernel transforms
        layout = [[key, list(value.shape)] for key, value in network.state_dict().items()]
        assert layout == golden["keys"]
        assert cost.params == golden["params"]["total"]
        assert cost.macs == golden["macs"]["ours"]["total"]
    kept = set(golden["integer_buffers_kept_as_constructed"])
    own = network.state_dict()
    weights = {key: own[key] if key in kept else value for key, value in reference.weights(golden).items()}
    load_checkpoint(network, {"state_dict": {f"module.{key}": value for key, value in weights.items()}})
    assert reference.worst(outputs_of(network.double(), golden), golden) <= 1e-6


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in RECORDS])
def test_shapes_of_outputs(name: str) -> None:
    """Networks without a record here: outputs of the published sizes, and all joints."""
    network = search_spaces.published(name).to("meta")
    shape = CONFIGS[name]["input_shape"]
    _, entry = search_spaces.find_published(name)
    assert [*shape[2:]] == [*entry.arch.input_hw]
    with torch.no_grad():
        out = network(torch.empty(shape, device="meta"))
    sizes = [list(tensor.shape) for tensor in (out if isinstance(out, list) else [out])]
    assert sizes == [size for output, size in CONFIGS[name]["outputs"] if not output.startswith("train.")]


@pytest.mark.parametrize("name", list(CONFIGS))
def test_published_cost_under_the_papers_own_convention(name: str) -> None:
    """Within 1.5 % of the figure, wherever it can be reproduced."""
    family, entry = search_spaces.find_published(name)
    if entry.gmacs is None:
        assert entry.convention is None
        return
    assert entry.convention is not None
    network = family.build(entry.arch, entry.joints, **entry.options).to("meta")
    figure = CONVENTIONS[entry.convention](operations(network, (1, 3, *entry.arch.input_hw)))
    near = abs(figure / entry.gmacs - 1) <= 0.015
    assert near != bool(entry.irreproducible), f"{figure:.4f} for {entry.gmacs}: {entry.irreproducible or 'not near'}"
