"""Shrinking, its audit, the sampler, and a training loop that goes on exactly where it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces import Space, choice, litepose
from supernet import Supernet
from supernet.errors import UserError
from supernet.training.sampling import Sampler
from supernet.training.schedule import Phase, Plan, cosine, multi_step
from supernet.training.stages import audit, stages
from supernet.training.trainer import Trainer
from tests import tiny_training

SPACE = litepose.SMALL
ALL = list(SPACE.kinds)


def stage(name: str, *opened: str) -> dict[str, Any]:
    """One item of SUPERNET.STAGES."""
    return {"name": name, "open": list(opened), "steps": 2, "epochs": 0, "lr": 1e-3}


# --------------------------------------------------------------------------------------------------------- shrinking


def test_stages_open_one_kind_after_another() -> None:
    """What is open stays open; the rest is at its largest."""
    sizes = [
        s.space.size
        for s in stages(SPACE, [stage("1"), stage("2", "resolution"), stage("3", "kernel"), stage("4", *ALL)])
    ]
    assert sizes[:2] == [1, 2]
    assert sizes[0] < sizes[1] < sizes[2] < sizes[3] == SPACE.size


def test_unknown_choice() -> None:
    """Names the stage and what there is."""
    with pytest.raises(UserError, match="stage 'k': no choice is called 'kernels'; there are resolution, width"):
        stages(SPACE, [stage("k", "kernels")])


def test_audit_covers_every_weight() -> None:
    """All of the largest network's."""
    network = litepose.build(SPACE.largest)
    covered = audit(litepose.build, SPACE, stages(SPACE, [stage("all", *ALL)]))
    assert covered == sum(parameter.numel() for parameter in network.parameters())


def test_audit_names_what_would_never_be_trained() -> None:
    """LitePose's own mistake: its sampler drew fewer blocks than its supernet had and its published networks use."""
    short = SPACE.restrict({"stages[[]2].blocks.depth": [1, 2]})
    with pytest.raises(UserError, match=r"stage.2.2.inv.0.weight: .* would never be trained"):
        audit(litepose.build, SPACE, stages(short, [stage("all", *short.kinds)]))
    with pytest.raises(UserError, match="kernel.*would be searched but never trained"):
        audit(litepose.build, SPACE, stages(SPACE, [stage("all", *(kind for kind in ALL if kind != "kernel"))]))
    with pytest.raises(
        UserError, match="the space does not contain litepose-XS: resolution 256 is not one of 128, 192"
    ):
        audit(
            litepose.build,
            SPACE,
            stages(SPACE, [stage("all", *ALL)]),
            {"litepose-XS": litepose.published()["litepose-XS"]},
        )


def test_audit_names_a_module_that_only_smaller_networks_have() -> None:
    """The largest network owns all weights."""

    @dataclass(frozen=True)
    class Arch:
        plain: int  # 1: nothing; 0: a convolution
        input_hw: tuple[int, int] = (8, 8)

    def build(arch: Arch) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3), *(() if arch.plain else (nn.Conv2d(4, 4, 3),)))

    space: Any = Space(Arch(choice(0, 1)))
    with pytest.raises(UserError, match="1 exists in the smaller network but not in the largest"):
        audit(build, space, stages(space, [stage("all", "plain")]))


def test_sandwich() -> None:
    """Largest and smallest first, all of one input size, none twice."""
    sampler, rng = Sampler(SPACE, "sandwich", 3), np.random.default_rng(0)
    seen = set()
    for _ in range(20):
        drawn = sampler.draw(rng)
        assert len(set(drawn)) == len(drawn) == 5
        assert len({arch.resolution for arch in drawn}) == 1
        assert drawn[0].stages == SPACE.largest.stages
        assert drawn[1].stages == SPACE.smallest.stages
        seen.add(drawn[0].resolution)
    assert seen == {128, 192}
    assert len(Sampler(SPACE, "single_path").draw(rng)) == 1
    assert Sampler(SPACE.restrict({}, rest="largest"), "sandwich", 3).draw(rng) == [SPACE.largest]


# ---------------------------------------------------------------------------------------------------------- the loop


class Criterion:
    """Outputs against numbers."""

    def __call__(self, outputs: Any, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        loss = sum(((output - batch["target"]).square().mean() for output in outputs), torch.zeros(()))
        return loss, {}

    def distillation(self, outputs: Any, teacher_outputs: Any, batch: Mapping[str, Any]) -> Tensor:
        return sum(((o - t).square().mean() for o, t in zip(outputs, teacher_outputs, strict=True)), torch.zeros(()))


def batches(plan: Plan[Any], start: int) -> Iterator[dict[str, Any]]:
    """What a data loader would make of the plan."""
    for step in plan.steps(start):
        rng = np.random.default_rng([9, step.number])
        images = rng.standard_normal((len(step.images), 3, 32, 32)).astype(np.float32)
        yield {"inputs": torch.from_numpy(images), "target": float(rng.standard_normal())}


def trainer(**options: Any) -> tuple[Trainer[Any], Plan[Any]]:
    """A supernet under training by two phases."""
    torch.manual_seed(0)
    supernet = Supernet(litepose.build, SPACE)
    phases = [
        Phase("one", Sampler(SPACE.restrict({"kernel": "all"}, rest="largest"), "sandwich", 1), 3, cosine(1e-3)),
        Phase("two", Sampler(SPACE, "sandwich", 1), 3, multi_step(1e-3, [0.5])),
    ]
    optimizer = torch.optim.Adam(supernet.parameters())
    options = {"distillation": "inplace", "ema": 0.9, **options}
    return Trainer(supernet, supernet, Criterion(), optimizer, dict, **options), Plan(phases, images=7, batch=2, seed=1)


def test_resumed_training_ends_with_the_same_weights() -> None:
    """Stopped after any step, saved, loaded into a fresh trainer: every weight, average and moment is equal."""
    whole, plan = trainer()
    whole.run(plan, batches(plan, 0), lambda step, losses: True)
    for stop in (1, 3, 5):
        part, plan = trainer()
        part.run(plan, batches(plan, 0), lambda step, losses, stop=stop: step.number + 1 < stop)
        assert part.done == stop
        rest, plan = trainer()
        rest.load_state_dict(part.state_dict())
        rest.run(plan, batches(plan, stop), lambda step, losses: True)
        assert rest.done == whole.done == 6
        for name, tensor in whole.weights().items():
            assert torch.equal(tensor, rest.weights()[name]), name


def test_every_image_once_per_epoch() -> None:
    """Seven images in batches of two: each of them once in the first seven draws, and again in the next."""
    _, plan = trainer()
    drawn = [image for step in plan.steps(0) for image in step.images]
    assert sorted(drawn[:7]) == list(range(7))
    assert len(set(drawn[7:12])) == 5
    assert [step.images for step in plan.steps(2)] == [step.images for step in list(plan.steps(0))[2:]]
    assert [step.first for step in plan.steps(0)] == [True, False, False, True, False, False]


def test_diverged_training_stops_before_the_weights_are_lost() -> None:
    """One line with the step; the weights are those of the last good step."""
    made, plan = trainer()
    before = {name: tensor.clone() for name, tensor in made.model.state_dict().items() if "running" not in name}
    corrupt = ({"inputs": torch.full((2, 3, 32, 32), torch.nan), "target": 0.0} for _ in range(6))
    with pytest.raises(UserError, match="loss is nan at step 0 .one.: lower TRAIN.LR"):
        made.run(plan, corrupt, lambda step, losses: True)
    for name, tensor in before.items():
        if "num_batches" not in name:
            assert torch.equal(tensor, made.model.state_dict()[name])


def test_distillation_pulls_towards_the_teacher() -> None:
    """A teacher with other outputs changes the gradient, and gets none itself."""
    gradients = []
    for distillation in ("none", "teacher"):
        teacher = litepose.build(SPACE.largest).eval().requires_grad_(False)
        made, plan = trainer(distillation=distillation, teacher=teacher, clip=1e9)
        made.step(plan.step(0), [next(batches(plan, 0))])
        gradient = next(made.model.parameters()).grad
        assert gradient is not None
        gradients.append(gradient.clone())
        assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not torch.equal(*gradients)
    with pytest.raises(UserError, match="set SUPERNET.TEACHER"):
        trainer(distillation="teacher")


def test_schedules() -> None:
    """Warm-up and decay; steps at milestones."""
    curve = cosine(1.0, warmup=0.1, final=0.01)
    assert curve(0.0) == pytest.approx(0.01)
    assert curve(0.05) == pytest.approx(0.5)
    assert curve(0.1) == pytest.approx(1.0)
    assert curve(1.0) == pytest.approx(0.01)
    steps = multi_step(1.0, [0.7, 0.9])
    assert [steps(p) for p in (0.0, 0.7, 0.95)] == pytest.approx([1.0, 0.1, 0.01])
    warm = multi_step(1.0, [0.7], warmup=0.2)
    assert [warm(p) for p in (0.0, 0.1, 0.2, 0.7)] == pytest.approx([0.01, 0.5, 1.0, 0.1])


def test_hook_before_a_phase_runs_once() -> None:
    """Also when the training is resumed right there."""
    calls: list[str] = []
    made, plan = trainer()
    plan.phases = [plan.phases[0], Phase("two", plan.phases[1].sampler, 3, cosine(1.0), lambda: calls.append("sorted"))]
    made.run(plan, batches(plan, 0), lambda step, losses: step.number < 2)
    assert calls == []
    made.run(plan, batches(plan, 3), lambda step, losses: True)
    assert calls == ["sorted"]


def test_trainer_accepts_any_module() -> None:
    """A single network is trained by the same loop."""
    network = nn.Sequential(nn.Conv2d(3, 2, 1))
    arch = SPACE.smallest
    plan = Plan([Phase("n", Sampler(type(SPACE)(arch)), 4, lambda _: 0.1)], images=4, batch=2, seed=0)
    made = Trainer(
        lambda images, _: [network(images)], network, Criterion(), torch.optim.SGD(network.parameters()), dict
    )
    losses: list[float] = []
    made.run(
        plan,
        ({**batch, "target": 1.0} for batch in batches(plan, 0)),
        lambda s, loss: losses.append(loss["loss"]) or True,
    )  # type: ignore[func-returns-value]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ({"precision": torch.bfloat16}, 1.0),
        ({"precision": torch.float16, "loss_scale": 64.0}, 64.0),
        ({"precision": torch.float16}, 2.0**15),  # the first step overflows
    ],
)
def test_mixed_precision(options: dict[str, Any], scale: float) -> None:
    """Near the weights of float32, not equal to them; the loss scale is in the state, and a stop changes nothing."""
    exact, plan = tiny_training.training(4)
    exact.run(plan, tiny_training.batches(plan.steps(0)), lambda step, losses: True)
    mixed, plan = tiny_training.training(4, torch.float32, **options)
    mixed.run(plan, tiny_training.batches(plan.steps(0)), lambda step, losses: step.number < 1)
    assert mixed.scaler.get_scale() == scale
    rest, plan = tiny_training.training(4, torch.float32, **options)
    rest.load_state_dict(copy.deepcopy(mixed.state_dict()))
    assert rest.scaler.get_scale() == scale
    for made in (mixed, rest):
        made.run(plan, tiny_training.batches(plan.steps(2)), lambda step, losses: True)
    for name, tensor in mixed.model.state_dict().items():
        assert torch.equal(tensor, rest.model.state_dict()[name])
    weight = next(mixed.model.parameters()).double()
    difference = (weight - next(exact.model.parameters())).abs().max()
    assert 0 < difference < 0.05


def test_an_overflow_changes_no_weight() -> None:
    """In float16 the step is left out, and the scale becomes smaller; a fixed scale stays."""
    for options, scale in (({}, 2.0**15), ({"loss_scale": 2.0**16}, 2.0**16)):
        made, plan = tiny_training.training(4, torch.float32, precision=torch.float16, ema=0.0, **options)
        before = [parameter.clone() for parameter in made.model.parameters()]
        (batch,) = map(made.prepare, tiny_training.batches(iter([plan.step(0)])))
        next(made.model.parameters()).register_hook(lambda gradient: gradient * torch.inf)
        made.step(plan.step(0), [batch])
        assert all(torch.equal(old, new) for old, new in zip(before, made.model.parameters(), strict=True))
        assert made.scaler.get_scale() == scale
