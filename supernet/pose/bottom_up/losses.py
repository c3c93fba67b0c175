"""Bottom-up losses: masked heatmap error and associative embedding.

Sources: HigherHRNet (Cheng et al., CVPR 2020), associative embedding (Newell et al., NIPS 2017). Everything is summed
in float32 on the device of the network's outputs, and is finite for images without people.
Shape legend: B images, M rows for people, K joints, h w cells of an output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from supernet.errors import UserError

TAG_KINDS = ("exp", "max")


def heatmap_loss(pred: Tensor, target: Tensor, mask: Tensor, foreground: float = 0.0) -> Tensor:
    """Mean over all B K h w cells of (pred - target)^2 x mask; masked cells count as 0, as in HigherHRNet.

    Args:
        pred: (B, K, h, w).
        target: (B, K, h, w).
        mask: (B, h, w).
        foreground: A cell weighs 1 + foreground x target. 0 is HigherHRNet's loss; 20 makes joints appear within minutes,
            where a short training would otherwise learn little but the empty background.

    Raises:
        ValueError: The sizes differ (torch would spread them over one another).
    """
    if pred.shape != target.shape or pred.shape[:1] + pred.shape[2:] != mask.shape:
        sizes = " and ".join(str(tuple(tensor.shape)) for tensor in (pred, target, mask))
        raise ValueError(f"predicted heatmaps, targets and masks of sizes {sizes} do not belong together")
    error = (pred.float() - target.float()).square() * mask.unsqueeze(1)
    if foreground:
        error = error * (1 + foreground * target.float().clamp(0, 1))
    return error.mean()


def tag_loss(tags: Tensor, joints: Tensor, kind: str = "exp") -> tuple[Tensor, Tensor]:
    """Associative embedding: one person's tags together, different people's apart; mean over the images.

    For an image with n people who have a visible joint, m_i the mean of person i's tags: pull = 1/n sum_i of the mean
    of (tag - m_i)^2 over i's visible joints; push = 1/2 1/(n (n - 1)) sum over ordered pairs of exp(-(m_i - m_j)^2)
    ("exp") or of max(0, 1 - |m_i - m_j|) ("max"), 0 for n < 2.

    Args:
        tags: (B, K, h, w), or (B, 1, h, w) where all joints share a map.
        joints: int64 (B, M, K, 2): index into an image's flattened tags, and 1 where visible.
        kind: ``exp`` or ``max``.

    Returns:
        (push, pull).

    Raises:
        UserError: Unknown kind.
    """
    if kind not in TAG_KINDS:
        raise UserError(f"LOSS.AE_LOSS_TYPE is '{kind}': write exp or max")
    index, visible = joints[..., 0], joints[..., 1] > 0
    picked = tags.flatten(1).gather(1, index.flatten(1)).view_as(index).float()
    tag_BMK = torch.where(visible, picked, 0.0)
    count_BM = visible.sum(-1)
    present_BM = (count_BM > 0).float()
    people_B = present_BM.sum(-1)
    mean_BM = tag_BMK.sum(-1) / count_BM.clamp(min=1)
    spread_BMK = torch.where(visible, tag_BMK - mean_BM.unsqueeze(-1), 0.0).square()
    pull_B = (spread_BMK.sum(-1) / count_BM.clamp(min=1)).sum(-1) / people_B.clamp(min=1)

    difference_BMM = mean_BM.unsqueeze(-1) - mean_BM.unsqueeze(-2)
    if kind == "exp":
        closeness_BMM = torch.exp(-difference_BMM.square())
    else:
        closeness_BMM = (1 - difference_BMM.abs()).clamp(min=0)
    others_MM = 1 - torch.eye(index.shape[1], device=tags.device)  # nobody is pushed away from oneself
    pairs_BMM = present_BM.unsqueeze(-1) * present_BM.unsqueeze(-2) * others_MM
    push_B = 0.5 * (closeness_BMM * pairs_BMM).sum((-1, -2)) / (people_B * (people_B - 1)).clamp(min=1)
    return push_B.mean(), pull_B.mean()


@dataclass(frozen=True)
class BottomUpLoss:
    """The training loss of a network with several outputs; factors are per output, as in HigherHRNet's ``LOSS`` node.

    An output's channels are its heatmaps (where it has them), then its tags. Only the first output may have tags: the
    joint indices are made for its size.

    Raises:
        UserError: The settings differ in length, or a later output has tags, or the kind is unknown.
    """

    num_joints: int
    with_heatmaps: tuple[bool, ...] = (True, True)
    with_tags: tuple[bool, ...] = (True, False)
    heatmap_factors: tuple[float, ...] = (1.0, 1.0)
    push_factors: tuple[float, ...] = (0.001, 0.001)
    pull_factors: tuple[float, ...] = (0.001, 0.001)
    tag_kind: str = "exp"
    foreground: float = 0.0

    def __post_init__(self) -> None:
        """Check that the settings belong together."""
        settings = (self.with_tags, self.heatmap_factors, self.push_factors, self.pull_factors)
        if any(len(setting) != len(self.with_heatmaps) for setting in settings):
            raise UserError(
                f"LOSS.WITH_HEATMAPS_LOSS has {len(self.with_heatmaps)} entries, but WITH_AE_LOSS and the factors of "
                f"heatmaps, push and pull have {[len(setting) for setting in settings]}: give one for each output"
            )
        if any(self.with_tags[1:]):
            raise UserError(f"LOSS.WITH_AE_LOSS is {list(self.with_tags)}: only the first output may have tags")
        if self.tag_kind not in TAG_KINDS:
            raise UserError(f"LOSS.AE_LOSS_TYPE is '{self.tag_kind}': write exp or max")

    def __call__(self, outputs: Sequence[Tensor], batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a network's outputs.

        Args:
            outputs: Per output (B, C, h, w).
            batch: As :func:`supernet.pose.bottom_up.targets.collate` makes it, on the device of the outputs.

        Returns:
            The loss, a scalar to differentiate, and its detached parts, factors included: ``heatmap``, ``push`` and
            ``pull`` add up to it.
        """
        self._check(outputs)
        heatmap = self._heatmaps(outputs, batch["heatmaps"], batch["masks"])
        push = pull = torch.zeros((), device=outputs[0].device)
        if self.with_tags[0]:
            tags = outputs[0][:, self.num_joints if self.with_heatmaps[0] else 0 :]
            push, pull = tag_loss(tags, batch["joints"], self.tag_kind)
            push, pull = self.push_factors[0] * push, self.pull_factors[0] * pull
        total = heatmap + push + pull
        parts = {"heatmap": heatmap, "push": push, "pull": pull}
        return total, {name: part.detach() for name, part in parts.items()}

    def distillation(
        self, outputs: Sequence[Tensor], teacher_outputs: Sequence[Tensor], batch: Mapping[str, Any]
    ) -> Tensor:
        """The heatmap part of the loss, with the teacher's heatmaps as the targets.

        Tags are not compared: only their differences mean anything. No gradient goes to the teacher.
        """
        self._check(outputs)
        self._check(teacher_outputs)
        targets = [output[:, : self.num_joints].detach() for output in teacher_outputs]
        return self._heatmaps(outputs, targets, batch["masks"])

    def _heatmaps(self, outputs: Sequence[Tensor], targets: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        total = torch.zeros((), device=outputs[0].device)
        for i, factor in enumerate(self.heatmap_factors):
            if self.with_heatmaps[i]:
                total = total + factor * heatmap_loss(
                    outputs[i][:, : self.num_joints], targets[i], masks[i], self.foreground
                )
        return total

    def _check(self, outputs: Sequence[Tensor]) -> None:
        if len(outputs) != len(self.with_heatmaps):
            raise ValueError(f"the network has {len(outputs)} outputs, the loss is for {len(self.with_heatmaps)}")
