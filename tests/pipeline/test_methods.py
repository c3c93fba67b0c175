"""Methods of training a supernet as keys of the configuration: each does what it says, and a stopped training goes on exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.pipeline import inputs, keys
from supernet.pipeline.own_teacher import OwnTeacher
from supernet.pipeline.process_group import SINGLE_PROCESS
from supernet.pipeline.run import Run
from supernet.pipeline.train import train_supernet
from supernet.pipeline.training import new_supernet, optimizer, phases_of, schedule_of, supernet_trainer
from supernet.training.lazy_adam import LazyAdam
from supernet.training.trainer import Trainer
from tests.tiny_run import configured

STAGES = "[{name: largest, open: [], steps: 2, lr: 0.004}, {name: all, open: [deconv_width], steps: 2, lr: 0.0004}]"
SINGLE = ("SUPERNET.SAMPLING", "single_path", "SUPERNET.DISTILLATION", "none")
#: Each method's keys, the first of which is new; none of them is an input of a result where it has its default.
METHODS = {
    "SUPERNET.PATHS": ("2",),
    "SUPERNET.COVERAGE": ("0.5",),
    "SUPERNET.ONE_CURVE": ("true",),
    "SUPERNET.FINAL_LR": ("0.1",),
    "SUPERNET.DISTILLATION_RAMP": ("0.5", "SUPERNET.DISTILLATION", "inplace", "SUPERNET.SAMPLING", "sandwich"),
    "TRAIN.WD_NORM": ("false", "TRAIN.OPTIMIZER", "adamw"),
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The settings of a small run."""
    return Path(configured(tmp_path_factory.mktemp("methods"))[1])


def run_of(file: Path, *overrides: str) -> Run:
    return Run(load_config(file, [*SINGLE, *overrides]), file)


def made(run: Run) -> tuple[Any, list[Any], Trainer[Any]]:
    """The step, its phases, and its trainer."""
    step, schedule = inputs.supernet_training(run), schedule_of(run)
    teacher = OwnTeacher(run, Path("none"), SINGLE_PROCESS) if step.distillation == "largest" else None
    return step, phases_of(run, step, schedule), supernet_trainer(run, new_supernet(run), step, schedule, teacher)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_an_input_of_the_result_and_its_default_is_none(file: Path, name: str) -> None:
    value, *others = METHODS[name]
    assert name not in keys.provenance(inputs.supernet_training(run_of(file, *others)))
    assert name in keys.provenance(inputs.supernet_training(run_of(file, *others, name, value)))


def test_architectures_share_a_batch(file: Path) -> None:
    _, (phase,), trainer = made(run_of(file, "SUPERNET.PATHS", "2"))
    assert trainer.share_batch and (phase.sampler.sampling, phase.sampler.random) == ("multi_path", 2)
    _, (phase,), trainer = made(run_of(file))
    assert not trainer.share_batch and phase.sampler.sampling == "single_path" and phase.sampler.coverage == 0


def test_costs_are_covered(file: Path) -> None:
    """In every stage that has more than one architecture."""
    _, (largest, everything), _ = made(run_of(file, "SUPERNET.COVERAGE", "1.0", "SUPERNET.STAGES", STAGES))
    assert largest.sampler.coverage == 0 and everything.sampler.coverage == 1
    assert len({everything.sampler.draw(np.random.default_rng(seed))[0] for seed in range(20)}) > 1


def test_one_curve_over_all_stages(file: Path) -> None:
    """It does not begin again with the second stage, and ends at the floor."""
    stages = STAGES.replace("0.0004", "0.004")
    _, phases, _ = made(
        run_of(file, "SUPERNET.ONE_CURVE", "true", "SUPERNET.FINAL_LR", "0.1", "SUPERNET.STAGES", stages)
    )
    _, each, _ = made(run_of(file, "SUPERNET.FINAL_LR", "0.1", "SUPERNET.STAGES", stages))
    assert phases[0].lr(1.0) == pytest.approx(phases[1].lr(0.0)) and phases[0].lr(1.0) > 0.002
    assert [phase.lr(1.0) for phase in each] == pytest.approx([0.0004, 0.0004]) and phases[1].lr(1.0) == pytest.approx(
        0.0004
    )
    _, (whole,), _ = made(run_of(file))
    assert whole.lr(1.0) == pytest.approx(0.01 * whole.lr(0.05))


@pytest.mark.parametrize(
    ("name", "kind", "decays"),
    [
        ("adam", torch.optim.Adam, [0]),
        ("adamw", torch.optim.AdamW, [0.5, 0]),
        ("sgd", torch.optim.SGD, [0.5, 0]),
        ("lazy_adam", LazyAdam, [0]),
        ("lazy_adamw", LazyAdam, [0.5, 0]),
    ],
)
def test_optimisers_and_what_decays(file: Path, name: str, kind: type, decays: list[float]) -> None:
    found = {}
    for norms in ("true", "false"):
        run = run_of(file, "TRAIN.OPTIMIZER", name, "TRAIN.WD", "0.5", "TRAIN.WD_NORM", norms)
        network = run.build(run.space.smallest)
        found[norms] = optimizer(network, inputs.optimisation(run))
        assert type(found[norms]) is kind
        assert sum(len(group["params"]) for group in found[norms].param_groups) == len([*network.parameters()])
    assert [group["weight_decay"] for group in found["true"].param_groups] == decays[:1]
    assert [group["weight_decay"] for group in found["false"].param_groups] == decays


def test_distillation_from_the_largest_begins_with_the_first_stage_that_opens(file: Path) -> None:
    options = ("SUPERNET.DISTILLATION", "largest", "SUPERNET.DISTILLATION_RAMP", "0.25", "SUPERNET.STAGES", STAGES)
    _, _, trainer = made(run_of(file, *options))
    assert (trainer.distillation, trainer.start, trainer.ramp) == ("teacher", 2, 1)
    _, _, trainer = made(run_of(file, *options, "SUPERNET.DISTILLATION", "none"))
    assert (trainer.distillation, trainer.start, trainer.ramp) == ("none", 0, 0)


#: All of them in two trainings of four steps.
TRAININGS = {
    "shared": ("SUPERNET.PATHS", "2", "SUPERNET.COVERAGE", "0.5", "TRAIN.OPTIMIZER", "lazy_adamw", "TRAIN.WD_NORM", "false",
               "SUPERNET.ONE_CURVE", "true", "SUPERNET.STAGES", STAGES.replace("0.0004", "0.004")),
    "taught": ("SUPERNET.DISTILLATION", "largest", "SUPERNET.DISTILLATION_RAMP", "0.5", "SUPERNET.EMA", "0.5",
               "SUPERNET.STAGES", STAGES),
}  # fmt: skip


class Killed(Exception):
    """In place of a signal that ends the process at once."""


def trained(file: Path, folder: Path, *overrides: str, killed_before: int = -1) -> Any:
    """The supernet's weights, perhaps after the training was killed before a step and started again."""
    run = run_of(file, *overrides, "OUTPUT_DIR", str(folder), "CHECKPOINT_SECONDS", "0")
    step = Trainer.step

    def dying(trainer: Trainer[Any], planned: Any, batches: Any) -> Any:
        if planned.number == killed_before:
            raise Killed
        return step(trainer, planned, batches)

    if killed_before >= 0:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Trainer, "step", dying)
            train_supernet(run)
    path = train_supernet(run_of(file, *overrides, "OUTPUT_DIR", str(folder)))
    assert sorted(item.name for item in path.parent.iterdir() if item.suffix == ".pt") == ["weights.pt"]
    return checkpoint.read(path)["state_dict"]


@pytest.mark.parametrize(("name", "killed_before"), [("shared", 3), ("taught", 2), ("taught", 3)])
def test_a_killed_training_ends_with_the_same_weights(
    file: Path, name: str, killed_before: int, tmp_path: Path
) -> None:
    """Also in the step that begins with a teacher, and in the one after it."""
    whole = trained(file, tmp_path / "whole", *TRAININGS[name])
    again = trained(file, tmp_path / "killed", *TRAININGS[name], killed_before=killed_before)
    assert all(torch.equal(tensor, again[key]) for key, tensor in whole.items())


def test_the_largest_teaches_and_its_weights_are_those_before_the_stage(file: Path, tmp_path: Path) -> None:
    """The teacher's file is the largest network after the first stage; without distillation the training ends elsewhere."""
    overrides = (*TRAININGS["taught"], "SUPERNET.EMA", "0")
    with pytest.raises(Killed), pytest.MonkeyPatch.context() as patch:
        step = Trainer.step

        def dying(trainer: Trainer[Any], planned: Any, batches: Any) -> Any:
            if planned.number == 3:
                raise Killed
            return step(trainer, planned, batches)

        patch.setattr(Trainer, "step", dying)
        train_supernet(run_of(file, *overrides, "OUTPUT_DIR", str(tmp_path), "CHECKPOINT_SECONDS", "0"))
    (path,) = tmp_path.rglob("teacher.pt")
    teacher = checkpoint.read(path)["state_dict"]
    first = STAGES.partition("}")[0] + "}, {name: all, open: [deconv_width], steps: 1, lr: 1.0e-30}]"
    plain = trained(file, tmp_path / "first", "SUPERNET.STAGES", first)
    parameters = [key for key in teacher if key.endswith("weight")]
    assert all(torch.equal(teacher[key], plain[f"network.{key}"]) for key in parameters)
    path.unlink()
    with pytest.raises(
        UserError, match="teacher.pt: no such file, from which SUPERNET.DISTILLATION largest learns; remove"
    ):
        train_supernet(run_of(file, *overrides, "OUTPUT_DIR", str(tmp_path)))
    taught, alone = (
        trained(file, tmp_path / kind, *overrides, "SUPERNET.DISTILLATION", kind) for kind in ("largest", "none")
    )
    assert any(not torch.equal(tensor, alone[key]) for key, tensor in taught.items())
