"""A training that is killed at any moment, and started again, ends with the weights of one that was not."""

from __future__ import annotations

import csv
import multiprocessing
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from supernet.programs.fitting import Keeping, fit
from tests.tiny_training import Task, training

STEPS = 25


def run(folder: Path, kill_at: int = 0) -> int:
    """Train in a process of its own; returns its exit code.

    Args:
        folder: of the training; a checkpoint is written after every step.
        kill_at: the call of a function, Python's or C's, at which the process gets SIGKILL; 0 for none.
    """
    process = multiprocessing.get_context("fork").Process(target=_train, args=(folder, kill_at))
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


def _train(folder: Path, kill_at: int) -> None:
    torch.set_num_threads(1)
    trainer, plan = training(STEPS)
    calls = 0

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    task: Any = Task()
    fit(folder, "killed", trainer, plan, task, [], {"SEED": 1}, {}, Keeping(seconds=0.0))
    sys.setprofile(None)
    (folder.parent / "calls").write_text(str(calls))


def outcome(folder: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, str]]]:
    """Weights and log of a training that has ended; nothing else is left but its curves."""
    assert {entry.name for entry in folder.iterdir()} == {"weights.pt", "log.csv", "tensorboard"}
    with (folder / "log.csv").open() as file:
        rows = [{name: row[name] for name in row if name != "images_per_second"} for row in csv.DictReader(file)]
    return torch.load(folder / "weights.pt")["state_dict"], rows


@pytest.mark.parametrize("kills", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_training(tmp_path: Path, kills: int) -> None:
    """Weights bit for bit, and every line of the log once."""
    training(STEPS)  # what torch imports late is then there in every process
    assert run(tmp_path / "whole") == 0
    weights, log = outcome(tmp_path / "whole")
    assert [row["step"] for row in log] == ["20", "25"]
    calls, rng, done = int((tmp_path / "calls").read_text()), np.random.default_rng(0), 0
    folder = tmp_path / "killed"
    while done < kills or folder.exists():
        code = run(folder, int(rng.integers(1, calls)) if done < kills else 0)
        assert code in (0, -signal.SIGKILL)
        done += code != 0
        if code == 0:
            found, lines = outcome(folder)
            assert list(found) == list(weights)
            assert all(torch.equal(found[name], weights[name]) for name in weights)
            assert lines == log
            shutil.rmtree(folder)
