"""Coverage of costs, one curve over stages, shares of a batch, lazy Adam, weights that do not decay, the ramp of distillation."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from supernet.errors import UserError
from supernet.training.coverage import UniformCost
from supernet.training.lazy_adam import LazyAdam
from supernet.training.sampling import Sampler
from supernet.training.schedule import Phase, Plan, cosine, over_phases
from supernet.training.trainer import Trainer
from supernet.training.weight_decay import decay_groups
from tests import tiny_training
from tests.training.test_sampling import SPACE, macs, macs_of


def test_costs_are_spread_over_the_range() -> None:
    """Every fifth of the range is drawn about as often; uniform choices leave the uppermost nearly empty."""
    rng = np.random.default_rng(0)
    sampler = UniformCost(SPACE, macs)
    codes = np.stack([sampler.sample_code(rng) for _ in range(400)])
    edges = np.linspace(sampler.low, sampler.high, 6)
    spread = np.histogram(macs(codes), edges)[0] / 400
    uniform = np.histogram(macs(SPACE.sample_codes(400, rng)), edges)[0] / 400
    assert spread.min() > 0.13 and uniform.min() < 0.05


@pytest.mark.parametrize(("coverage", "share"), [(0.0, (0.0, 0.1)), (0.5, (0.1, 0.25)), (1.0, (0.27, 0.4))])
def test_a_mixture_draws_as_much_of_each_as_it_says(coverage: float, share: tuple[float, float]) -> None:
    """Share of architectures in the uppermost third of the costs, and without coverage the draws that there always were."""
    space = SPACE.restrict({"resolution": [96]})

    def cost(codes: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
        return np.array([macs_of(space.decode(code)) for code in codes], dtype=np.int64)

    mixed = Sampler(space, "single_path", cost=cost, coverage=coverage)
    drawn = [mixed.draw(np.random.default_rng(step))[0] for step in range(400)]
    low, high = macs_of(space.smallest), macs_of(space.largest)
    found = np.mean([macs_of(arch) > low + (high - low) * 2 / 3 for arch in drawn])
    assert share[0] <= found <= share[1]
    if not coverage:
        assert drawn == [Sampler(space, "single_path").draw(np.random.default_rng(step))[0] for step in range(400)]


def test_an_open_input_size_is_that_of_the_last() -> None:
    sampler = Sampler(SPACE, "multi_path", 3, cost=macs, coverage=1.0)
    for step in range(20):
        assert len({arch.resolution for arch in sampler.draw(np.random.default_rng(step))}) == 1


def test_coverage_needs_costs() -> None:
    with pytest.raises(ValueError, match="needs the cost"):
        Sampler(SPACE, "single_path", coverage=0.5)


def test_several_paths_have_one_input_size() -> None:
    for step in range(20):
        archs = Sampler(SPACE, "multi_path", 3).draw(np.random.default_rng(step))
        assert 1 <= len(archs) <= 3 and len({arch.resolution for arch in archs}) == 1


def test_one_curve_over_phases() -> None:
    """Phase by phase the rates are those of the whole curve; the floor is reached at the end alone."""
    curve, lengths = cosine(0.01, final=0.1), [3, 5, 2]
    rates = [
        part(step / length)
        for part, length in zip(over_phases(curve, lengths), lengths, strict=True)
        for step in range(length)
    ]
    assert rates == pytest.approx([curve(step / 10) for step in range(10)])
    assert min(rates[1:]) >= 0.001


# ---------------------------------------------------------------------------------------------------- shares of a batch


def shared(share: bool, archs: int = 2, **options: Any) -> tuple[Trainer[Any], Plan[Any]]:
    """A supernet of the tiny space whose steps run several architectures."""
    trainer, _ = tiny_training.training(2, distillation="none", ema=0.0, share_batch=share, **options)
    phase = Phase("all", Sampler(tiny_training.SPACE, "multi_path", archs), 4, cosine(0.01))
    return trainer, Plan([phase], 7, 4, 1)


def test_architectures_share_a_batch() -> None:
    """The gradient is the mean over all images, each seen by one architecture."""
    trainer, plan = shared(True)
    step = next(step for step in plan.steps(0) if len(step.architectures) == 2)
    (batch,) = tiny_training.batches(iter([step]))
    trainer.step(step, [batch])
    found = [parameter.grad for parameter in trainer.model.parameters() if parameter.grad is not None]
    reference, _ = shared(True)
    reference.model.train()
    for arch, images in zip(step.architectures, (slice(0, 2), slice(2, 4)), strict=True):
        part = {name: tensor[images] for name, tensor in batch.items()}
        (reference.criterion(reference.network(part["inputs"], arch), part)[0] / 2).backward()
    expected = [parameter.grad for parameter in reference.model.parameters() if parameter.grad is not None]
    assert len(found) == len(expected) > 0
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


def test_a_batch_too_small_to_share() -> None:
    trainer, plan = shared(True, archs=9)
    step = max(plan.steps(0), key=lambda step: len(step.architectures))
    (batch,) = tiny_training.batches(iter([step]))
    with pytest.raises(UserError, match="cannot share a batch of 1 images"):
        trainer.step(step, [{name: tensor[:1] for name, tensor in batch.items()}])


def test_sharing_and_inplace_distillation_exclude_one_another() -> None:
    with pytest.raises(UserError, match="share no batch"):
        tiny_training.training(2, share_batch=True)


def test_distillation_grows_over_its_ramp() -> None:
    """In the first of two steps half of the distillation counts."""
    totals = []
    for ramp in (0, 2):
        trainer, plan = tiny_training.training(2, distillation_ramp=ramp)
        step = plan.step(0)
        _, figures = trainer._passes(step, next(iter(tiny_training.batches(iter([step])))))
        totals.append(float(figures[-1]))
    trainer, plan = tiny_training.training(2, distillation="none")
    step = plan.step(0)
    _, figures = trainer._passes(step, next(iter(tiny_training.batches(iter([step])))))
    task = float(figures[-1])
    assert totals[0] > task and totals[1] - task == pytest.approx((totals[0] - task) / 2)


# ------------------------------------------------------------------------------------------------------------ optimiser


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lazy_adam_is_adam_where_everything_is_used(decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    mine, theirs = (nn.Parameter(torch.ones(5, 4, dtype=torch.float64)) for _ in range(2))
    lazy = LazyAdam([mine], lr=0.1, weight_decay=decay)
    adam = torch.optim.AdamW([theirs], lr=0.1, weight_decay=decay)
    for _ in range(6):
        mine.grad = torch.randn(5, 4, generator=generator, dtype=torch.float64)
        theirs.grad = mine.grad.clone()
        lazy.step()
        adam.step()
    torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)


def test_lazy_adam_leaves_alone_what_was_not_used() -> None:
    """A slice that every second step uses ends where it would have ended without the other steps."""
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(6, 3, generator=generator)
    sometimes, always = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(3))
    first, second = LazyAdam([sometimes], lr=0.1, weight_decay=0.1), LazyAdam([always], lr=0.1, weight_decay=0.1)
    for number, gradient in enumerate(gradients):
        sometimes.grad = torch.stack([gradient if number % 2 else torch.zeros(3), torch.zeros(3)])
        first.step()
        if number % 2:
            always.grad = gradient.clone()
            second.step()
    assert torch.equal(sometimes[0], always) and torch.equal(sometimes[1], torch.ones(3))


def test_lazy_adam_goes_on_from_its_state() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = LazyAdam([parameter], lr=0.1)
    parameter.grad = torch.tensor([1.0, 0.0, -2.0])
    optimizer.step()
    copy = nn.Parameter(parameter.detach().clone())
    again = LazyAdam([copy], lr=0.1)
    again.load_state_dict(deepcopy(optimizer.state_dict()))
    for each, one in ((parameter, optimizer), (copy, again)):
        each.grad = torch.tensor([1.0, 1.0, 0.0])
        one.step()
    assert torch.equal(parameter, copy)


def test_scales_and_shifts_do_not_decay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    decaying, others = decay_groups(model, 0.1)
    assert decaying["params"] == [model[3].weight] and decaying["weight_decay"] == 0.1
    assert len(others["params"]) == 4 and others["weight_decay"] == 0.0
