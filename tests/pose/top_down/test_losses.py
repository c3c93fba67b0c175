"""The top-down loss against HRNet's formula written as loops, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from supernet.errors import UserError
from supernet.pose.top_down.losses import COARSEST_FACTOR, PersonLoss

B, K, H, W = 3, 5, 8, 6


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Random heatmaps; some joints count not at all, some more than others."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.tensor([[1, 1, 0, 1.2, 1.5], [0, 0, 0, 0, 0], [1, 0, 1.5, 1, 1]])
    return {"heatmaps": torch.rand(B, K, H, W, generator=generator), "weights": weights}


def outputs_of(*size: int, seed: int = 1) -> Tensor:
    return torch.randn(B, K, *(size or (H, W)), generator=torch.Generator().manual_seed(seed))


def cost(output: Tensor, target: Tensor, weight: Tensor | float) -> Tensor:
    """What one joint of one person costs."""
    return 0.5 * ((output * weight - target * weight) ** 2).mean()


def test_it_is_hrnets_mean_over_people_joints_and_cells(batch: dict[str, Tensor]) -> None:
    output = outputs_of()
    loss, parts = PersonLoss()(output, batch)
    expected = sum(
        cost(output[:, k], batch["heatmaps"][:, k], batch["weights"][:, k, None, None]) for k in range(K)
    ) / K  # fmt: skip
    torch.testing.assert_close(loss, expected)
    assert parts["heatmap"] == loss.detach()


def test_without_weights_every_joint_counts_alike(batch: dict[str, Tensor]) -> None:
    output = outputs_of()
    loss, _ = PersonLoss(weighted=False)(output, batch)
    torch.testing.assert_close(loss, 0.5 * functional.mse_loss(output, batch["heatmaps"]))


def test_only_the_hardest_joints_of_each_person(batch: dict[str, Tensor]) -> None:
    output = outputs_of()
    loss, _ = PersonLoss(hardest=2)(output, batch)
    people = []
    for b in range(B):
        costs = [float(cost(output[b, k], batch["heatmaps"][b, k], batch["weights"][b, k])) for k in range(K)]
        people.append(sum(sorted(costs)[-2:]) / 2)
    assert float(loss) == pytest.approx(sum(people) / B)


def test_all_joints_are_the_hardest(batch: dict[str, Tensor]) -> None:
    torch.testing.assert_close(PersonLoss(hardest=K)(outputs_of(), batch)[0], PersonLoss()(outputs_of(), batch)[0])


def test_coarser_outputs_learn_averages_of_the_targets(batch: dict[str, Tensor]) -> None:
    outputs = [outputs_of(2, 3), outputs_of(4, 3), outputs_of()]
    loss, _ = PersonLoss()(outputs, batch)
    pooled = [
        {**batch, "heatmaps": batch["heatmaps"].reshape(B, K, 2, 4, 3, 2).mean((3, 5))},
        {**batch, "heatmaps": batch["heatmaps"].reshape(B, K, 4, 2, 3, 2).mean((3, 5))},
        batch,
    ]
    single = [PersonLoss()(output, one)[0] for output, one in zip(outputs, pooled, strict=True)]
    torch.testing.assert_close(loss, COARSEST_FACTOR * single[0] + single[1] + single[2])
    assert COARSEST_FACTOR == 0.0001


def test_a_single_output_in_a_list_counts_in_full(batch: dict[str, Tensor]) -> None:
    assert PersonLoss()([outputs_of()], batch)[0] == PersonLoss()(outputs_of(), batch)[0]


def test_foreground_weighs_the_joints(batch: dict[str, Tensor]) -> None:
    output = batch["heatmaps"] + 1
    loss, _ = PersonLoss(weighted=False, foreground=20)(output, batch)
    torch.testing.assert_close(loss, 0.5 * (1 + 20 * batch["heatmaps"]).mean())


def test_a_batch_without_labelled_joints_costs_nothing(batch: dict[str, Tensor]) -> None:
    output = outputs_of().requires_grad_()
    loss, _ = PersonLoss()(output, {**batch, "weights": torch.zeros(B, K)})
    loss.backward()
    assert loss == 0
    assert output.grad is not None and not output.grad.any()


@pytest.mark.parametrize("wrap", [lambda last: last, lambda last: [outputs_of(4, 3), last]])
def test_distillation_learns_the_teachers_finest_heatmaps(
    batch: dict[str, Tensor], wrap: Callable[[Tensor], Tensor | list[Tensor]]
) -> None:
    teacher, student = outputs_of(seed=2).requires_grad_(), outputs_of().requires_grad_()
    loss = PersonLoss().distillation(student, wrap(teacher), batch)
    torch.testing.assert_close(loss, PersonLoss()(student, {**batch, "heatmaps": teacher.detach()})[0])
    loss.backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.abs().sum() > 0


def test_half_precision_is_summed_in_full(batch: dict[str, Tensor]) -> None:
    loss, _ = PersonLoss()(outputs_of().bfloat16(), batch)
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("size", [(B, K, 9, 6), (B, K + 1, H, W), (1, K, H, W)])
def test_what_does_not_fit_is_refused(batch: dict[str, Tensor], size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"of sizes .* do not belong together"):
        PersonLoss()(torch.zeros(size), batch)


def test_more_hard_joints_than_joints_are_refused(batch: dict[str, Tensor]) -> None:
    with pytest.raises(UserError, match=r"LOSS.TOPK is 8, a person has 5 joints: set it lower"):
        PersonLoss(hardest=8)(outputs_of(), batch)
    with pytest.raises(UserError, match=r"LOSS.TOPK is -1"):
        PersonLoss(hardest=-1)
