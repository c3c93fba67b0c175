"""RTMPose and SimCC: golden records, what their spaces contain, weights of one input size, imported checkpoints, wrong files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import search_spaces
from search_spaces import ArchitectureError, rtmpose, simcc
from supernet import Supernet, load_checkpoint
from supernet.cost.conventions import CONVENTIONS
from supernet.cost.macs import count, operations
from tests import reference

RECORDS = (
    "rtmpose_t_coco_256x192",
    "rtmpose_m_coco_256x192",
    "rtmpose_m_crowdpose_256x192",
    "simcc_res50_coco_256x192",
)
TOLERANCE = 1e-9  # of the largest output; the attention of the first filling is 1e-5 of it


def outputs(network: nn.Module, golden: dict[str, Any]) -> list[Tensor]:
    with torch.inference_mode():
        found: list[Tensor] = network(reference.image(golden))
    return found


@pytest.mark.parametrize("name", RECORDS)
def test_golden_record(name: str, tmp_path: Path) -> None:
    """Names in order, parameters, MACs, mmengine's count; outputs of both fillings, read from mmpose's kind of file."""
    golden = reference.load_json(f"rtmpose/{name}")
    network = search_spaces.published(name)
    assert [[key, list(value.shape)] for key, value in network.state_dict().items()] == golden["keys"]
    shape = tuple(golden["input_shape"])
    cost = count(network, shape)
    assert (cost.params, cost.macs) == (golden["params"]["total"], golden["macs"]["ours"]["total"])
    counted = CONVENTIONS["mmengine"](operations(network, shape))
    assert round(counted * 1e9) == golden["macs"]["mmengine_get_model_complexity_info"]

    file = tmp_path / "rtmpose.pth"  # as published: the format before torch 1.6, with more than tensors in it
    content = {"meta": {"dataset_meta": {"sigmas": np.ones(17)}}, "state_dict": reference.weights(golden)}
    torch.save(content, file, _use_new_zipfile_serialization=False)
    load_checkpoint(network, file)
    assert reference.worst(outputs(network.double(), golden), golden) <= TOLERANCE
    if "live_head" in golden:
        network.load_state_dict(reference.live_head(golden))
        assert reference.worst(outputs(network, golden), golden["live_head"]) <= TOLERANCE


@pytest.mark.parametrize("name", [name for name, entry in rtmpose.PUBLISHED.items() if entry.gmacs])
def test_published_cost(name: str) -> None:
    """To half a percent, under the counter of mmengine."""
    entry = rtmpose.PUBLISHED[name]
    assert entry.gmacs is not None and entry.params_m is not None
    network = rtmpose.build(entry.arch).to("meta")
    counted = CONVENTIONS["mmengine"](operations(network, (1, 3, *entry.arch.input_hw)))
    assert abs(counted / entry.gmacs - 1) <= 0.005
    assert abs(sum(parameter.numel() for parameter in network.parameters()) / 1e6 - entry.params_m) <= 0.006


def test_the_published_spaces_contain_the_published_networks() -> None:
    for name, arch in rtmpose.published().items():
        why = rtmpose.SPACE.why_not(arch)
        assert why is None or (arch.resolution == (256, 256) and "resolution" in why), name
    for name, entry in simcc.PUBLISHED.items():
        space = simcc.SPACE if name.startswith("simcc_res50_coco") else simcc.MOBILE
        assert "mpii" in name or space.contains(entry.arch), name
    sides = {side for gene in rtmpose.SMALL.genes[:1] for size in gene.options for side in size}
    assert min(sides) == 64 and max(sides) == 192
    assert all(height <= width for height, width in rtmpose.SMALL.genes[0].options)


def test_weights_of_each_input_size_are_its_own() -> None:
    """A supernet has a set for each size; an extracted network has one, under the names of mmpose's checkpoints."""
    space = rtmpose.SMALL.restrict({"resolution": [(64, 64), (64, 96), (128, 128)]}, rest="largest")
    supernet = Supernet(rtmpose.build, space)
    own = [name for name, _ in supernet.network.named_children()]
    head = [name for name, _ in supernet.network.get_submodule("head").named_children()]
    assert own == ["backbone", "head"]
    assert head[:5] == ["final_layer", "mlp", "gau", "cls_x", "cls_y"]  # those of the largest size
    assert head[5:] == [f"{name}_{size}" for size in ("64x64", "64x96") for name in ("mlp", "cls_x", "cls_y")]
    landscape, square = (
        next(arch for arch in map(space.decode, space.all_codes()) if arch.resolution == size)
        for size in ((64, 96), (64, 64))
    )
    network = supernet.extract(landscape)
    assert list(network.state_dict()) == list(rtmpose.build(landscape).state_dict())
    before = supernet.extract(square).state_dict()
    with torch.no_grad():
        for name, parameter in supernet.network.named_parameters():
            if "64x96" in name:
                parameter.zero_()
    after = supernet.extract(square).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not supernet.extract(landscape).get_parameter("head.cls_x.weight").any()


@pytest.mark.parametrize("family", [rtmpose, simcc])
def test_imported_weights_come_back_exactly(family: Any) -> None:
    """An imported network, put into a supernet and extracted again, is what it was."""
    space = family.SMALL
    arch = space.smallest
    network = family.build(arch).eval()
    supernet = Supernet(family.build, space).eval()
    supernet.insert(arch, network)
    found = supernet.extract(arch)
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in network.state_dict().items())
    images = torch.randn(1, 3, *arch.input_hw, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert all(torch.equal(*pair) for pair in zip(network(images), supernet(images, arch), strict=True))


def test_an_image_of_another_size_is_refused() -> None:
    """Also one of as many pixels, whose maps would be read in another order."""
    network = rtmpose.build(rtmpose.SMALL.restrict({"resolution": [(64, 96)]}).smallest)
    with pytest.raises(RuntimeError, match=r"images are 96x64 \(HxW\), the network takes 64x96 only"):
        network(torch.zeros(1, 3, 96, 64))


@pytest.mark.parametrize(
    ("family", "place", "value", "message"),
    [
        (rtmpose, "resolution", [192, 144], "resolution is .192, 144., it has to be two multiples of 32"),
        (rtmpose, "stem", 15, "backbone.stem is 15, it has to be even"),
        (rtmpose, "blocks", 0, "backbone.stages.0. has width 48 and 0 blocks"),
        (rtmpose, "ratio", 1.5, "backbone.stages.0..ratio is 1.5"),
        (rtmpose, "kernel", 4, "backbone.stages.0..kernel is 4, it has to be odd"),
        (rtmpose, "attention", 1, "backbone.stages.0..attention is 1, it has to be true or false"),
        (rtmpose, "key", 0, "head.key is 0"),
        (simcc, "resolution", [0, 64], "two multiples of 32"),
        (simcc, "deconv_width", [0], "head.deconv_width is .0,."),
        (simcc, "stem", 0, "backbone.stem is 0"),
    ],
)
def test_wrong_file(family: Any, place: str, value: Any, message: str) -> None:
    data = family.to_json(family.SPACE.smallest)
    parts = (data, data["backbone"], data["backbone"]["stages"][0], data["head"])
    next(part for part in parts if place in part)[place] = value
    with pytest.raises(ArchitectureError, match=message):
        family.from_json(data)


def test_wrong_mobilenet() -> None:
    data = simcc.to_json(simcc.MOBILE.smallest)
    data["backbone"]["stages"].pop()
    with pytest.raises(ArchitectureError, match="backbone.stages has 6 entries, it has to have 7"):
        simcc.from_json(data)
