"""Corrupt images in a training, and its memory."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from supernet.errors import UserError
from supernet.pipeline.fit import Keeping, fit
from tests.robust.test_robust import Eventful, go
from tests.tiny_training import training


def test_corrupt_images_are_named_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each once; what is one too many ends the training with the list."""
    names = ["a.jpg", "b.jpg"]
    go(tmp_path / "two", lambda number: names)
    out = capsys.readouterr().out
    assert out.count("warning: a.jpg; another image stands in for it (1 of 2 allowed)") == 1
    assert out.count("warning: b.jpg; another image stands in for it (2 of 2 allowed)") == 1
    with pytest.raises(UserError, match=r"3 training images cannot be read, DATASET.MAX_BROKEN allows 2: a.*; b.*; c"):
        go(tmp_path / "three", lambda number: names + ["c.jpg"] * (number == 3))
    assert torch.load(tmp_path / "three" / "checkpoint.pt")["trainer"]["done"] == 3


def test_corrupt_images_of_before_a_stop_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two before it and a third one after it are three."""
    names = ["a.jpg", "b.jpg"]
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, lambda number: os.kill(os.getpid(), signal.SIGTERM) if number == 2 else names)
    capsys.readouterr()
    with pytest.raises(UserError, match="3 training images cannot be read.*: a.jpg; b.jpg; c.jpg"):
        go(tmp_path, lambda number: ["b.jpg", "c.jpg"])
    assert "warning: b.jpg" not in capsys.readouterr().out


@pytest.mark.slow
def test_memory_stays_flat(tmp_path: Path) -> None:
    """Of 2,000 steps with a checkpoint every second, after the first tenth: within 5 %."""
    sizes: list[int] = []
    pages = resource.getpagesize()

    def measure(number: int) -> None:
        sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * pages)

    trainer, plan = training(2000)
    task: Any = Eventful(measure)
    fit(tmp_path, "long", trainer, plan, task, [], {}, {}, Keeping(seconds=1.0))
    settled = sizes[len(sizes) // 10 :]
    assert max(settled) <= 1.05 * min(settled), (min(settled), max(settled))
