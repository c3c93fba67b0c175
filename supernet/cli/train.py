"""Train the supernet stage by stage, or with --superconfig one architecture of the space.

A training that was stopped goes on with the same command. With torchrun, several processes share every step.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import UserError
from ..io import checkpoint
from ..pipeline.fit import WEIGHTS, Keeping, finished, fit
from ..pipeline.models import MODEL, superconfig_of
from ..pipeline.process_group import SINGLE_PROCESS, ProcessGroup, process_group
from ..pipeline.progress import say
from ..pipeline.run import Run
from ..pipeline.training import TRAINED_BY, batch_of, new_supernet, phases_of, place, schedule_of, steps_of, trainer_of
from ..sharing.channel_sorting import sort_channels
from ..sharing.supernet import Supernet
from ..training.sampling import Sampler
from ..training.schedule import Phase, Plan, cosine, multi_step
from ..training.stages import audit
from ..training.trainer import Trainer
from .command import config_of, parser, run_program

EXAMPLES = """  python train.py --cfg experiments/synthetic/litepose.yaml
  python train.py --cfg experiments/coco/litepose_XS_photos.yaml --superconfig litepose-XS DATASET.ROOT /data/coco
  torchrun --nproc_per_node 4 train.py --cfg …"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    help_text = "architecture to train: a JSON file or a published name; without it, the supernet is trained"
    command = parser(__doc__, EXAMPLES, superconfig=help_text, dry_run=True)
    options = command.parse_args(arguments)
    run = Run(config_of(options), options.cfg)
    if options.dry_run:
        return _show_plan(run, options)
    with process_group(backend_of(run)) as processes:
        _train(run, options, processes)


def backend_of(run: Run) -> str:
    """What carries tensors between processes: DIST_BACKEND those of GPUs, gloo all others."""
    return f"cpu:gloo,cuda:{run.cfg.DIST_BACKEND}" if run.device.type == "cuda" else "gloo"


def _show_plan(run: Run, options: argparse.Namespace) -> None:
    from ..pipeline.dry_run import show_run, show_training  # which times steps of the trainings here

    superconfig = superconfig_of(run.cfg, options.superconfig)
    if superconfig is None:
        return show_run(run, search=False)
    show_training(run, run.architecture(superconfig), _folder_of(run, superconfig))


def _folder_of(run: Run, superconfig: str) -> Path:
    """Where one architecture is trained; search.py and weight_transfer.py call every one's file arch.json."""
    path = Path(superconfig)
    name = path.resolve().parent.name if path.name == "arch.json" else path.stem
    return run.folder / "trained" / name


def _train(run: Run, options: argparse.Namespace, processes: ProcessGroup) -> None:
    if processes.rank == 0:
        run.keep_config()
    superconfig = superconfig_of(run.cfg, options.superconfig)
    processes.first(lambda: run.train)  # a synthetic dataset is drawn once
    if superconfig is None:
        path = train_supernet(run, processes)
        say(f"supernet: {path}\nnext: python search.py --cfg {options.cfg}")
        return
    arch = run.architecture(superconfig)
    folder = _folder_of(run, superconfig)
    cfg = run.cfg
    steps = cfg.RETRAIN.LR_STEP or (cfg.TRAIN.LR_STEP if superconfig == MODEL else [])  # somebody else's file: its own
    path = train_subnet(
        run, arch, folder, initial=cfg.MODEL.PRETRAINED or None, whole=False, lr_steps=steps, processes=processes
    )
    say(
        f"weights: {path}\nnext: python valid.py --cfg {options.cfg} --superconfig {superconfig} TEST.MODEL_FILE {path}"
    )


def train_supernet(run: Run, processes: ProcessGroup = SINGLE_PROCESS) -> Path:
    """Train the supernet of a setting, or go on, or find it done; returns the file of its weights."""
    cfg, folder = run.cfg, run.folder / "supernet"
    settings = run.settings(*TRAINED_BY, "SUPERNET")
    if _finished(run, folder, settings, processes):
        return folder / WEIGHTS
    torch.manual_seed(cfg.SEED)
    schedule = schedule_of(run)
    weights = audit(run.build, run.space, schedule, run.required)
    say(f"space: {run.space.size:,} architectures; every one of {weights:,} shared weights will be trained")

    supernet = new_supernet(run)
    if cfg.MODEL.PRETRAINED:
        _load_part(supernet.network, cfg.MODEL.PRETRAINED)
    place(supernet, run)
    teacher = _teacher(run) if cfg.SUPERNET.DISTILLATION == "teacher" else None
    trainer = trainer_of(run, supernet, supernet, cfg.SUPERNET.DISTILLATION, teacher)

    def sort() -> None:
        shape = (1, 3, *run.space.largest.input_hw)
        sort_channels(supernet.network, shape)
        trainer.forget()

    phases = phases_of(run, schedule, sort if cfg.SUPERNET.SORT_CHANNELS else None, processes)
    extra = {"space": run.space.fingerprint}
    _fit(run, folder, "supernet", trainer, phases, settings, extra, processes)
    return folder / WEIGHTS


def train_subnet(
    run: Run,
    arch: Any,
    folder: Path,
    *,
    initial: Path | str | None,
    teacher: nn.Module | None = None,
    whole: bool = True,
    lr_steps: Sequence[int] = (),
    processes: ProcessGroup = SINGLE_PROCESS,
) -> Path:
    """Train one architecture; returns the file of its weights.

    Args:
        run: the run.
        arch: what to train.
        folder: where its files go.
        initial: weights to begin with; None begins with fresh ones.
        teacher: whose heatmaps it learns too.
        whole: ``initial`` has to hold all weights; otherwise what it lacks (a head) begins fresh, and is told.
        lr_steps: epochs at which the rate falls by TRAIN.LR_FACTOR; none: RETRAIN.LR_STEP, or half a cosine.
        processes: that share the work.
    """
    cfg = run.cfg
    settings = run.settings(*TRAINED_BY, "RETRAIN") | {"arch": run.family.to_json(arch)}
    settings |= {"distilled": teacher is not None}
    if _finished(run, folder, settings, processes):
        return folder / WEIGHTS
    torch.manual_seed(cfg.SEED)
    network = run.build(arch)
    if initial is not None and whole:
        checkpoint.load_checkpoint(network, initial)
    elif initial is not None:
        _load_part(network, initial)
    place(network, run)
    trainer = trainer_of(run, lambda images, _: network(images), network, "teacher" if teacher else "none", teacher)
    epochs, lr = cfg.RETRAIN.EPOCHS or cfg.TRAIN.END_EPOCH, cfg.RETRAIN.LR or cfg.TRAIN.LR
    milestones = [step / epochs for step in lr_steps or cfg.RETRAIN.LR_STEP]
    curve = multi_step(lr, milestones, cfg.TRAIN.LR_FACTOR) if milestones else cosine(lr)
    fixed = type(run.space)(arch)
    phase = Phase("one network", Sampler(fixed), steps_of(run, epochs, processes), curve)
    extra = {"arch": run.family.to_json(arch)}
    title = f"{folder.parent.name}/{folder.name}"
    _fit(run, folder, title, trainer, [phase], settings, extra, processes)
    return folder / WEIGHTS


def _load_part(network: nn.Module, path: Path | str) -> None:
    """Load what a file has of a network, and say what it lacks."""
    loaded = checkpoint.load_checkpoint(network, path, strict=False)
    if loaded.missing or loaded.unexpected:
        say(f"{path}: loaded; {len(loaded.missing)} tensors begin fresh, {len(loaded.unexpected)} left out")


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


def _finished(run: Run, folder: Path, settings: Mapping[str, Any], processes: ProcessGroup) -> bool:
    """Whether there is nothing to train; the first process looks."""
    return processes.share(processes.rank == 0 and run.cfg.AUTO_RESUME and finished(folder, settings))


def _fit(
    run: Run,
    folder: Path,
    title: str,
    trainer: Trainer[Any],
    phases: Sequence[Phase[Any]],
    settings: Mapping[str, Any],
    extra: Mapping[str, Any],
    processes: ProcessGroup,
) -> None:
    cfg, images = run.cfg, len(run.train)
    alike = cfg.SUPERNET.RANK_ARCHITECTURES == "same"
    if cfg.MODEL.SYNC_BN and processes.size > 1 and cfg.SUPERNET.SAMPLING in ("best_up", "worst_up"):
        raise UserError(
            "MODEL.SYNC_BN wants the same networks everywhere: set SUPERNET.SAMPLING sandwich or single_path"
        )
    if cfg.MODEL.SYNC_BN and not alike:
        raise UserError("MODEL.SYNC_BN wants the same networks everywhere: set SUPERNET.RANK_ARCHITECTURES same")
    plan = Plan(phases, images, batch_of(run, processes), cfg.SEED, processes.rank, alike)
    keeping = Keeping(cfg.CHECKPOINT_SECONDS, cfg.AUTO_RESUME, cfg.DATASET.MAX_BROKEN)
    fit(folder, title, trainer, plan, run.task, run.train, settings, extra, keeping, processes)


def _teacher(run: Run) -> nn.Module:
    """The largest network with the weights of SUPERNET.TEACHER."""
    network = run.build(run.space.largest)
    if not run.cfg.SUPERNET.TEACHER:
        raise UserError("SUPERNET.DISTILLATION is teacher: set SUPERNET.TEACHER to a checkpoint of the largest network")
    checkpoint.load_checkpoint(network, run.cfg.SUPERNET.TEACHER)
    return place(network, run).eval().requires_grad_(False)


def program() -> None:
    """``python train.py``."""
    run_program(main)
