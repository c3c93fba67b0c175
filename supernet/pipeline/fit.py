"""Train to the end of a plan: with progress, checkpoints that a later run goes on from, and a clean stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import distributed, nn

from ..distributed import any_process
from ..errors import UserError
from ..io import checkpoint
from ..io.files import sweep
from ..pose.protocols import KeypointDataset
from ..pose.task import Task
from ..search.journal import differences
from ..training.schedule import Plan, Step
from ..training.trainer import Trainer
from .corrupt_images import CorruptImages
from .process_group import SINGLE_PROCESS, ProcessGroup
from .progress import Progress, say
from .training_log import TrainingLog

LOG_STEPS = 20
WEIGHTS, CHECKPOINT = "weights.pt", "checkpoint.pt"
#: Keys of what is reported on, which neither trains nor is searched on.
REPORTED = (
    "DATASET.ANNOTATIONS.TEST",
    "DATASET.DATASET_TEST",
    "DATASET.IMAGES.TEST",
    "DATASET.MPII_GT",
    "DATASET.SYNTHETIC.VAL",
    "DATASET.TEST",
    "TEST.MODEL_FILE",
)
#: Keys among those of a training that change nothing in it.
NOT_OF_TRAINING = (*REPORTED, "DATASET.CALIBRATION_IMAGES", "RETRAIN.FROM_SCRATCH")


@dataclass(frozen=True)
class Keeping:
    """How a training is kept from being lost.

    Attributes:
        seconds: between two checkpoints.
        resume: go on from the last checkpoint; a finished training stays.
        max_broken: how many images other ones may stand in for, of all processes together.
    """

    seconds: float = 60.0
    resume: bool = True
    max_corrupt: int = 0


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
    check_settings(path, _settings(checkpoint.read(path)), settings, NOT_OF_TRAINING)
    _tidy(folder)
    return True


def made_with(folder: Path) -> Mapping[str, Any]:
    """The settings of the training in a folder, ended or not; none where there is no training, or it does not say."""
    path = folder / WEIGHTS
    return _settings(checkpoint.read(path) if path.exists() else checkpoint.newest(folder / CHECKPOINT)[0])


def _settings(content: Any) -> Mapping[str, Any]:
    found = content.get("settings") if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def check_settings(
    path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any], may_differ: Collection[str] = ()
) -> None:
    """Refuse to go on from what was made with other settings."""
    for key, (old, new) in differences(found, wanted, may_differ).items():
        raise UserError(
            f"{path}: was made with {key} {old!r}, now it is {new!r}; "
            "set another OUTPUT_DIR, or move the old folder away to begin anew, as search.py does by itself"
        )


def fit(
    folder: Path,
    title: str,
    trainer: Trainer[Any],
    plan: Plan[Any],
    task: Task[Any],
    dataset: KeypointDataset[Any],
    settings: Mapping[str, Any],
    extra: Mapping[str, Any],
    keeping: Keeping,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> None:
    """Run the plan from wherever a former run stopped, and write ``weights.pt`` with ``extra`` when it ends.

    Only the first of several processes reads and writes the folder; the others go on from what it has read.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when the step is done and the checkpoint is written.
        UserError: the folder cannot be written, images cannot be read, or another process has ended.
    """
    path, first = folder / CHECKPOINT, processes.rank == 0

    def keep() -> None:
        content = {"trainer": trainer.state_dict(), "settings": dict(settings), "batch": plan.batch}
        content["corrupt"] = corrupt.lines
        if first:
            checkpoint.save_beside_previous(path, content)

    with _in_one_line(folder), _stop_signals() as stopped:
        state = processes.share(_found(path, settings, plan.batch, keeping.resume) if first else None)
        if state is not None:
            trainer.load_state_dict(state["trainer"])
            say(f"{title}: going on from step {trainer.done:,} of {len(plan):,}")
        corrupt = CorruptImages(keeping.max_corrupt, state.get("corrupt", ()) if state else (), processes)
        begun, started = trainer.done, time.monotonic()
        saved = started
        with (
            Progress(title, len(plan), begun) as progress,
            TrainingLog(folder, begun) if first else nullcontext() as log,
        ):

            def on_step(step: Step[Any], losses: dict[str, float]) -> bool:
                nonlocal saved
                corrupt.count()
                done, now = trainer.done, time.monotonic()
                speed = (done - begun) * plan.batch / (now - started)
                progress.to(done, stage=step.phase.name, loss=losses["loss"], images_s=speed)
                if log is not None and (done % LOG_STEPS == 0 or done == len(plan)):
                    log.write(done, {"stage": step.phase.name, "lr": step.lr, "images_per_second": speed, **losses})
                stop = any_process(stopped())
                if stop or now - saved > keeping.seconds:
                    keep()
                    saved = now
                return not stop

            steps = plan.steps(trainer.done)
            parts = (
                step.part(processes.rank, processes.size).part(index, trainer.accumulate)
                for step in steps
                for index in range(trainer.accumulate)
            )
            batches = corrupt.without(_while_workers_live(task.batches(dataset, parts), stopped))
            try:
                trainer.run(plan, batches, on_step)
            except KeyboardInterrupt:  # the workers were stopped, while this process waited for them
                keep()
        if trainer.done < len(plan):
            raise KeyboardInterrupt
        if first:
            checkpoint.save(folder / WEIGHTS, {"state_dict": trainer.weights(), "settings": dict(settings), **extra})
            _tidy(folder)
        processes.meet()


def _found(path: Path, settings: Mapping[str, Any], batch: int, resume: bool) -> dict[str, Any] | None:
    """The checkpoint to go on from, if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    if not resume:
        return None
    state, damage = checkpoint.newest(path, ("trainer", "settings"))
    if damage:
        say(f"warning: {damage.partition(';')[0]}; going on from the one before it")
    if state is not None:
        check_settings(path, state["settings"], settings, NOT_OF_TRAINING)
        if state.get("batch", batch) != batch:
            raise UserError(
                f"{path}: was made with {state['batch']} images a step, now there are {batch}; start as many processes as "
                "before, or set another OUTPUT_DIR"
            )
    return state


def _tidy(folder: Path) -> None:
    """Remove what a training that has ended needs no longer."""
    for leftover in (folder / CHECKPOINT, checkpoint.previous(folder / CHECKPOINT)):
        leftover.unlink(missing_ok=True)


def _while_workers_live(
    batches: Iterator[Mapping[str, Any]], stopped: Callable[[], bool]
) -> Iterator[Mapping[str, Any]]:
    """The batches; workers that a signal ended together with this process are no error."""
    try:
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        if stopped():
            raise KeyboardInterrupt from None
        raise UserError(
            f"{str(error).partition(';')[0]}: a process that loads images was killed, mostly for want of memory; "
            "set WORKERS lower"
        ) from None


@contextmanager
def _in_one_line(folder: Path) -> Iterator[None]:
    """What the system refuses, and a process that has gone, as errors that name the remedy."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: cannot be written: {error.strerror or error}; "
            "make room or set another OUTPUT_DIR, then the same command goes on"
        ) from error
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise UserError("another process of this training has ended; its own message says why") from error
        raise


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
