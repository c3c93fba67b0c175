"""The steps of a run, each with everything that it uses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..io.files import sha256
from . import keys, parts, steps
from .run import Run


def digest(path: Path | str) -> str | None:
    """What a file is known by, wherever it lies; None for no file."""
    return sha256(Path(path))[:16] if path else None


def optimisation(run: Run, processes: int = 1, images: int = 0) -> steps.Optimisation:
    """The optimiser of a training.

    Args:
        run: the run.
        processes: that share a step.
        images: of one process, in place of TRAIN.IMAGES_PER_GPU where it is not 0.
    """
    train = run.cfg.TRAIN
    images = images or train.IMAGES_PER_GPU
    if images < 1 or train.ACCUMULATE < 1:
        raise UserError("TRAIN.IMAGES_PER_GPU and TRAIN.ACCUMULATE have to be at least 1")
    return keys.read(steps.Optimisation, run.cfg, batch=images * train.ACCUMULATE * processes)


def supernet_training(run: Run, processes: int = 1) -> steps.SupernetTraining:
    """The training of the run's supernet."""
    supernet = run.cfg.SUPERNET
    return keys.read(
        steps.SupernetTraining,
        run.cfg,
        space=keys.read(steps.SearchSpace, run.cfg, family=run.family_name),
        data=run.training_data,
        samples=run.samples,
        optimisation=optimisation(run, processes),
        pretrained=digest(run.cfg.MODEL.PRETRAINED),
        teacher=digest(supernet.TEACHER) if supernet.DISTILLATION == "teacher" else None,
    )


def network_training(
    run: Run,
    arch: Any,
    *,
    initial: str | None,
    teacher: str | None = None,
    lr_steps: Sequence[int] = (),
    processes: int = 1,
) -> steps.NetworkTraining:
    """The training of one architecture by the node RETRAIN.

    Args:
        run: the run.
        arch: the architecture.
        initial: what the weights to begin with are known by; None begins with fresh ones.
        teacher: what the teacher's weights are known by; None learns from no teacher.
        lr_steps: epochs at which the rate falls, where RETRAIN.LR_STEP is empty.
        processes: that share a step.
    """
    cfg = run.cfg
    falls = tuple(cfg.RETRAIN.LR_STEP or lr_steps)
    flat = not falls and cfg.RETRAIN.SCHEDULE == "flat_cosine"
    return steps.NetworkTraining(
        family=run.family_name,
        arch=run.family.to_json(arch),
        data=run.training_data,
        samples=run.samples,
        optimisation=optimisation(run, processes),
        seed=cfg.SEED,
        epochs=cfg.RETRAIN.EPOCHS or cfg.TRAIN.END_EPOCH,
        lr=cfg.RETRAIN.LR or cfg.TRAIN.LR,
        lr_steps=falls,
        lr_factor=cfg.TRAIN.LR_FACTOR if falls else None,
        initial=initial,
        teacher=teacher,
        distillation_weight=cfg.SUPERNET.DISTILLATION_WEIGHT if teacher else None,
        schedule=cfg.RETRAIN.SCHEDULE if flat else None,
        warmup=cfg.RETRAIN.WARMUP if flat else None,
    )


def standalone_training(run: Run, arch: Any, seed: int) -> steps.NetworkTraining:
    """The training of one architecture from fresh weights by the node FIDELITY."""
    cfg = run.cfg
    return steps.NetworkTraining(
        family=run.family_name,
        arch=run.family.to_json(arch),
        data=run.training_data,
        samples=run.samples,
        optimisation=optimisation(run, images=cfg.FIDELITY.IMAGES_PER_GPU),
        seed=seed,
        epochs=cfg.FIDELITY.EPOCHS or cfg.TRAIN.END_EPOCH,
        lr=cfg.FIDELITY.LR or cfg.TRAIN.LR,
        lr_steps=(),
        lr_factor=None,
        initial=None,
        teacher=None,
        distillation_weight=None,
    )


def calibration(run: Run) -> parts.Calibration:
    """Which images BatchNorm statistics come from."""
    return keys.read(parts.Calibration, run.cfg, data=run.training_data)


def search(run: Run, supernet: Path) -> steps.Search:
    """The search in the supernet of a file."""
    return keys.read(
        steps.Search,
        run.cfg,
        supernet=digest(supernet),
        calibration=calibration(run),
        inference=run.inference,
        samples=run.samples if run.data.search_score.lower else None,
    )


def extracted(run: Run, arch: Any, supernet: Path) -> str:
    """What the extracted weights of an architecture are known by: all that they follow from."""
    made_with = json.dumps(keys.provenance(transfer(run, arch, supernet)), sort_keys=True)
    return hashlib.sha256(made_with.encode()).hexdigest()[:16]


def transfer(run: Run, arch: Any, supernet: Path) -> steps.Transfer:
    """The extraction of an architecture from the supernet of a file."""
    return keys.read(
        steps.Transfer,
        run.cfg,
        supernet=digest(supernet),
        arch=run.family.to_json(arch),
        calibration=calibration(run),
    )


def evaluation(run: Run, arch: Any = None, weights: Path | None = None) -> steps.Evaluation:
    """The evaluation on the reported split, of the weights of a file where it is given."""
    return steps.Evaluation(
        run.test_data,
        run.inference,
        arch=None if arch is None else run.family.to_json(arch),
        weights=digest(weights or ""),
    )
