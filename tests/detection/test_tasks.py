"""Detectors as tasks: small networks with what their second stage looks at, their detections, and their losses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from search_spaces import cascade_rcnn, faster_rcnn, fcos
from supernet import Supernet
from supernet.detection.boxes import iou_matrix
from supernet.detection.decoding import STAGE_STDS, decode_boxes
from supernet.detection.one_stage import detect_fcos, fcos_batch_losses
from supernet.detection.samples import InputImage, Truth, with_index
from supernet.detection.two_stages import SETTINGS, TestLook, TrainingLook

#: The second one is smaller than the batch, and was shrunk by different factors in x and y.
IMAGES = [InputImage((128, 128), (128, 128)), InputImage((90, 100), (96, 128), (0.5, 0.6))]
CLASSES = 3


def images() -> Tensor:
    return torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def truths() -> list[Truth]:
    """Two boxes in the first image, none in the second."""
    boxes = torch.tensor([[10.0, 10, 60, 70], [70, 60, 110, 120]])
    masks = torch.zeros(2, 128, 128)
    masks[0, 10:70, 10:60] = masks[1, 60:120, 70:110] = 1
    return [
        Truth(boxes, torch.tensor([2, 0]), masks),
        Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, 128, 128)),
    ]


def network(family: Any, **changes: Any) -> Any:
    torch.manual_seed(0)
    return family.build(replace(family.SMALL.smallest, **changes), classes=CLASSES).eval()


def cascade() -> tuple[Any, Any]:
    """A small HTC: three stages, masks that flow, the semantic branch."""
    largest = cascade_rcnn.SMALL.largest
    return network(cascade_rcnn, stages=3, masks=largest.masks, semantic=True), SETTINGS["htc"]


def mask_rcnn() -> tuple[Any, Any]:
    return network(faster_rcnn, masks=faster_rcnn.SMALL.largest.masks), SETTINGS["mask_rcnn"]


def run(net: Any, look: Any) -> dict[str, Tensor]:
    return dict(zip(net.output_names(), net((images(), look)), strict=True))


@pytest.mark.parametrize("make", [mask_rcnn, cascade])
def test_what_a_test_looks_at(make: Any) -> None:
    """Proposals, what each stage makes of them, and the detections, in pixels of the input; results in those of the original."""
    net, settings = make()
    look = TestLook(IMAGES, settings, proposals=30)
    asked: dict[str, Tensor] = {}

    def noted(stage: str, outputs: Any) -> Tensor:
        asked[stage] = look(stage, outputs)
        return asked[stage]

    with torch.inference_mode():
        outputs = run(net, noted)
        found, masks = look.detections(outputs), look.masks(outputs)
    for index, image in enumerate(IMAGES):
        proposals = asked["box.0"][asked["box.0"][:, 0] == index][:, 1:]
        assert 0 < len(proposals) <= 30
        assert (proposals >= 0).all() and proposals[:, 2].max() <= image.hw[1] and proposals[:, 3].max() <= image.hw[0]
        inputs = asked["mask.0"][asked["mask.0"][:, 0] == index][:, 1:]
        assert torch.allclose(found[index].boxes, inputs / torch.tensor([*image.scale_xy] * 2))
        assert masks[index].shape == (len(inputs), 28, 28) and 0 < len(inputs) <= 100
        assert found[index].scores.tolist() == sorted(found[index].scores.tolist(), reverse=True)
    assert all(value is asked["mask.0"] for stage, value in asked.items() if stage.startswith("mask"))
    if "box.2" in asked:  # by hand: boxes of the last stage, the mean of all scores
        chosen = asked["box.2"][:, 0] == 1
        mean = torch.stack([outputs[f"roi.{stage}.cls_score"] for stage in range(3)]).mean(0)[chosen]
        by_hand = decode_boxes(
            asked["box.2"][chosen][:, 1:], mean, outputs["roi.2.bbox_pred"][chosen], (90, 100), (0.5, 0.6),
            stds=STAGE_STDS[2], lowest=0.001,
        )  # fmt: skip
        assert torch.equal(by_hand.boxes, found[1].boxes)
        sigmoids = [outputs[f"roi.{stage}.mask_logits"].sigmoid() for stage in range(3)]
        first = torch.stack(sigmoids).mean(0)[0, found[0].labels[0]]
        assert torch.allclose(masks[0][0], first)


@pytest.mark.parametrize("make", [mask_rcnn, cascade])
def test_what_training_looks_at(make: Any) -> None:
    """Samples that begin with ground truth, masks of the positive ones alone; gradients of every weight."""
    net, settings = make()
    look = TrainingLook(IMAGES, truths(), settings, torch.Generator().manual_seed(0))
    outputs = run(net, look)
    first = look.samples[0][0]
    assert torch.equal(first.boxes[:2], truths()[0].boxes) and first.added == 2 and len(first.boxes) <= 512
    assert not len(look.samples[0][1].truth)
    positive = sum(len(each.truth) for each in look.mask_samples[0])
    assert len(outputs["roi.0.mask_logits" if "roi.0.mask_logits" in outputs else "roi.mask_logits"]) == positive >= 2
    if settings.interleaved:
        assert len(look.samples) == len(look.mask_samples) == 3
        assert look.mask_samples[0] is not look.samples[0]
    else:
        assert look.mask_samples[0] is look.samples[0]
    semantic = torch.full((2, 16, 16), 7) if "semantic_logits" in outputs else None
    losses = look.losses(outputs, semantic)
    assert all(torch.isfinite(value) and value > 0 for value in losses.values())
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert [name for name, weight in net.named_parameters() if weight.grad is None] == []


def test_weights_of_the_stages() -> None:
    """A half and a quarter: the loss of a class that is known for certain is the error of one sample, weighted."""
    net, settings = cascade()
    look = TrainingLook(IMAGES, truths(), settings)
    outputs = run(net, look)
    for stage, weight in enumerate((1, 0.5, 0.25)):
        outputs[f"roi.{stage}.cls_score"] = torch.zeros_like(outputs[f"roi.{stage}.cls_score"])
        assert float(look.losses(outputs)[f"classes.{stage}"]) == pytest.approx(weight * torch.tensor(4.0).log().item())


def test_ground_truth_that_was_added_is_not_refined() -> None:
    """The second stage's proposals are those of the first without the two boxes of the ground truth; those are added anew."""
    net, settings = cascade()
    look = TrainingLook(IMAGES, truths(), settings)
    with torch.no_grad():
        run(net, look)
    for stage in range(3):
        assert look.samples[stage][0].added == 2
    assert len(look._after[0][0]) == len(look.samples[0][0].boxes) - 2


def test_a_supernet_is_looked_at_like_a_network() -> None:
    """The same boxes for the same weights, shared or extracted; difference 0.0."""
    torch.manual_seed(0)
    space = cascade_rcnn.SMALL
    supernet = Supernet(cascade_rcnn.build, space).eval()
    arch = replace(space.smallest, stages=2, masks=space.largest.masks)
    with torch.inference_mode():
        looks = [TestLook(IMAGES, SETTINGS["htc"], proposals=20) for _ in range(2)]
        shared = supernet((images(), looks[0]), arch)  # type: ignore[arg-type]
        own = supernet.extract(arch)((images(), looks[1]))
    assert all(torch.equal(a, b) for a, b in zip(shared, own, strict=True))


def test_fcos() -> None:
    net = network(fcos)
    outputs = dict(zip(net.output_names(), net(images()), strict=True))
    losses = fcos_batch_losses(outputs, truths())
    assert set(losses) == {"classes", "boxes", "centerness"}
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert [name for name, weight in net.named_parameters() if weight.grad is None] == []
    # What is certain is found: a point in the middle of the first box says its class and its distances.
    with torch.no_grad():
        outputs["cls_score.1"][0, 2, 2, 2], outputs["centerness.1"][0, 0, 2, 2] = 9, 9
        outputs["bbox_pred.1"][0, :, 2, 2] = torch.tensor([30.0, 30, 20, 30])  # around (40, 40)
    best = detect_fcos(outputs, IMAGES)[0]
    assert best.labels[0] == 2 and best.boxes[0].tolist() == [10, 10, 60, 70] and best.scores[0] > 0.99
    assert detect_fcos(outputs, IMAGES, lowest=0.5)[1].boxes.shape == (0, 4)


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["fcos", "mask_rcnn", "htc"])
def test_one_image_is_learnt_by_heart(detector: str) -> None:
    """Some dozens of steps on two boxes; both are found, with their classes and masks."""
    torch.manual_seed(0)
    boxes, labels = truths()[0].boxes, truths()[0].labels
    x = torch.zeros(1, 3, 128, 128)
    for (left, top, right, bottom), colour in zip(boxes.int().tolist(), (0, 1), strict=True):
        x[0, colour, top:bottom, left:right] = 2
    net, settings = (
        (network(fcos), None) if detector == "fcos" else mask_rcnn() if detector == "mask_rcnn" else cascade()
    )
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(120):
        if settings is None:
            losses = fcos_batch_losses(dict(zip(net.output_names(), net(x), strict=True)), truths()[:1])
        else:
            look = TrainingLook(IMAGES[:1], truths()[:1], settings)
            losses = look.losses(dict(zip(net.output_names(), net((x, look)), strict=True)))
        optimiser.zero_grad()
        sum(losses.values()).backward()  # type: ignore[union-attr]
        optimiser.step()
    with torch.inference_mode():
        if settings is None:
            found = detect_fcos(dict(zip(net.output_names(), net(x), strict=True)), IMAGES[:1])[0]
        else:
            test = TestLook(IMAGES[:1], settings)
            outputs = dict(zip(net.output_names(), net((x, test)), strict=True))
            found, masks = test.detections(outputs)[0], test.masks(outputs)[0]
            assert float(masks[0].mean()) > 0.8  # the truth fills its box
    best = iou_matrix(boxes, found.boxes[:2])
    assert float(best.max(1).values.min()) > 0.6
    assert found.labels[best.argmax(1)].tolist() == labels.tolist()


def test_the_index_of_the_image_comes_first() -> None:
    boxes = [torch.ones(2, 4), torch.zeros(0, 4), torch.ones(1, 4) * 3]
    assert with_index(boxes).tolist() == [[0, 1, 1, 1, 1], [0, 1, 1, 1, 1], [2, 3, 3, 3, 3]]
