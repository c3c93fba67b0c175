"""Train to the end of a plan: with progress, checkpoints that a later run goes on from, and a clean stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import distributed

from ..distributed import any_process
from ..errors import UserError
from ..io import checkpoint
from ..io.files import sweep
from ..io.run_folder import CHECKPOINT, WEIGHTS
from ..pose.datasets.loader import killed_worker
from ..pose.protocols import KeypointDataset
from ..pose.task import Task
from ..search.journal import differences
from ..training.schedule import Plan, Step
from ..training.trainer import Trainer
from .corrupt_images import CorruptImages
from .process_group import SINGLE_PROCESS, ProcessGroup
from .progress import Progress, say
from .provenance import check, tidy
from .training_log import TrainingLog

LOG_STEPS = 20


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
    path, first, threads = folder / CHECKPOINT, processes.rank == 0, torch.get_num_threads()

    def keep() -> None:
        content = {"trainer": trainer.state_dict(), "settings": dict(settings), "processes": processes.size}
        content |= {"corrupt": corrupt.lines, "threads": threads}
        if first:
            checkpoint.save_beside_previous(path, content)

    with _in_one_line(folder), _stop_signals() as stopped:
        state = processes.share(_found(path, settings, keeping.resume) if first else None)
        if state is not None:
            _restore(trainer, state, len(plan), path)
            say(f"{title}: going on from step {trainer.done:,} of {len(plan):,}")
            if state.get("threads", threads) != threads:
                say(
                    f"warning: {title}: begun with {state['threads']} threads, going on with {threads}: sums of another order "
                    f"end in slightly other weights; set THREADS {state['threads']} for the same"
                )
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
            try:
                trainer.run(plan, corrupt.without(task.batches(dataset, parts)), on_step)
            except (
                RuntimeError
            ) as error:  # raised within a step, whose parts are done or not: the last checkpoint counts
                if (killed := killed_worker(error)) is None:
                    raise
                if stopped():  # a signal to this process and to its workers
                    raise KeyboardInterrupt from None
                raise killed from None
        if trainer.done < len(plan):
            raise KeyboardInterrupt
        if first:
            content = {"state_dict": trainer.weights(), "settings": dict(settings), "processes": processes.size}
            checkpoint.save(folder / WEIGHTS, content | {"threads": threads} | dict(extra))
            tidy(folder)
        processes.meet()


def _found(path: Path, settings: Mapping[str, Any], resume: bool) -> dict[str, Any] | None:
    """The checkpoint to go on from, if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    if not resume:
        return None
    state, damage = checkpoint.newest(path, ("trainer", "settings"))
    if damage:
        say(f"warning: {damage.partition(';')[0]}; going on from the one before it")
    if state is not None:
        if not isinstance(state["settings"], Mapping):
            raise UserError(f"{path}: its settings are no mapping; remove it to begin anew")
        check(path, differences(state["settings"], settings))
    return state


def _restore(trainer: Trainer[Any], state: Mapping[str, Any], steps: int, path: Path) -> None:
    """Restore a checkpoint, each of whose fields is what a training of so many steps has there."""
    try:
        done = state["trainer"].get("done") if isinstance(state["trainer"], Mapping) else None
        if isinstance(done, int) and done > steps:
            raise UserError(f"'done' is {done:,}, this training has {steps:,} steps")
        corrupt, processes, threads = state.get("corrupt", []), state.get("processes", 1), state.get("threads", 1)
        if not isinstance(corrupt, list) or not all(isinstance(line, str) for line in corrupt):
            raise UserError("'corrupt' is no list of lines")
        if not all(type(number) is int and number >= 1 for number in (processes, threads)):
            raise UserError("'processes' or 'threads' is no number of them")
        trainer.load_state_dict(state["trainer"])
    except UserError as error:
        raise UserError(f"{path}: is no checkpoint of this training: {error}; remove it to begin anew") from None


@contextmanager
def _in_one_line(folder: Path) -> Iterator[None]:
    """What the system refuses, and a process that has gone, as errors that name the remedy."""
    try:
        yield
    except BrokenPipeError:  # of the output, which whoever read it has closed
        raise
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
