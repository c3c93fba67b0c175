"""A process that loads images is killed in any phase of a step: one line, and the training goes on bit-equal."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from supernet.cli.command import run_program
from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.pipeline.fit import Keeping, fit
from supernet.pipeline.steps import BATCH
from supernet.pose.datasets.loader import load
from tests.robust.test_robust import STEPS, go, goes_on
from tests.robust.test_robust import whole as whole
from tests.tiny_training import Task, batches, training


class Made:
    """The batch of a step by its number, and who made it."""

    def __init__(self, steps: list[Any]) -> None:
        self.batches = list(batches(iter(steps)))

    def __getitem__(self, request: tuple[int]) -> Any:
        return {**self.batches[request[0]], "worker": os.getpid()}


class Loaded(Task):
    """Batches by a worker process."""

    def batches(self, dataset: Any, steps: Iterator[Any]) -> Iterator[dict[str, Any]]:
        parts = list(steps)
        made: Any = load(
            Made(parts), len(parts), [[(n,)] for n in range(len(parts))], lambda samples: dict(samples[0]), workers=1, pin=False
        )  # fmt: skip
        return made


def kill(worker: int) -> None:
    os.kill(worker, signal.SIGKILL)
    time.sleep(0.3)  # the system tells this process at once, in whatever it does


@pytest.mark.parametrize("phase", ["prepare", "forward", "backward", "optimiser", "average", "saving", "waiting"])
def test_a_worker_killed_in_any_phase(
    phase: str, whole: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, plan = training(STEPS)
    worker: list[int] = []

    def prepare(batch: Any) -> Any:
        worker[:] = [batch["worker"]]
        return {name: value for name, value in batch.items() if name != "worker"}

    def then_kill(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            if trainer.done >= 2:
                kill(worker[0])
            return result

        return call

    trainer.prepare = prepare
    place: Any = {
        "prepare": (trainer, "prepare"),
        "forward": (trainer, "network"),
        "backward": (trainer, "_passes"),
        "optimiser": (trainer.optimizer, "step"),
        "average": (trainer, "_update_average"),
        "saving": (checkpoint, "save_beside_previous"),
        "waiting": (trainer, "step"),
    }[phase]
    monkeypatch.setattr(*place, then_kill(getattr(*place)))
    task: Any = Loaded()
    with pytest.raises(
        UserError, match=r"^DataLoader worker .* was killed, mostly for want of memory; set WORKERS lower"
    ) as e:
        fit(tmp_path, "tiny", trainer, plan, task, [], {"SEED": 1, BATCH: plan.batch}, {}, Keeping(seconds=0.0))
    assert "\n" not in str(e.value)
    monkeypatch.undo()
    goes_on(tmp_path, whole)


def test_a_program_ends_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main(_: object) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    with pytest.raises(SystemExit) as caught:
        run_program(main)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: DataLoader worker (pid 7) is killed by signal: Killed: a process")


def test_other_errors_are_not_taken_for_it() -> None:
    def main(_: object) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        run_program(main)


def test_another_number_of_threads_is_said_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(number: int) -> None:
        if number == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, stop)
    assert checkpoint.read(tmp_path / "checkpoint.pt")["threads"] == 1
    torch.set_num_threads(2)
    try:
        go(tmp_path)
    finally:
        torch.set_num_threads(1)
    assert "warning: tiny: begun with 1 threads, going on with 2: sums of another order" in capsys.readouterr().out
    assert checkpoint.read(tmp_path / "weights.pt")["threads"] == 2


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("trainer", 5, "it has not all of done, model"),
        ("trainer.done", 10**9, "'done' is 1,000,000,000, this training has 6 steps"),
        ("trainer.done", -5, "'done' is -5, no number of steps"),
        ("corrupt", "x", "'corrupt' is no list of lines"),
        ("processes", -1, "'processes' or 'threads' is no number"),
        ("threads", "x", "'processes' or 'threads' is no number"),
        ("settings", 3, "its settings are no mapping"),
    ],
)
def test_a_checkpoint_with_a_wrong_field_trains_nothing(field: str, value: Any, message: str, tmp_path: Path) -> None:
    trainer, _ = training(STEPS)
    node: Any = {
        "trainer": trainer.state_dict(),
        "settings": {"SEED": 1, BATCH: 4},
        "processes": 1,
        "corrupt": [],
        "threads": 1,
    }
    content, *names = node, *field.split(".")
    for name in names[:-1]:
        node = node[name]
    node[names[-1]] = value
    checkpoint.save(tmp_path / "checkpoint.pt", content)
    with pytest.raises(UserError, match=f"checkpoint.pt: .*{message}.*; remove it to begin anew"):
        go(tmp_path)
    assert not (tmp_path / "weights.pt").exists()
