"""Train the supernet of a run, or one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from search_spaces.layers.convolutions import start_as_identity

from ..errors import UserError
from ..io import checkpoint
from ..io.run_folder import TEACHER, WEIGHTS
from ..sharing.alignment import check_alignment
from ..sharing.channel_sorting import sort_channels
from ..sharing.probes import probes
from ..sharing.separate_weights import shared_network
from ..sharing.supernet import Supernet
from ..training.sampling import Sampler
from ..training.schedule import Phase, Plan, cosine, flat_cosine, multi_step
from ..training.stages import audit
from ..training.trainer import Trainer
from . import inputs
from .description import described
from .fit import Keeping, fit
from .keys import provenance
from .own_teacher import OwnTeacher
from .parts import TopDownSamples
from .pretrained import load_pretrained
from .process_group import SINGLE_PROCESS, ProcessGroup
from .progress import say
from .provenance import finished
from .run import Run
from .steps import NetworkTraining, SupernetTraining
from .training import new_supernet, phases_of, place, schedule_of, steps_of, supernet_trainer, trainer_of, unaligned_of

Step = SupernetTraining | NetworkTraining


def train_supernet(run: Run, processes: ProcessGroup = SINGLE_PROCESS) -> Path:
    """Train the supernet of a run, or go on, or find it done; returns the file of its weights.

    Raises:
        UserError: weights of the space would never be trained, the settings contradict one another, or the folder holds the
            supernet of other settings, or another process trains there.
    """
    folder = run.paths.supernet
    step = inputs.supernet_training(run, processes.size)
    with processes.locked(folder):
        if _finished(run, folder, step, processes):
            return folder / WEIGHTS
        check_synchronised(run, processes)
        torch.manual_seed(step.seed)
        schedule = schedule_of(run)
        weights = audit(run.build, run.space, schedule, run.required, unaligned=unaligned_of(run))
        deepest = probes(run.space, unaligned_of(run), draws=0)[:1]
        check_alignment(run.build, run.space, architectures=deepest)
        say(f"space: {run.space.size:,} architectures; every one of {weights:,} shared weights will be trained")

        supernet = new_supernet(run)
        if step.optimisation.identity_start:
            start_as_identity(supernet.network)
        if run.cfg.MODEL.PRETRAINED:
            _start_supernet(run, supernet)
        place(supernet, run)
        own = OwnTeacher(run, folder / TEACHER, processes) if step.distillation == "largest" else None
        teacher = _teacher(run) if step.distillation == "teacher" else own
        trainer = supernet_trainer(run, supernet, step, schedule, teacher)

        def sort() -> None:
            shape = (1, 3, *run.space.largest.input_hw)
            sort_channels(supernet.network, shape)
            trainer.reset_optimizer()

        def keep() -> None:
            if own is not None:
                own.keep(trainer.weights())

        phases = phases_of(run, step, schedule, sort if step.sort_channels else None, keep)
        extra = {"space": run.space.fingerprint, "network": described(run, run.space.largest)}
        _fit(run, folder, "supernet", trainer, phases, step, extra, processes)
    return folder / WEIGHTS


def train_network(
    run: Run,
    arch: Any,
    step: NetworkTraining,
    folder: Path,
    *,
    initial: Path | str | None,
    teacher: nn.Module | None = None,
    whole: bool = True,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> Path:
    """Train one architecture; returns the file of its weights.

    Args:
        run: the run.
        arch: what to train.
        step: with which settings.
        folder: where its files go.
        initial: weights to begin with; None begins with fresh ones.
        teacher: whose heatmaps it learns too.
        whole: ``initial`` has to hold all weights; otherwise what it lacks (a head) begins fresh, and is told.
        processes: that share the work.
    """
    with processes.locked(folder):
        if _finished(run, folder, step, processes):
            return folder / WEIGHTS
        torch.manual_seed(step.seed)
        network = run.build(arch)
        if step.optimisation.identity_start:
            start_as_identity(network)
        if initial is not None and whole:
            checkpoint.load_checkpoint(network, initial)
        elif initial is not None:
            _load_pretrained(run, network, arch, initial)
        place(network, run)
        trainer = trainer_of(
            run,
            lambda images, _: network(images),
            network,
            step.optimisation,
            distillation="teacher" if teacher else "none",
            distillation_weight=step.distillation_weight,
            teacher=teacher,
        )
        milestones = [epoch / step.epochs for epoch in step.lr_steps]
        curve = multi_step(step.lr, milestones, step.lr_factor or 1.0) if milestones else cosine(step.lr)
        if step.schedule == "flat_cosine":
            curve = flat_cosine(step.lr, step.warmup or 0.0)
        steps = steps_of(run, step.epochs, step.optimisation.batch)
        phase = Phase("one network", Sampler(type(run.space)(arch)), steps, curve)
        extra = {"arch": step.arch, "network": described(run, arch)}
        _fit(run, folder, f"{folder.parent.name}/{folder.name}", trainer, [phase], step, extra, processes)
    return folder / WEIGHTS


def load_supernet(run: Run, path: Path) -> Supernet[Any]:
    """A trained supernet in eval mode, on the CPU in the default memory format.

    Raises:
        UserError: when the file holds something else, or the supernet of another space.
    """
    supernet = new_supernet(run)
    content = checkpoint.read(path)
    space = content.get("space") if isinstance(content, Mapping) else None
    if space is not None and space != run.space.fingerprint:
        raise UserError(f"{path}: is the supernet of another space; give the --cfg that it was trained with")
    weights = checkpoint.state_dict_of(content, str(path))
    if any(key.startswith("network.") for key in weights):
        checkpoint.load_checkpoint(supernet, weights)
    else:  # the weights of the largest network alone
        checkpoint.load_checkpoint(supernet.network, content)
    return supernet.eval()


def backend_of(run: Run) -> str:
    """What carries tensors between processes: DIST_BACKEND those of GPUs, gloo all others."""
    return f"cpu:gloo,cuda:{run.cfg.DIST_BACKEND}" if run.device.type == "cuda" else "gloo"


def _load_pretrained(run: Run, network: nn.Module, arch: Any, path: Path | str) -> None:
    load_pretrained(network, lambda joints: run.family.build(arch, joints=joints), path, run.skeleton)


def _start_supernet(run: Run, supernet: Supernet[Any]) -> None:
    """Begin with the weights of MODEL.PRETRAINED: of the largest network, or of an architecture of SPACE.MUST_CONTAIN."""
    path = run.cfg.MODEL.PRETRAINED
    try:
        load_pretrained(
            supernet.network,
            lambda joints: shared_network(partial(run.family.build, joints=joints), run.space),
            path,
            run.skeleton,
        )
    except UserError as error:
        for name, arch in run.required.items():
            network = supernet.extract(arch)
            try:
                _load_pretrained(run, network, arch, path)
            except UserError:
                continue
            supernet.insert(arch, network)
            say(f"{path}: is {name} of SPACE.MUST_CONTAIN; what larger architectures have besides begins fresh")
            return
        raise UserError(f"{error}; or name its architecture in SPACE.MUST_CONTAIN") from None


def _finished(run: Run, folder: Path, step: Step, processes: ProcessGroup) -> bool:
    """Whether there is nothing to train; the first process looks."""
    wanted = provenance(step)
    return processes.share(processes.rank == 0 and run.cfg.AUTO_RESUME and finished(folder, wanted, processes.size))


def check_synchronised(run: Run, processes: ProcessGroup) -> None:
    """Synchronised BatchNorm needs every process to run the same networks of a supernet."""
    supernet = run.cfg.SUPERNET
    if not run.cfg.MODEL.SYNC_BN or processes.size == 1:
        return
    if supernet.SAMPLING in ("best_up", "worst_up"):
        raise UserError(
            "MODEL.SYNC_BN wants the same networks everywhere: set SUPERNET.SAMPLING sandwich or single_path"
        )
    if supernet.RANK_ARCHITECTURES != "same":
        raise UserError("MODEL.SYNC_BN wants the same networks everywhere: set SUPERNET.RANK_ARCHITECTURES same")


def _fit(
    run: Run,
    folder: Path,
    title: str,
    trainer: Trainer[Any],
    phases: Sequence[Phase[Any]],
    step: Step,
    extra: Mapping[str, Any],
    processes: ProcessGroup,
) -> None:
    cfg = run.cfg
    alike = cfg.SUPERNET.RANK_ARCHITECTURES == "same"
    plan = Plan(phases, len(run.train), step.optimisation.batch, step.seed, processes.rank, alike)
    keeping = Keeping(cfg.CHECKPOINT_SECONDS, cfg.AUTO_RESUME, cfg.DATASET.MAX_BROKEN)
    task: Any = run.task
    if isinstance(step.samples, TopDownSamples) and step.samples.last_epochs:
        last = steps_of(run, step.samples.last_epochs, step.optimisation.batch)
        task = replace(task, last_from=len(plan) - last)
    if processes.rank == 0:
        run.keep_config(folder)
    fit(
        folder,
        title,
        trainer,
        plan,
        replace(task, seed=step.seed),
        run.train,
        provenance(step),
        extra,
        keeping,
        processes,
    )


def _teacher(run: Run) -> nn.Module:
    """The largest network with the weights of SUPERNET.TEACHER."""
    network = run.build(run.space.largest)
    if not run.cfg.SUPERNET.TEACHER:
        raise UserError("SUPERNET.DISTILLATION is teacher: set SUPERNET.TEACHER to a checkpoint of the largest network")
    checkpoint.load_checkpoint(network, run.cfg.SUPERNET.TEACHER)
    return place(network, run).eval().requires_grad_(False)
