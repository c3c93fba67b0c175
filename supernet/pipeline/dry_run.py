"""What search.py or train.py would do, what of it is done already, and about how long the rest takes: ``--dry-run``.

Nothing is written but into a temporary folder, where a few images of a synthetic dataset are made. The times are those of some
steps of every stage and of some images evaluated with fresh weights, on this machine as busy as it is: right within a factor.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ..cost.macs import count
from ..io import checkpoint
from ..io.run_folder import CHECKPOINT, WEIGHTS
from ..search.journal import FULL, differences, read_journal
from ..sharing.meta import meta_network
from ..training.sampling import Sampler
from ..training.schedule import Phase, Plan, cosine
from ..training.stages import audit
from ..training.trainer import Trainer
from . import inputs
from .budgets import budgets_of
from .extraction import calibrated
from .finalists import STAGE as FINALS
from .keys import provenance
from .progress import say
from .provenance import Made
from .run import Run
from .stage_records import STAGES, read_stages
from .steps import NetworkTraining, SupernetTraining
from .training import new_supernet, phases_of, place, schedule_of, supernet_trainer, trainer_of, unaligned_of

SAMPLE = 8  # images that are evaluated, and drawn for a training's steps
STEPS = 3  # timed of each stage, after a first one that is not
LONG = 20.0  # seconds for one stage, after which fewer steps have to do
NOTHING = "(dry run: nothing is done, nothing is written)"


@dataclass(frozen=True)
class _Item:
    """Something to do: what, how much of it is done, and how many seconds the rest takes."""

    title: str
    state: str
    seconds: float

    def __str__(self) -> str:
        return f"  {self.title}: {self.state}" + (f", about {_words(self.seconds)}" if self.seconds else "")


def show_run(run: Run, *, search: bool) -> None:
    """Print the plan of the supernet's training, and with ``search`` of all that search.py does after it."""
    say(f"{run.folder} {NOTHING}\n{_space(run)}")
    with _sampled(run) as sample:
        sizes = _sizes(run, sample, ("train", "search", "final", "calibration", "test") if search else ("train",))
        items = _supernet(run, sample, sizes)
        if search:
            calibration, judging = _judging(sample)
            one = sizes["calibration"] * calibration + sizes["search"] * judging
            final = sizes["calibration"] * calibration + sizes["final"] * judging if sizes["final"] else 0.0
            items += [_search(run, one), *_finalists(run, final), *_selected(run, sample, sizes, judging)]
    _say_all(items)


def show_training(run: Run, arch: Any, folder: Path) -> None:
    """Print the plan of the training of one architecture in a folder."""
    say(f"{folder} {NOTHING}\n1 architecture of {_macs(run, arch):,.1f} MMACs")
    with _sampled(run) as sample:
        sizes = _sizes(run, sample, ("train",))
        steps = _retraining_steps(run, sizes)
        wanted = inputs.network_training(run, arch, initial=inputs.digest(run.cfg.MODEL.PRETRAINED))
        state, done = _training(folder, wanted, steps)
        _say_all([_Item(f"training, {steps:,} steps", state, (steps - done) * _standalone(sample, arch))])


def _say_all(items: Sequence[_Item]) -> None:
    for item in items:
        say(str(item))
    seconds = sum(item.seconds for item in items)
    say(f"about {_words(seconds)} in all, by a few steps and images on this machine" if seconds else "nothing to do")


def _words(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _macs(run: Run, arch: Any) -> float:
    return count(meta_network(run.build, arch), (1, 3, *arch.input_hw)).macs / 1e6


def _space(run: Run) -> str:
    space, cfg = run.space, run.cfg.SPACE
    ends = [f"{_macs(run, arch):,.1f}" for arch in (space.smallest, space.largest)]
    return f"space: {cfg.FAMILY} {cfg.NAME}, {space.size:,} architectures of {' to '.join(ends)} MMACs"


# -------------------------------------------------------------------------------------------------------------------- data


@contextmanager
def _sampled(run: Run) -> Iterator[Run]:
    """The setting with data to measure on: its own, or of a crowd that would be drawn a few images."""
    if not run.cfg.DATASET.SYNTHETIC.TRAIN:
        yield run
        return
    with TemporaryDirectory() as folder:
        cfg = run.cfg.clone()
        cfg.defrost()
        cfg.DATASET.ROOT = str(Path(folder, "crowd").resolve())
        cfg.DATASET.SYNTHETIC.TRAIN, cfg.DATASET.SYNTHETIC.VAL = 2 * SAMPLE, 1
        cfg.DATASET.SEARCH_IMAGES = cfg.DATASET.CALIBRATION_IMAGES = SAMPLE
        cfg.DATASET.FINAL_IMAGES = 0
        cfg.freeze()
        yield Run(cfg, run.source)


def _sizes(run: Run, sample: Run, splits: Sequence[str]) -> dict[str, int]:
    """How many images, or people for a top-down network, each split has; said aloud. Of a synthetic dataset, about."""
    data = run.cfg.DATASET
    if sample is run:
        sizes = {split: len(getattr(run.data, split) or ()) for split in splits}
    else:
        final = data.FINAL_IMAGES if data.SYNTHETIC.TRAIN > data.SEARCH_IMAGES + data.FINAL_IMAGES else 0
        train, people = data.SYNTHETIC.TRAIN - data.SEARCH_IMAGES - final, len(sample.train) / SAMPLE
        images = {"train": train, "search": data.SEARCH_IMAGES, "final": final, "test": data.SYNTHETIC.VAL}
        sizes = {split: round(number * people) for split, number in images.items()}
        sizes["calibration"] = min(data.CALIBRATION_IMAGES, train)
    names = {
        "train": "to train on",
        "search": "to search on",
        "final": "for finalists",
        "calibration": "to calibrate on",
        "test": "to report on",
    }
    say(f"{run.task.unit}: " + ", ".join(f"{sizes[split]:,} {names[split]}" for split in splits if sizes[split]))
    return sizes


# ---------------------------------------------------------------------------------------------------------------- trainings


def _training(folder: Path, wanted: SupernetTraining | NetworkTraining, steps: int) -> tuple[str, int]:
    """What the folder of a training holds, and how many of its steps are done."""
    made = Made.of(folder)
    found = made.changes(provenance(wanted)) if made.inputs else {}
    if found:
        key, (old, new) = next(iter(found.items()))
        return f"was made with other settings ({key} {old!r}, now {new!r})", 0
    if (folder / WEIGHTS).exists():
        return "done", steps
    state = checkpoint.newest(folder / CHECKPOINT)[0]
    done = int(state["trainer"]["done"]) if state else 0
    return (f"{done:,} of {steps:,} steps done" if done else "to do"), done


def _supernet(run: Run, sample: Run, sizes: Mapping[str, int]) -> list[_Item]:
    """The stages of the supernet's training."""
    schedule = schedule_of(run)
    audit(run.build, run.space, schedule, run.required, unaligned=unaligned_of(run))
    step = inputs.supernet_training(run)
    batch = step.optimisation.batch
    steps = [stage.steps or math.ceil(stage.epochs * sizes["train"] / batch) for stage in schedule]
    state, done = _training(run.paths.supernet, step, sum(steps))
    title = f"supernet, {sum(steps):,} steps of {batch} in {len(steps)} stages"
    if done == sum(steps):
        return [_Item(title, state, 0.0)]
    network = new_supernet(sample)
    place(network, sample)
    trainer = supernet_trainer(sample, network, step, schedule, None)
    items = [_Item(title, state, 0.0)]
    for stage, phase, length in zip(schedule, phases_of(sample, step, schedule), steps, strict=True):
        now, done = min(done, length), max(0, done - length)
        words = f"{now:,} of {length:,} steps done" if now else f"{length:,} steps"
        seconds = (length - now) * _step_seconds(sample, trainer, phase) if now < length else 0.0
        items.append(_Item(f"  stage {stage.name!r}", words, seconds))
    return items


def _retraining_steps(run: Run, sizes: Mapping[str, int]) -> int:
    epochs = run.cfg.RETRAIN.EPOCHS or run.cfg.TRAIN.END_EPOCH
    return math.ceil(int(epochs) * sizes["train"] / inputs.optimisation(run).batch)


def _standalone(sample: Run, arch: Any) -> float:
    """Seconds of a step that trains one architecture."""
    network = place(sample.build(arch), sample)
    trainer = trainer_of(sample, lambda images, _: network(images), network, inputs.optimisation(sample))
    return _step_seconds(sample, trainer, Phase("one", Sampler(type(sample.space)(arch)), 1, cosine(1e-4)))


def _step_seconds(sample: Run, trainer: Trainer[Any], phase: Phase[Any]) -> float:
    """Seconds of a step of a phase: reading, running, and the optimiser."""
    phase = replace(phase, steps=STEPS + 1, before=None)
    plan = Plan([phase], len(sample.train), inputs.optimisation(sample).batch, sample.cfg.SEED)
    parts = (step.part(index, trainer.accumulate) for step in plan.steps(0) for index in range(trainer.accumulate))
    batches = sample.task.batches(sample.train, parts)
    trainer.model.train()
    seconds: list[float] = []
    for step in plan.steps(0):
        started = time.perf_counter()
        trainer.step(step, (_prepared(trainer, batch) for batch in islice(batches, trainer.accumulate)))
        seconds.append(time.perf_counter() - started)
        if len(seconds) > 1 and sum(seconds) > LONG:
            break
    return median(seconds[1:])


def _prepared(trainer: Trainer[Any], batch: Mapping[str, Any]) -> Mapping[str, Any]:
    return trainer.prepare({name: value for name, value in batch.items() if name != "corrupt"})


# ----------------------------------------------------------------------------------------------------------------- evaluating


def _judging(sample: Run) -> tuple[float, float]:
    """Seconds to calibrate the largest network on one image, and to evaluate it on one."""
    arch = sample.space.largest
    network = sample.build(arch)
    started = time.perf_counter()
    images = calibrated(sample, network, arch)
    middle = time.perf_counter()
    few = sample.search[:SAMPLE]
    with torch.inference_mode():
        sample.metrics(network, few, arch)
    return (middle - started) / images, (time.perf_counter() - middle) / len(few)


def _search(run: Run, one: float) -> _Item:
    """The search; ``one`` is how many seconds an architecture takes."""
    cfg, source = run.cfg.SEARCH, run.paths.supernet_weights
    wanted, done, state = cfg.EVALUATIONS + cfg.RANDOM_BASELINE, 0, "to do"
    journal = run.paths.journal
    if journal.exists():
        header, records = read_journal(journal)
        done = min(wanted, sum(record.stage == FULL for record in records))
        state = f"{done:,} of {wanted:,} done"
        if not source.exists() or differences(header["settings"], provenance(inputs.search(run, source))):
            done, state = 0, "was made with other settings"
    title = f"search, {cfg.EVALUATIONS:,} architectures by {cfg.ALGORITHM} and {cfg.RANDOM_BASELINE:,} at random"
    return _Item(title, state, (wanted - done) * one)


def _finalists(run: Run, one: float) -> list[_Item]:
    """The finalists that are scored again; ``one`` is how many seconds an architecture takes, 0 where there are no images."""
    cfg = run.cfg.SEARCH
    most = min(cfg.EVALUATIONS, cfg.FINALISTS * len(cfg.BUDGETS))
    if not one or not most:
        return []
    done = 0
    if run.paths.journal.exists():
        done = min(most, sum(record.stage == FINALS for record in read_journal(run.paths.journal)[1]))
    title = f"finalists, at most {most:,} architectures scored again"
    return [_Item(title, f"{done:,} done" if done else "to do", (most - done) * one)]


def _selected(run: Run, sample: Run, sizes: Mapping[str, int], judging: float) -> list[_Item]:
    """For each budget: transfer, calibration, retraining, and evaluating after each."""
    cfg = run.cfg
    steps, step = _retraining_steps(run, sizes), _standalone(sample, sample.space.largest)
    trainings = 2 if cfg.RETRAIN.FROM_SCRATCH else 1
    items = []
    for budget in budgets_of(cfg):
        path = run.paths.subnet(budget.name).metrics
        found = read_stages(path)
        done = [stage for stage in STAGES.values() if stage in found["stages"]]
        left = trainings - sum(stage in ("retrained", "from scratch") for stage in done)
        seconds = left * steps * step + (2 + trainings - len(done)) * sizes["test"] * judging
        title = f"subnet {budget.name} within {budget.text}, {trainings * steps:,} steps of retraining"
        items.append(_Item(title, f"{', '.join(done)} done" if done else "to do", max(0.0, seconds)))
    return items
