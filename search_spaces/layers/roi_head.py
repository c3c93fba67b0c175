"""Second stage of a detector: box heads and mask heads, one or a cascade of them, over features that RoIAlign reads in boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .branches import Features
from .detection_heads import BOX_SIZE, MASK_SIZE, BoxHead, MaskHead, SemanticHead
from .roi_align import roi_align

SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)  # of the levels that boxes are read from
SEMANTIC_SCALES = (1 / 8,)


class RoIHead(nn.Module):
    """Heads of regions, in the order of checkpoints: all box heads, all mask heads, the semantic head.

    Args:
        boxes: a head for each stage; one alone has no number in its name with ``single``.
        masks: none, or as many.
        semantic: what adds its features to those of every box and mask, or None.
        single: one stage, as in Faster and Mask R-CNN.
    """

    def __init__(
        self, boxes: Sequence[BoxHead], masks: Sequence[MaskHead], semantic: SemanticHead | None, *, single: bool
    ) -> None:
        super().__init__()
        self.single = single
        self.bbox_head = boxes[0] if single else _stages(boxes)
        if masks:
            self.mask_head = masks[0] if single else _stages(masks)
        if semantic is not None:
            self.semantic_head = semantic

    def names(self) -> list[str]:
        """Names of the outputs, in order, without features."""
        boxes, masks = self._heads("bbox_head"), self._heads("mask_head")
        semantic = ["semantic_logits"] if hasattr(self, "semantic_head") else []
        return [
            *semantic,
            *(self._name(stage, what) for stage in range(len(boxes)) for what in ("cls_score", "bbox_pred")),
            *(self._name(stage, "mask_logits") for stage in range(len(masks))),
        ]

    def forward(
        self,
        features: Features,
        look: Callable[[str, Mapping[str, Tensor]], Tensor],
        before: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Five levels (B, C, h, w), what asks for boxes, and the outputs before, to all outputs by name.

        ``roi.s.cls_score`` (R, N + 1), ``roi.s.bbox_pred`` (R, 4 N) or (R, 4), ``roi.s.mask_logits`` (R, N, 28, 28) of stage s,
        without the number where there is one stage only; ``semantic_logits`` and ``semantic_embedding``.
        """
        outputs, embedding = dict(before), None
        if hasattr(self, "semantic_head"):
            logits, embedding = self.semantic_head(features)
            outputs |= {"semantic_logits": logits, "semantic_embedding": embedding}
        for stage, head in enumerate(self._heads("bbox_head")):
            x = _read(features, embedding, look(f"box.{stage}", outputs), BOX_SIZE)
            scores, deltas = head(x)
            outputs |= {self._name(stage, "cls_score"): scores, self._name(stage, "bbox_pred"): deltas}
        return outputs | self._masks(features, embedding, look, outputs)

    def _masks(
        self,
        features: Features,
        embedding: Tensor | None,
        look: Callable[[str, Mapping[str, Tensor]], Tensor],
        before: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Mask logits of each stage. A head that reads the one before has it run on its own boxes, with all before that."""
        outputs = dict(before)
        heads = cast("list[MaskHead]", self._heads("mask_head"))
        rois: Tensor | None = None
        x = state = None
        ran = 0  # heads that have run on these boxes, the last of which left ``state``
        for stage, head in enumerate(heads):
            asked = look(f"mask.{stage}", outputs)
            if x is None or asked is not rois:
                rois, x, state, ran = asked, _read(features, embedding, asked, MASK_SIZE), None, 0
            flows = hasattr(head, "conv_res")
            for earlier in heads[ran:stage] if flows else ():
                state = earlier.features(x, state)
            state, ran = head.features(x, state if flows else None), stage + 1
            outputs[self._name(stage, "mask_logits")] = head.logits(state)
        return outputs

    def _heads(self, name: str) -> list[nn.Module]:
        heads = getattr(self, name, None)
        if heads is None:
            return []
        return [heads] if self.single else list(heads)

    def _name(self, stage: int, what: str) -> str:
        return f"roi.{what}" if self.single else f"roi.{stage}.{what}"


def _stages(heads: Sequence[nn.Module]) -> nn.ModuleList:
    """A cascade; what a later stage answers is no output of a shorter one."""
    stages = nn.ModuleList(heads)
    stages.zero_is_identity = False  # type: ignore[assignment]
    return stages


def _read(features: Features, embedding: Tensor | None, rois: Tensor, size: int) -> Tensor:
    """Features of boxes, and those of the semantic branch where there is one: (R, C, size, size)."""
    x = roi_align(features[: len(SCALES)], rois, size, SCALES)
    if embedding is None:
        return x
    semantic = roi_align([embedding], rois, MASK_SIZE, SEMANTIC_SCALES)
    return x + (semantic if size == MASK_SIZE else F.avg_pool2d(semantic, MASK_SIZE // size))
