"""Top-down loss: how far heatmaps of one person are from its Gaussians.

Sources: HRNet (Sun et al., CVPR 2019) with its program's factor 1/2; online hard keypoints (Chen et al., "Cascaded Pyramid
Network", CVPR 2018); supervision at every level (Wang et al., "Lightweight Super-Resolution Head", ACM MM 2023). Everything is
computed in float32 on the device of the network's outputs.
Shape legend: B people, K joints, h w cells of an output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from supernet.errors import UserError

COARSEST_FACTOR = 1e-4  # SRPose: of the first of several outputs, which only prepares the others


@dataclass(frozen=True)
class PersonLoss:
    """The training loss of a network with one output, or with several that grow finer.

    A cell costs 1/2 (weight x (output - target))^2. The mean is over people, joints and cells; with ``hardest`` over each
    person's so many worst joints only. With several outputs the last one is as fine as the targets, which are averaged over
    blocks of cells for the coarser ones; the sum counts the first output 0.0001 times, as SRPose's program does.

    Attributes:
        weighted: joints that are not labelled cost nothing, and the others their weight.
        hardest: how many joints of a person count; 0 counts all.
        foreground: a cell costs 1 + foreground x target times as much. 0 is HRNet's loss; 20 makes joints appear in
            trainings of minutes.

    Raises:
        UserError: ``hardest`` is negative.
    """

    weighted: bool = True
    hardest: int = 0
    foreground: float = 0.0

    def __post_init__(self) -> None:
        """Check the number of joints."""
        if self.hardest < 0:
            raise UserError(f"LOSS.TOPK is {self.hardest}: write how many joints of a person count, at least 1")

    def __call__(
        self, outputs: Tensor | Sequence[Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a network's outputs.

        Args:
            outputs: (B, K, h, w), or several of them.
            batch: ``heatmaps`` (B, K, h, w) of the last output's size and ``weights`` (B, K), on the outputs' device.

        Returns:
            The loss, a scalar to differentiate, and itself detached as ``heatmap`` for the log.

        Raises:
            UserError: more hard joints are wanted than there are joints.
            ValueError: the sizes do not belong together (torch would spread them over one another).
        """
        loss = self._distance(_listed(outputs), batch["heatmaps"], batch["weights"], batch["heatmaps"])
        return loss, {"heatmap": loss.detach()}

    def distillation(
        self, outputs: Tensor | Sequence[Tensor], teacher_outputs: Tensor | Sequence[Tensor], batch: Mapping[str, Any]
    ) -> Tensor:
        """The same loss with the teacher's last heatmaps as the targets; no gradient goes to the teacher.

        Cells count as foreground where the labels have the joint: a teacher that is just beginning has empty heatmaps.
        """
        teacher = _listed(teacher_outputs)[-1].detach()
        return self._distance(_listed(outputs), teacher, batch["weights"], batch["heatmaps"])

    def _distance(
        self, outputs: Sequence[Tensor], target_BKhw: Tensor, weights_BK: Tensor, labels_BKhw: Tensor
    ) -> Tensor:
        total = torch.zeros((), device=target_BKhw.device)
        for index, output in enumerate(outputs):
            factor = COARSEST_FACTOR if index == 0 and len(outputs) > 1 else 1.0
            total = total + factor * self._one(output, target_BKhw.float(), weights_BK, labels_BKhw.float())
        return total

    def _one(self, output_BKhw: Tensor, target_BKhw: Tensor, weights_BK: Tensor, labels_BKhw: Tensor) -> Tensor:
        size = (output_BKhw.shape[2], output_BKhw.shape[3])
        fits = output_BKhw.shape[:2] == target_BKhw.shape[:2] == weights_BK.shape
        if not fits or any(mine > theirs for mine, theirs in zip(size, target_BKhw.shape[2:], strict=True)):
            sizes = " and ".join(str(tuple(tensor.shape)) for tensor in (output_BKhw, target_BKhw, weights_BK))
            raise ValueError(f"heatmaps, targets and weights of sizes {sizes} do not belong together")
        if size != tuple(target_BKhw.shape[2:]):
            target_BKhw, labels_BKhw = (
                functional.adaptive_avg_pool2d(maps, size) for maps in (target_BKhw, labels_BKhw)
            )
        error_BKhw = (output_BKhw.float() - target_BKhw).square()
        if self.foreground:
            error_BKhw = error_BKhw * (1 + self.foreground * labels_BKhw.clamp(0, 1))
        cost_BK = 0.5 * error_BKhw.mean((2, 3))
        if self.weighted:
            cost_BK = cost_BK * weights_BK.float().square()
        if self.hardest:
            if self.hardest > cost_BK.shape[1]:
                raise UserError(f"LOSS.TOPK is {self.hardest}, a person has {cost_BK.shape[1]} joints: set it lower")
            cost_BK = cost_BK.topk(self.hardest, dim=1).values
        return cost_BK.mean()


def _listed(outputs: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else outputs
