"""The bottom-up losses against literal loops, their gradients, and their edge cases."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from supernet.errors import UserError
from supernet.pose.bottom_up.losses import BottomUpLoss, heatmap_loss, tag_loss


def joints_at_random(batch: int, people: list[int], joints: int, cells: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    result = torch.zeros(batch, 8, joints, 2, dtype=torch.int64)
    for image, count in enumerate(people):
        result[image, :count, :, 0] = torch.randint(cells, (count, joints), generator=generator)
        result[image, :count, :, 1] = torch.randint(2, (count, joints), generator=generator)
        result[image, :count, 0, 1] = 1
    result[..., 0] += torch.arange(joints) * cells
    result[..., 0] *= result[..., 1]
    return result


def tag_loss_literal(tags: Tensor, joints: Tensor, kind: str) -> tuple[float, float]:
    pushes, pulls = [], []
    for image_tags, people in zip(tags.double().flatten(1).tolist(), joints.tolist(), strict=True):
        means, spreads = [], []
        for person in people:
            mine = [image_tags[index] for index, visible in person if visible]
            if mine:
                means.append(sum(mine) / len(mine))
                spreads.append(sum((tag - means[-1]) ** 2 for tag in mine) / len(mine))
        n = len(means)
        pulls.append(sum(spreads) / n if n else 0.0)
        push = 0.0
        for a in means:
            for b in means:
                push += math.exp(-((a - b) ** 2)) if kind == "exp" else max(0.0, 1 - abs(a - b))
        pushes.append((push - n) / ((n - 1) * n) * 0.5 if n > 1 else 0.0)
    return sum(pushes) / len(pushes), sum(pulls) / len(pulls)


@pytest.mark.parametrize("kind", ["exp", "max"])
@pytest.mark.parametrize("people", [[5, 2, 8], [1, 0, 3], [0, 0, 0], [1, 1, 1]])
def test_tag_loss_equals_the_literal_loop(kind: str, people: list[int]) -> None:
    tags = torch.randn(3, 17, 12, 10, generator=torch.Generator().manual_seed(1))
    joints = joints_at_random(3, people, 17, 120)
    push, pull = tag_loss(tags, joints, kind)
    expected = tag_loss_literal(tags, joints, kind)
    assert push.item() == pytest.approx(expected[0], abs=1e-6) and pull.item() == pytest.approx(expected[1], abs=1e-6)
    assert (push.item() > 0) == (max(people) > 1) and (pull.item() > 0) == (max(people) > 0)


def test_tag_loss_with_one_map_for_all_joints() -> None:
    tags = torch.randn(2, 1, 12, 10, generator=torch.Generator().manual_seed(1))
    joints = joints_at_random(2, [4, 2], 17, 120)
    joints[..., 0] %= 120
    push, pull = tag_loss(tags, joints)
    assert (push.item(), pull.item()) == pytest.approx(tag_loss_literal(tags, joints, "exp"), abs=1e-6)


@pytest.mark.parametrize("kind", ["exp", "max"])
def test_tag_gradients_are_those_of_finite_differences(kind: str) -> None:
    tags = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    joints = joints_at_random(2, [3, 2], 3, 20)
    tags.requires_grad_()
    torch.stack(tag_loss(tags, joints, kind)).sum().backward()
    assert tags.grad is not None
    step = 1e-6
    with torch.no_grad():
        for place in sorted(set(joints[0, :3, :, 0].flatten().tolist())):
            up, down = tags.detach().clone(), tags.detach().clone()
            up[0].view(-1)[place] += step
            down[0].view(-1)[place] -= step
            slope = (sum(tag_loss_literal(up, joints, kind)) - sum(tag_loss_literal(down, joints, kind))) / (2 * step)
            assert tags.grad[0].flatten()[place].item() == pytest.approx(slope, abs=1e-5)


def test_losses_are_finite_without_people_and_in_half_precision() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        outputs = [torch.randn(2, 34, 8, 8).to(dtype).requires_grad_(), torch.randn(2, 17, 16, 16).to(dtype)]
        total, parts = BottomUpLoss(17)(outputs, batch_of([0, 0]))
        total.backward()
        assert total.dtype == torch.float32 and total.isfinite() and parts["push"] == parts["pull"] == 0
        gradient = outputs[0].grad
        assert gradient is not None and gradient.isfinite().all() and not gradient[:, 17:].any()


def batch_of(people: list[int]) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(7)
    sizes = (8, 16)
    return {
        "heatmaps": [torch.rand(len(people), 17, size, size, generator=generator) for size in sizes],
        "masks": [(torch.rand(len(people), size, size, generator=generator) > 0.3).float() for size in sizes],
        "joints": joints_at_random(len(people), people, 17, 64),
    }


def test_heatmap_loss_is_the_mean_over_all_cells_also_the_masked_ones() -> None:
    pred, target = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    mask = torch.ones(2, 4, 4)
    target[0, 1, 2, 3] = 2.0
    target[1, 2, 0, 0] = 5.0
    mask[1, 0, 0] = 0
    assert heatmap_loss(pred, target, mask).item() == pytest.approx(4 / 96)
    with pytest.raises(ValueError, match=r"sizes \(2, 3, 4, 4\) and \(2, 3, 8, 8\) and \(2, 4, 4\)"):
        heatmap_loss(pred, torch.zeros(2, 3, 8, 8), mask)


def test_the_loss_is_the_sum_of_its_weighted_parts() -> None:
    generator = torch.Generator().manual_seed(3)
    outputs = [torch.randn(2, 34, 8, 8, generator=generator), torch.randn(2, 17, 16, 16, generator=generator)]
    batch = batch_of([3, 2])
    loss = BottomUpLoss(17, heatmap_factors=(1.0, 0.5), push_factors=(0.01, 0.0), pull_factors=(0.02, 0.0))
    total, parts = loss(outputs, batch)
    push, pull = tag_loss(outputs[0][:, 17:], batch["joints"])
    heatmaps = [
        heatmap_loss(output[:, :17], target, mask)
        for output, target, mask in zip(outputs, batch["heatmaps"], batch["masks"], strict=True)
    ]
    assert total.item() == pytest.approx((heatmaps[0] + 0.5 * heatmaps[1] + 0.01 * push + 0.02 * pull).item())
    assert parts["push"].item() == pytest.approx(0.01 * push.item())
    assert parts["heatmap"] == heatmaps[0] + 0.5 * heatmaps[1]
    single = BottomUpLoss(17, (True,), (True,), (1.0,), (0.0,), (0.0,))
    assert single(outputs[:1], batch)[0].item() == pytest.approx(heatmaps[0].item())


def test_distillation_compares_heatmaps_only_and_leaves_the_teacher_alone() -> None:
    generator = torch.Generator().manual_seed(3)
    shapes = ((2, 34, 8, 8), (2, 17, 16, 16))
    student = [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]
    teacher = [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]
    batch = batch_of([1, 1])
    loss = BottomUpLoss(17)
    value = loss.distillation(student, teacher, batch)
    outputs = {**batch, "heatmaps": [output[:, :17].detach() for output in teacher]}
    assert value.item() == loss(student, outputs)[1]["heatmap"].item() > 0
    value.backward()
    assert all(output.grad is None for output in teacher)
    assert student[0].grad is not None and student[0].grad[:, :17].any() and not student[0].grad[:, 17:].any()
    assert loss.distillation(teacher, teacher, batch).item() == 0


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="only the first output may have tags"):
        BottomUpLoss(17, with_tags=(True, True))
    with pytest.raises(UserError, match=r"has 1 entries.*\[2, 2, 2, 2\]"):
        BottomUpLoss(17, with_heatmaps=(True,))
    with pytest.raises(UserError, match="AE_LOSS_TYPE is 'min'"):
        BottomUpLoss(17, tag_kind="min")
    with pytest.raises(UserError, match="AE_LOSS_TYPE is 'min'"):
        tag_loss(torch.zeros(1, 17, 8, 8), torch.zeros(1, 2, 17, 2, dtype=torch.int64), "min")
    with pytest.raises(ValueError, match="1 outputs, the loss is for 2"):
        BottomUpLoss(17)([torch.zeros(1, 34, 8, 8)], batch_of([0]))
