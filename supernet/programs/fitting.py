"""Train to the end of a plan: with progress, checkpoints that a later run goes on from, and a clean stop."""

from __future__ import annotations

import csv
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.utils.tensorboard.writer import SummaryWriter

from .. import checkpoint
from ..errors import UserError
from ..training import Plan, Step, Trainer
from .data import AnyDataset
from .progress import Progress, say
from .tasks import Task

CHECKPOINT_SECONDS = 60.0
LOG_STEPS = 20
WEIGHTS, CHECKPOINT, LOG = "weights.pt", "checkpoint.pt", "log.csv"


def optimizer(
    model: nn.Module, name: str, weight_decay: float, momentum: float, nesterov: bool
) -> torch.optim.Optimizer:
    """``adam``, ``adamw`` or ``sgd`` on all parameters; the loop sets the learning rate.

    ``adam`` takes no weight decay, as in the programs of HRNet and HigherHRNet, whose files name one all the same.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if name == "adam":
        return torch.optim.Adam(parameters, fused=True)
    if name == "adamw":
        return torch.optim.AdamW(parameters, weight_decay=weight_decay, fused=True)
    if name == "sgd":
        return torch.optim.SGD(parameters, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, fused=True)
    raise UserError(f"TRAIN.OPTIMIZER {name!r} is not known; there are adam, adamw and sgd")


def finished(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the training of these settings has already ended here.

    Raises:
        UserError: when another training has, naming the first setting that differs.
    """
    path = folder / WEIGHTS
    if not path.exists():
        return False
    check_settings(path, checkpoint.read(path).get("settings", {}), settings)
    return True


def check_settings(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to go on from what was made with other settings."""
    for key in sorted(set(found) | set(wanted)):
        if found.get(key) != wanted.get(key):
            raise UserError(
                f"{path}: was made with {key} {found.get(key)!r}, now it is {wanted.get(key)!r}; "
                "set another OUTPUT_DIR, or remove the run folder to begin anew"
            )


def fit(
    folder: Path,
    title: str,
    trainer: Trainer[Any],
    plan: Plan[Any],
    task: Task,
    dataset: AnyDataset,
    settings: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> None:
    """Run the plan from wherever a former run stopped, and write ``weights.pt`` with ``extra`` when it ends.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when the step is done and the checkpoint is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CHECKPOINT
    if path.exists():
        state = checkpoint.read(path)
        check_settings(path, state["settings"], settings)
        trainer.load_state_dict(state["trainer"])
        say(f"{title}: going on from step {trainer.done:,} of {len(plan):,}")
    saved = time.monotonic()
    started, begun = time.monotonic(), trainer.done

    def keep() -> None:
        checkpoint.save(path, {"trainer": trainer.state_dict(), "settings": dict(settings)})

    with _stop_signals() as stopped, Progress(title, len(plan), trainer.done) as progress, _Log(folder, begun) as log:

        def on_step(step: Step[Any], losses: dict[str, float]) -> bool:
            nonlocal saved
            done = trainer.done
            speed = (done - begun) * plan.batch / (time.monotonic() - started)
            progress.to(done, stage=step.phase.name, loss=losses["loss"], images_s=speed)
            if done % LOG_STEPS == 0 or done == len(plan):
                log.write(done, {"stage": step.phase.name, "lr": step.lr, "images_per_second": speed, **losses})
            if stopped() or time.monotonic() - saved > CHECKPOINT_SECONDS:
                keep()
                saved = time.monotonic()
            return not stopped()

        trainer.run(plan, task.batches(dataset, plan.steps(trainer.done)), on_step)
    if trainer.done < len(plan):
        raise KeyboardInterrupt
    checkpoint.save(folder / WEIGHTS, {"state_dict": trainer.weights(), "settings": dict(settings), **extra})
    path.unlink(missing_ok=True)


class _Log:
    """Figures of the training, as CSV and for TensorBoard. What a former run wrote beyond its checkpoint is dropped."""

    def __init__(self, folder: Path, done: int) -> None:
        self.path = folder / LOG
        rows: list[dict[str, str]] = []
        if self.path.exists() and done:
            with self.path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= done]
        self.file = self.path.open("w", newline="")
        self.writer: csv.DictWriter[str] | None = None
        self.curves = SummaryWriter(str(folder / "tensorboard"), purge_step=done)
        for row in rows:
            self._row(row)

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.curves.close()

    def write(self, step: int, figures: Mapping[str, float | str]) -> None:
        self._row({"step": step, **figures})
        self.file.flush()
        for name, value in figures.items():
            if not isinstance(value, str):
                self.curves.add_scalar(name, value, step)

    def _row(self, row: Mapping[str, Any]) -> None:
        if self.writer is None:
            self.writer = csv.DictWriter(self.file, list(row))
            self.writer.writeheader()
        self.writer.writerow(row)


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM are remembered, so that the step in hand can end."""
    received: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
