"""Detectors of two stages as a task: what their second stage looks at, in a test and in training; detections and losses.

A network of two stages is called with ``(images, look)``, and asks ``look(stage, outputs)`` for the boxes (R, 5) of each stage:
``box.0``, ``box.1`` …, then ``mask.0`` …. :class:`TestLook` answers with proposals, refined boxes and detections;
:class:`TrainingLook` with samples, whose targets it keeps for the losses. Both are made for one batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .anchors import anchors_of, usable_anchors
from .assignment import IGNORED, Sampled, assign_by_iou, sample, sample_proposals
from .boxes import encode_deltas
from .decoding import STAGE_STDS, Detections, decode_boxes, refined
from .losses import box_losses, mask_loss, rpn_divisor, rpn_losses, semantic_loss
from .masks import mask_targets
from .proposals import flat_levels, levels_named, precise, proposals_of
from .samples import InputImage, Truth, with_index

STRIDES = (4, 8, 16, 32, 64)
STAGE_WEIGHTS = (1.0, 0.5, 0.25)  # of the losses of a cascade's stages
ANCHORS_SAMPLED, POSITIVE_ANCHORS = 256, 0.5


@dataclass(frozen=True)
class TwoStageSettings:
    """In what the published detectors of two stages differ, beside their networks.

    Attributes:
        ious: at least this is positive, for each stage.
        low_quality: see :func:`.assignment.sample_proposals`.
        inside: anchors that reach over the image are not trained.
        rpn_beta: of :func:`.losses.smooth_l1`, for the boxes of proposals.
        box_beta: the same for those of the second stage.
        proposals: of an image in training.
        lowest: what has no higher score is not detected.
        interleaved: masks are trained on boxes that this stage has refined (HTC).
    """

    ious: tuple[float, ...] = (0.5,)
    low_quality: bool = False
    inside: bool = False
    rpn_beta: float = 0.0
    box_beta: float = 0.0
    proposals: int = 1000
    lowest: float = 0.05
    interleaved: bool = False


_CASCADE = TwoStageSettings((0.5, 0.6, 0.7), inside=True, rpn_beta=1 / 9, box_beta=1.0, proposals=2000)
#: By the names of mmdetection's configurations.
SETTINGS: dict[str, TwoStageSettings] = {
    "faster_rcnn": TwoStageSettings(),
    "mask_rcnn": TwoStageSettings(low_quality=True),
    "cascade_rcnn": _CASCADE,
    "cascade_mask_rcnn": _CASCADE,
    "htc": TwoStageSettings(
        (0.5, 0.6, 0.7), True, True, rpn_beta=1 / 9, box_beta=1.0, proposals=2000, lowest=0.001, interleaved=True
    ),
}


class _Look:
    """What both looks share: proposals of a batch, and the boxes of the stages so far, image by image."""

    def __init__(self, images: Sequence[InputImage], settings: TwoStageSettings) -> None:
        self.images, self.settings = images, settings
        self.anchors: list[Tensor] = []
        self.sizes: list[tuple[int, int]] = []

    def _proposals(self, outputs: Mapping[str, Tensor], before: int, most: int) -> list[Tensor]:
        """Boxes of each image."""
        scores, deltas = levels_named(outputs, "rpn_cls"), levels_named(outputs, "rpn_reg")
        self.sizes = [(int(level.shape[2]), int(level.shape[3])) for level in scores]
        self.anchors = anchors_of(self.sizes, STRIDES, scores[0])
        return [
            proposals_of(
                [level[:, 0].detach() for level in flat_levels(scores, index, 1)],
                [level.detach() for level in flat_levels(deltas, index, 4)],
                self.anchors,
                image.hw,
                before=before,
                most=most,
            )[0]
            for index, image in enumerate(self.images)
        ]

    def _refined(self, boxes: Sequence[Tensor], outputs: Mapping[str, Tensor], stage: int) -> list[Tensor]:
        """Boxes of each image after a stage of a cascade."""
        deltas = torch.split(precise(outputs[f"roi.{stage}.bbox_pred"]).detach(), [len(each) for each in boxes])
        return [
            refined(each, change, image.hw, stage)
            for each, change, image in zip(boxes, deltas, self.images, strict=True)
        ]


def output_of(outputs: Mapping[str, Tensor], stage: int, what: str) -> Tensor | None:
    """Output ``what`` of a stage, whose name has no number where there is one stage only; None where there is none."""
    found = outputs.get(f"roi.{stage}.{what}")
    if found is None and stage == 0:
        found = outputs.get(f"roi.{what}")
    return None if found is None else precise(found)


def _all_of(outputs: Mapping[str, Tensor], what: str) -> list[Tensor]:
    """Output ``what`` of each stage."""
    stages = (output_of(outputs, stage, what) for stage in range(len(STAGE_STDS)))
    return [output for output in stages if output is not None]


class TestLook(_Look):
    """Look at proposals, at what each stage made of them, and for masks at the detections.

    Args:
        images: of the batch.
        settings: of the detector.
        proposals: of each image.
    """

    __test__ = False  # pytest's: this is no test

    def __init__(self, images: Sequence[InputImage], settings: TwoStageSettings, proposals: int = 1000) -> None:
        super().__init__(images, settings)
        self._count = proposals
        self._boxes: list[Tensor] = []
        self._found: list[Detections] | None = None
        self._masks = torch.zeros(0, 5)

    def __call__(self, stage: str, outputs: Mapping[str, Tensor]) -> Tensor:
        """Boxes (R, 5) of a stage."""
        kind, number = stage.split(".")
        if kind == "mask":
            if self._found is None:
                found = self.detections(outputs)
                scales = [
                    each.boxes.new_tensor([*image.scale_xy] * 2) for each, image in zip(found, self.images, strict=True)
                ]
                self._masks = with_index([each.boxes * scale for each, scale in zip(found, scales, strict=True)])
            return self._masks
        if number == "0":
            self._boxes = self._proposals(outputs, before=1000, most=self._count)
        else:
            self._boxes = self._refined(self._boxes, outputs, int(number) - 1)
        return with_index(self._boxes)

    def detections(self, outputs: Mapping[str, Tensor]) -> list[Detections]:
        """Detections of each image, in pixels of the original, from the outputs of all box stages."""
        if self._found is None:
            scores, deltas = _all_of(outputs, "cls_score"), _all_of(outputs, "bbox_pred")
            counts = [len(boxes) for boxes in self._boxes]
            mean = torch.stack(scores).mean(0) if len(scores) > 1 else scores[0]
            parts = zip(
                self._boxes, torch.split(mean, counts), torch.split(deltas[-1], counts), self.images, strict=True
            )
            stds, lowest = STAGE_STDS[len(deltas) - 1], self.settings.lowest
            self._found = [
                decode_boxes(boxes, score, change, image.hw, image.scale_xy, stds=stds, lowest=lowest)
                for boxes, score, change, image in parts
            ]
        return self._found

    def masks(self, outputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Mask probabilities (N, 28, 28) of the detections of each image, a mean over the stages; see :func:`.masks.paste`."""
        found = self.detections(outputs)
        labels = torch.cat([each.labels for each in found])
        rows = torch.arange(len(labels), device=labels.device)
        each = [logits[rows, labels].sigmoid() for logits in _all_of(outputs, "mask_logits")]
        return list(torch.split(torch.stack(each).mean(0), [len(one.labels) for one in found]))


class TrainingLook(_Look):
    """Look at samples of proposals, and keep what they belong to.

    Args:
        images: of the batch.
        truths: their ground truth.
        settings: of the detector.
        generator: of the random numbers that choose the samples, on the CPU.
    """

    def __init__(
        self,
        images: Sequence[InputImage],
        truths: Sequence[Truth],
        settings: TwoStageSettings,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(images, settings)
        self.truths, self._generator = truths, generator
        self.samples: list[list[Sampled]] = []  # of each stage and image
        self.mask_samples: list[list[Sampled]] = []
        self._after: list[list[Tensor]] = []  # refined boxes of each stage

    def __call__(self, stage: str, outputs: Mapping[str, Tensor]) -> Tensor:
        """Boxes (R, 5) of a stage: of the box heads all samples, of the mask heads the positive ones."""
        kind, text = stage.split(".")
        number = int(text)
        if kind == "mask":
            chosen = self.samples[number]
            if self.settings.interleaved:
                chosen = self._sampled(self._refined_after(number, outputs), number)
            self.mask_samples.append(chosen)
            return with_index([each.boxes[: len(each.truth)] for each in chosen])
        if number == 0:
            boxes = self._proposals(outputs, before=2000, most=self.settings.proposals)
        else:
            boxes = self._refined_after(number - 1, outputs)
        self.samples.append(self._sampled(boxes, number))
        return with_index([each.boxes for each in self.samples[-1]])

    def _refined_after(self, stage: int, outputs: Mapping[str, Tensor]) -> list[Tensor]:
        """What a stage makes of its samples, without those that were ground truth."""
        while len(self._after) <= stage:
            last = len(self._after)
            sampled = self.samples[last]
            boxes = self._refined([each.boxes for each in sampled], outputs, last)
            self._after.append([each[one.added :] for each, one in zip(boxes, sampled, strict=True)])
        return self._after[stage]

    def _sampled(self, boxes: Sequence[Tensor], stage: int) -> list[Sampled]:
        settings = self.settings
        return [
            sample_proposals(
                each,
                truth.boxes,
                iou=settings.ious[stage],
                low_quality=settings.low_quality,
                generator=self._generator,
            )
            for each, truth in zip(boxes, self.truths, strict=True)
        ]

    def losses(self, outputs: Mapping[str, Tensor], semantic: Tensor | None = None) -> dict[str, Tensor]:
        """All losses of the batch by name, weighted; their sum is what is minimised.

        Args:
            outputs: of the network that has looked.
            semantic: labels of the semantic branch (B, h, w), int64, 255 for what is ignored; None where they are not known.
        """
        found = self._rpn_losses(outputs)
        for stage, sampled in enumerate(self.samples):
            weight, name = STAGE_WEIGHTS[stage], f".{stage}"
            scores, deltas = output_of(outputs, stage, "cls_score"), output_of(outputs, stage, "bbox_pred")
            assert scores is not None and deltas is not None
            labels, targets = self._box_targets(sampled, stage, scores.shape[1] - 1)
            classes, boxes = box_losses(scores, deltas, labels, targets, self.settings.box_beta)
            found |= {f"classes{name}": weight * classes, f"boxes{name}": weight * boxes}
        for stage, (logits, sampled) in enumerate(zip(_all_of(outputs, "mask_logits"), self.mask_samples, strict=True)):
            found[f"masks.{stage}"] = STAGE_WEIGHTS[stage] * self._mask_loss(logits, sampled)
        if semantic is not None:
            found["semantic"] = semantic_loss(precise(outputs["semantic_logits"]), semantic)
        return found

    def _rpn_losses(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        scores, deltas = levels_named(outputs, "rpn_cls"), levels_named(outputs, "rpn_reg")
        anchors, chosen = torch.cat(self.anchors), []
        for image, truth in zip(self.images, self.truths, strict=True):
            inside = image.hw if self.settings.inside else None
            usable = usable_anchors(self.anchors, self.sizes, STRIDES, image.padded_hw, inside)
            assigned = torch.full((len(anchors),), IGNORED, device=anchors.device)
            assigned[usable] = assign_by_iou(
                anchors[usable], truth.boxes.to(anchors), positive=0.7, negative=0.3, at_least=0.3
            )
            chosen.append((*sample(assigned, ANCHORS_SAMPLED, POSITIVE_ANCHORS, self._generator), assigned))
        divisor = rpn_divisor([(positive, negative) for positive, negative, _ in chosen])
        each = []
        for index, ((positive, negative, assigned), truth) in enumerate(zip(chosen, self.truths, strict=True)):
            targets = encode_deltas(anchors[positive], truth.boxes.to(anchors)[assigned[positive]])
            logits = torch.cat(flat_levels(scores, index, 1))[:, 0]
            changes = torch.cat(flat_levels(deltas, index, 4))
            each.append(rpn_losses(logits, changes, targets, positive, negative, divisor, self.settings.rpn_beta))
        objectness, boxes = (torch.stack(part).sum() for part in zip(*each, strict=True))
        return {"objectness": objectness, "proposals": boxes}

    def _box_targets(self, sampled: Sequence[Sampled], stage: int, classes: int) -> tuple[Tensor, Tensor]:
        """Labels and deltas of the samples of all images; ``classes`` is the background."""
        labels, targets = [], []
        for each, truth in zip(sampled, self.truths, strict=True):
            count, background = len(each.truth), len(each.boxes) - len(each.truth)
            labels.append(torch.cat([truth.labels[each.truth], truth.labels.new_full((background,), classes)]))
            wanted = truth.boxes.to(each.boxes)[each.truth]
            deltas = encode_deltas(each.boxes[:count], wanted, STAGE_STDS[stage])
            targets.append(torch.cat([deltas, deltas.new_zeros(background, 4)]))
        return torch.cat(labels), torch.cat(targets)

    def _mask_loss(self, logits: Tensor, sampled: Sequence[Sampled]) -> Tensor:
        labels, targets = [], []
        for each, truth in zip(sampled, self.truths, strict=True):
            assert truth.masks is not None, "a network with masks is trained on masks"
            labels.append(truth.labels[each.truth])
            targets.append(mask_targets(truth.masks, each.truth, each.boxes[: len(each.truth)]))
        return mask_loss(logits, torch.cat(labels), torch.cat(targets))
