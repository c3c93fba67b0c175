"""Detectors: golden records of the original code, checkpoints old and new, published cost, and what a second stage asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import search_spaces
from search_spaces import ArchitectureError, cascade_rcnn, faster_rcnn, fcos
from search_spaces.detector import FixedBoxes
from supernet import UserError, load_checkpoint
from supernet.cost.macs import count
from supernet.sharing.meta import meta_network
from tests import reference

FAMILIES = (fcos, faster_rcnn, cascade_rcnn)
RECORDS = [
    "fcos_hrnetv2p_w18_gn-head_4x4_1x_coco",
    "htc_hrnetv2p_w18_20e_coco",
    "mask_rcnn_hrnetv2p_w18_1x_coco",
    "faster_rcnn_hrnetv2p_w18_1x_coco",
    "cascade_rcnn_hrnetv2p_w18_20e_coco",
    "cascade_mask_rcnn_hrnetv2p_w18_20e_coco",
]
#: What the others compute is in HTC, but for boxes of each class and mask heads that do not read one another.
REST = [pytest.param(name, marks=pytest.mark.slow) for name in RECORDS[2:]]


class OfBoxes(nn.Module):
    """A detector as a network of images, with the boxes of a record."""

    def __init__(self, network: Any, rois: list[list[float]]) -> None:
        super().__init__()
        self.network, self.rois = network, rois

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.network.outputs(images, torch.tensor(self.rois, device=images.device)).values())


def golden(name: str) -> dict[str, Any]:
    content: dict[str, Any] = reference.load_json(f"detection/{name}")
    return content


def on_meta(name: str) -> Any:
    family, entry = search_spaces.find_published(name)
    return meta_network(family.build, entry.arch)


@pytest.mark.parametrize("name", RECORDS)
def test_names_parameters_and_macs_are_the_originals(name: str) -> None:
    record, network = golden(name), on_meta(name)
    assert [[key, list(value.shape)] for key, value in network.state_dict().items()] == record["keys"]
    assert sum(parameter.numel() for parameter in network.parameters()) == record["params"]["total"]
    layers = count(OfBoxes(network, record["rois"]), tuple(record["input_shape"])).per_layer
    for part, macs in record["macs"].items():
        assert sum(value for key, value in layers.items() if key.startswith(f"network.{part}.")) == macs, part
    assert sum(layers.values()) == sum(record["macs"].values())


@pytest.mark.parametrize("name", [*RECORDS[:2], *REST])
def test_outputs_are_the_originals(name: str) -> None:
    """Within 1e-9 of the largest output, in float64, through the checkpoint import."""
    record, network = golden(name), search_spaces.published(name)
    load_checkpoint(network, {"state_dict": reference.weights(record), "meta": {}})
    with torch.inference_mode():
        outputs = network.double().outputs(reference.image(record), torch.tensor(record["rois"]).double())  # type: ignore[operator]
    assert list(outputs) == [entry["name"] for entry in record["outputs_float64"]]
    assert [list(value.shape) for value in outputs.values()] == [entry["shape"] for entry in record["outputs_float64"]]
    assert reference.worst(list(outputs.values()), record) <= 1e-9


@pytest.mark.parametrize(
    ("detector", "parameters"),
    [
        ("faster_rcnn_hrnetv2p_w{}_1x", (27_482_676, 47_279_712, 63_526_112)),
        ("mask_rcnn_hrnetv2p_w{}_2x", (30_125_956, 49_922_992, 66_169_392)),
        ("cascade_rcnn_hrnetv2p_w{}_20e", (55_124_386, 74_921_422, 91_167_822)),
        ("cascade_mask_rcnn_hrnetv2p_w{}_20e", (63_054_226, 82_851_262, 99_097_662)),
        ("htc_hrnetv2p_w{}_20e", (65_987_913, 85_784_949, 102_031_349)),
        ("fcos_hrnetv2p_w{}_gn-head_mstrain_640-800_4x4_2x", (17_500_654, 37_297_690, 53_544_090)),
    ],
)
def test_every_width(detector: str, parameters: tuple[int, ...]) -> None:
    """Parameters of W18, W32 and W40 as mmdetection counts them; each is a point of its family's space."""
    for width, expected in zip((18, 32, 40), parameters, strict=True):
        name = f"{detector.format(width)}_coco"
        assert sum(parameter.numel() for parameter in on_meta(name).parameters()) == expected
        family, entry = search_spaces.find_published(name)
        assert family.SPACES["published"].why_not(entry.arch) is None


@pytest.mark.parametrize(("width", "gflops"), [(18, 159.1), (32, 245.3), (40, 314.9)])
def test_published_cost(width: int, gflops: float) -> None:
    """HRNet's page: convolutions and linear layers / 2^30 at 800×1216 with 500 boxes; within 0.1 %."""
    arch = replace(faster_rcnn.published()[f"faster_rcnn_hrnetv2p_w{width}_1x_coco"], proposals=500)
    macs = count(meta_network(faster_rcnn.build, arch), (1, 3, 800, 1216)).macs
    assert macs / 2**30 == pytest.approx(gflops, rel=1e-3)


# ----------------------------------------------------------------------------------------------------------- checkpoints


def small(family: Any, **changes: Any) -> Any:
    return family.build(replace(family.SMALL.largest, **changes), classes=3).eval()


def as_1x(weights: Mapping[str, Tensor], classes: int) -> dict[str, Tensor]:
    """What mmdetection 1.x would have saved: names without ``roi_head.``, the background first, and boxes and masks of it."""
    old = {}
    for key, value in weights.items():
        if "fc_cls" in key:
            value = torch.cat([value[-1:], value[:-1]])
        if "fc_reg" in key and len(value) == 4 * classes:
            value = torch.cat([torch.full_like(value[:4], 7), value])
        if "mask_head" in key and "conv_logits" in key:
            value = torch.cat([torch.full_like(value[:1], 7), value])
        old[key.removeprefix("roi_head.")] = value
    return old


@pytest.mark.parametrize("family", [faster_rcnn, cascade_rcnn])
def test_checkpoints_of_1x(family: Any) -> None:
    """The order of classes and the names change, nothing else; the same file of 2.x is loaded as it is."""
    network, other = small(family), small(family)
    saved = {key: value.clone() for key, value in network.state_dict().items()}
    for file in (as_1x(saved, 3), saved):
        for parameter in other.parameters():
            nn.init.zeros_(parameter)
        load_checkpoint(other, {"meta": {"mmdet_version": "1"}, "state_dict": file})
        assert all(torch.equal(value, saved[key]) for key, value in other.state_dict().items())


def test_checkpoints_of_an_old_fcos() -> None:
    network = small(fcos)
    saved = {key: value.clone() for key, value in network.state_dict().items()}
    old = {key.replace("bbox_head.conv_", "bbox_head.fcos_"): value for key, value in saved.items()}
    assert set(old) != set(saved)
    other = small(fcos)
    load_checkpoint(other, {"state_dict": old})
    assert all(torch.equal(value, saved[key]) for key, value in other.state_dict().items())


def test_a_checkpoint_of_other_classes_is_refused() -> None:
    network = small(faster_rcnn)
    weights = faster_rcnn.build(faster_rcnn.SMALL.largest, classes=4).state_dict()
    with pytest.raises(UserError, match=r"roi_head.bbox_head.fc_cls.weight is \(5, 96\) there, \(4, 96\) here"):
        load_checkpoint(network, weights)


# ---------------------------------------------------------------------------------------------------------- two stages


class Answers:
    """A look that notes what it is asked, and what is known by then."""

    def __init__(self, boxes: Mapping[str, Tensor]) -> None:
        self.boxes, self.asked = boxes, {}  # type: ignore[var-annotated]

    def __call__(self, stage: str, outputs: Mapping[str, Tensor]) -> Tensor:
        self.asked[stage] = list(outputs)
        return self.boxes[stage]


def boxes(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner, size = (torch.rand(count, 2, generator=generator) * scale for scale in (64, 60))
    return torch.cat([torch.zeros(count, 1), corner, corner + size + 4], 1)


def test_a_stage_asks_for_its_boxes_when_what_it_needs_is_known() -> None:
    """All box stages one after another, then the mask stages; numbers of boxes as they are answered."""
    network, images = small(cascade_rcnn, semantic=False), torch.randn(1, 3, 128, 128)
    look = Answers({f"{kind}.{stage}": boxes(2 + stage, stage) for kind in ("box", "mask") for stage in range(3)})
    with torch.inference_mode():
        found = dict(zip(network.output_names(), network((images, look)), strict=True))
    assert list(look.asked) == ["box.0", "box.1", "box.2", "mask.0", "mask.1", "mask.2"]
    assert "rpn_reg.4" in look.asked["box.0"] and not any(name.startswith("roi") for name in look.asked["box.0"])
    assert look.asked["box.2"][-1] == "roi.1.bbox_pred" and look.asked["mask.1"][-1] == "roi.0.mask_logits"
    assert [len(found[f"roi.{stage}.cls_score"]) for stage in range(3)] == [2, 3, 4]
    assert [tuple(found[f"roi.{stage}.mask_logits"].shape) for stage in range(3)] == [(n, 3, 28, 28) for n in (2, 3, 4)]


def test_information_flows_from_mask_head_to_mask_head_on_each_heads_own_boxes() -> None:
    """The same whether all heads get one tensor of boxes, on which the chain goes on, or equal ones, where it restarts."""
    network, images, rois = small(cascade_rcnn, semantic=True), torch.randn(1, 3, 128, 128), boxes(3, 0)
    counted: list[int] = []
    network.roi_head.mask_head[0].convs[0].register_forward_hook(lambda *_: counted.append(1))
    with torch.inference_mode():
        once = network((images, lambda stage, outputs: rois))
        assert len(counted) == 1
        anew = network((images, lambda stage, outputs: rois.clone()))
        assert len(counted) == 1 + 3
    assert all(torch.equal(a, b) for a, b in zip(once, anew, strict=True))
    plain = small(cascade_rcnn, semantic=True, masks=(replace(cascade_rcnn.SMALL.largest.masks[0], flow=False),))
    plain.load_state_dict(network.state_dict(), strict=False)
    with torch.inference_mode():
        different = [torch.equal(a, b) for a, b in zip(once, plain((images, lambda *_: rois)), strict=True)]
    assert different == [True] * (len(once) - 2) + [False] * 2


@pytest.mark.parametrize("family", [faster_rcnn, cascade_rcnn])
def test_images_alone_are_an_input(family: Any) -> None:
    """With fixed boxes, as many for each image as the architecture says; outputs by name are the same ones."""
    network, images = small(family, proposals=20), torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        found, named = network(images), network.outputs(images)
    assert list(named)[:5] == [f"neck.{level}" for level in range(5)]
    assert [name for name in named if not name.startswith(("neck", "semantic_e"))] == network.output_names()
    assert all(torch.equal(a, named[name]) for name, a in zip(network.output_names(), found, strict=True))
    assert len(found[-1]) == 2 * 20
    look = FixedBoxes(images, 120)
    assert [len(look(stage, {})) for stage in ("box.0", "mask.0")] == [2 * 120, 2 * 100]
    rois = FixedBoxes(images, 20)("mask.1", {})
    assert rois[:, 0].tolist() == [0.0] * 20 + [1.0] * 20 and torch.equal(rois[:20, 1:], rois[20:, 1:])


def test_boxes_of_several_images_say_which_one() -> None:
    with pytest.raises(ValueError, match="boxes of 2 images need the image's index first"):
        small(faster_rcnn).outputs(torch.randn(2, 3, 64, 64), torch.zeros(3, 4))


def test_no_proposals_are_no_problem() -> None:
    network = small(cascade_rcnn)
    outputs = network.outputs(torch.randn(1, 3, 64, 64), torch.zeros(0, 5))
    assert outputs["roi.2.mask_logits"].shape == (0, 3, 28, 28)
    sum(value.sum() for value in outputs.values()).backward()


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        (fcos, {"tower_width": 20}, "tower_width is 20, it has to be a multiple of 8"),
        (fcos, {"resolution": [64, 32]}, "resolution has 32, it has to be a multiple of 32 from 64 pixels on"),
        (faster_rcnn, {"proposals": 0}, "proposals is 0, it has to be at least 1"),
        (faster_rcnn, {"masks": [{"width": 8, "convolutions": 1}] * 2}, "masks has 2 entries, it has to have 0 or 1"),
        (faster_rcnn, {"masks": [{"width": 0, "convolutions": 1}]}, r"masks\[0\].width is 0, it has to be at least 1"),
        (cascade_rcnn, {"stages": 4}, "stages is 4, it has to be at most 3"),
        (cascade_rcnn, {"stages": 0}, "stages is 0, it has to be at least 1"),
        (cascade_rcnn, {"semantic": 1}, "semantic is 1, it has to be true or false"),
    ],
)
def test_wrong_json(family: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        family.from_json({**family.to_json(family.SMALL.smallest), **change})
