"""Which architectures a step runs: sandwiches, single paths, and the best or worst of candidates of like cost."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch

from search_spaces.space import Space, choice, repeat
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.pipeline.run import Run
from supernet.training.sampling import POOL, Sampler
from supernet.training.schedule import Phase, Plan, cosine
from supernet.training.trainer import Trainer
from tests import tiny_training
from tests.paths import ROOT
from tests.toy_search import Block
from tools.bench import shrinking


@dataclass(frozen=True)
class Net:
    resolution: Any
    blocks: Any


SPACE: Space[Net] = Space(
    Net(choice(64, 96), repeat(Block(choice(3, 5, 7), choice(8, 12, 16, 24)), depth=choice(2, 3, 4, 5)))
)


def macs_of(net: Net) -> int:
    return int(net.resolution**2 * sum(block.kernel**2 * block.width for block in net.blocks))


def macs(codes: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
    return np.array([macs_of(SPACE.decode(code)) for code in codes], dtype=np.int64)


def sampler(sampling: Any, random: int = 2, candidates: int = 3) -> Sampler[Net]:
    return Sampler(SPACE, sampling, random, candidates=candidates, cost=macs)


def groups_of(step: int, sampling: str = "best_up", **sizes: int) -> list[list[Net]]:
    """What the sampler offers to choose from in a step, as the plan asks for it."""
    rng, drawing = np.random.default_rng([0, 0, step]), sampler(sampling, **sizes)
    return drawing.candidate_groups(drawing.draw(rng)[0], rng)


@pytest.mark.parametrize("sampling", ["best_up", "worst_up"])
def test_largest_and_smallest_run_and_the_others_are_chosen(sampling: str) -> None:
    drawing = sampler(sampling)
    for step in range(8):
        rng = np.random.default_rng([0, 0, step])
        ends = drawing.draw(rng)
        groups = drawing.candidate_groups(ends[0], rng)
        assert [net.blocks for net in ends] == [SPACE.largest.blocks, SPACE.smallest.blocks]
        assert [len(group) for group in groups] == [3, 3]
        assert {net.resolution for group in [ends, *groups] for net in group} == {ends[0].resolution}
        assert all(len(set(group)) == len(group) for group in groups)


@pytest.mark.parametrize("sampling", ["sandwich", "single_path"])
def test_other_ways_choose_nothing(sampling: str) -> None:
    assert groups_of(0, sampling) == []


def test_candidates_are_alike_in_cost_and_costs_are_as_frequent_as_in_the_space() -> None:
    """Within a group costs differ far less than between groups; group costs have the spread of random architectures."""
    groups = [group for step in range(30) for group in groups_of(step)]
    costs = np.array([[macs_of(net) / net.resolution**2 for net in group] for group in groups])
    uniform = np.array([macs_of(SPACE.decode(c)) / SPACE.decode(c).resolution**2
                        for c in SPACE.sample_codes(400, np.random.default_rng(1))])  # fmt: skip
    within = np.ptp(costs, axis=1)
    assert np.median(within) < uniform.std() / POOL * 2
    assert costs[:, 0].mean() == pytest.approx(uniform.mean(), rel=0.1)
    assert costs[:, 0].std() == pytest.approx(uniform.std(), rel=0.2)


def test_the_best_and_the_worst_of_each_group() -> None:
    loss = {net: float(index) for group in groups_of(3) for index, net in enumerate(group)}
    groups = groups_of(3)
    assert sampler("best_up").choose(groups, loss.__getitem__) == [group[0] for group in groups]
    assert sampler("worst_up").choose(groups, loss.__getitem__) == [group[-1] for group in groups]
    assert sampler("best_up").choose(groups, lambda _: 0.5) == [group[0] for group in groups]  # of equals the first
    assert sampler("worst_up").choose(groups, lambda _: 0.5) == [group[0] for group in groups]


def test_nothing_is_chosen_before_anything_is_open() -> None:
    shut = SPACE.restrict({}, rest="largest")
    drawing: Sampler[Net] = Sampler(shut, "best_up", 2)
    rng = np.random.default_rng(0)
    assert drawing.draw(rng) == [shut.largest] and drawing.candidate_groups(shut.largest, rng) == []


def test_steps_draw_the_same_again_and_others_something_else() -> None:
    assert groups_of(5) == groups_of(5) != groups_of(6)


def test_what_cannot_be_chosen_is_refused() -> None:
    with pytest.raises(UserError, match="SUPERNET.CANDIDATES is 1: best_up chooses among at least 2"):
        sampler("best_up", candidates=1)
    with pytest.raises(ValueError, match="worst_up needs the cost of codes"):
        Sampler(SPACE, "worst_up")


# ------------------------------------------------------------------------------------------- tools/bench/shrinking.py


def bench_variants(*overrides: str, compare: str = "shrinking") -> dict[str, Any]:
    cfg = ROOT / "experiments" / "synthetic" / "litepose.yaml"
    base = Run(load_config(cfg, list(overrides)), cfg)
    return {
        name: load_config(cfg, [*overrides, *more]).SUPERNET for name, more in shrinking.variants(base, compare).items()
    }


def test_both_trainings_read_as_many_batches_and_open_the_same_in_the_end() -> None:
    found = bench_variants()
    stages, (once,) = found["progressive"].STAGES, found["none"].STAGES
    assert len(stages) == 3 and once["steps"] == sum(stage["steps"] for stage in stages) == 3400
    assert set(once["open"]) == {kind for stage in stages for kind in stage["open"]} and once["lr"] == 0.005
    samplings = bench_variants(compare="sampling")
    assert [node.SAMPLING for node in samplings.values()] == ["sandwich", "best_up", "worst_up"]
    with pytest.raises(UserError, match="SUPERNET.STAGES has to name stages, all of them in steps or all in epochs"):
        bench_variants("SUPERNET.STAGES", "[]")


def test_the_front_is_measured_on_a_scale_of_its_space() -> None:
    """Largest (10 M, 0.8), smallest (2 M, 0.4), one on the front at 4 M with 0.6 and one below it at 8 M with 0.5."""
    points = pd.DataFrame({"macs": [10e6, 2e6, 4e6, 8e6], "score": [0.8, 0.4, 0.6, 0.5]})
    found = shrinking.summary(points)
    assert found == pytest.approx(
        {"hypervolume": 0.4 * 1.0 + 0.2 * 0.75, "largest": 0.8, "smallest": 0.4, "mean": 0.575}
    )


# ------------------------------------------------------------------------------------------------- within a training


def choosing(sampling: Any) -> tuple[Trainer[tiny_training.Arch], Plan[tiny_training.Arch], list[Any]]:
    """A training that chooses, and what its network was asked: (architecture, loss where it was only evaluated)."""
    trainer, _ = tiny_training.training(4)
    space = tiny_training.SPACE
    plan = Plan(
        [
            Phase(
                "all",
                Sampler(space, sampling, 1, cost=lambda codes: codes.sum(axis=1, dtype=np.int64)),
                6,
                cosine(0.01),
            )
        ],
        7,
        4,
        1,
    )
    network, criterion, asked = trainer.network, trainer.criterion, list[Any]()

    def evaluated(outputs: Any, batch: Any) -> Any:
        loss, parts = criterion(outputs, batch)
        asked[-1] = (asked[-1], None if torch.is_grad_enabled() else float(loss))
        return loss, parts

    trainer.network = lambda images, arch: asked.append(arch) or network(images, arch)
    evaluated.distillation = criterion.distillation  # type: ignore[attr-defined]
    trainer.criterion = evaluated  # type: ignore[assignment]
    return trainer, plan, asked


@pytest.mark.parametrize(("sampling", "select"), [("best_up", min), ("worst_up", max)])
def test_a_step_trains_the_candidate_of_least_or_largest_loss(sampling: str, select: Any) -> None:
    trainer, plan, asked = choosing(sampling)
    several = 0
    for step in plan.steps(0):
        asked.clear()
        trainer.step(step, map(trainer.prepare, tiny_training.batches(iter([step]))))
        (group,) = step.candidate_groups
        evaluated = [loss for arch, loss in asked if loss is not None]
        assert [arch for arch, loss in asked if loss is not None] == list(group)
        chosen = group[evaluated.index(select(evaluated))]
        assert [arch for arch, loss in asked if loss is None] == list(dict.fromkeys((*step.architectures, chosen)))
        several += len(group) > 1
    assert several >= 3


def test_a_training_that_chooses_goes_on_as_if_it_had_never_stopped() -> None:
    def run(trainer: Trainer[Any], plan: Plan[Any], until: int) -> dict[str, Any]:
        data = tiny_training.batches(plan.steps(trainer.done))
        trainer.run(plan, data, lambda step, _: step.number + 1 < until)
        return trainer.state_dict()

    whole = run(*choosing("best_up")[:2], 6)
    trainer, plan, _ = choosing("best_up")
    half = copy.deepcopy(run(trainer, plan, 3))
    again, plan, _ = choosing("best_up")
    again.load_state_dict(half)
    rest = run(again, plan, 6)
    assert half["done"] == 3 and rest["done"] == whole["done"] == 6
    assert all(torch.equal(rest["model"][name], tensor) for name, tensor in whole["model"].items())
