"""Train the supernet stage by stage, or with --superconfig one architecture of the space.

A training that was stopped goes on with the same command. With torchrun, several processes share every step.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import checkpoint
from ..channels import sort_channels
from ..cost import CostModel
from ..errors import UserError
from ..sampling import Sampler
from ..schedule import Phase, Plan, cosine, multi_step
from ..shrinking import Stage, audit, stages
from ..supernet import Supernet
from ..training import Trainer
from .command import config_of, parser, run
from .fitting import WEIGHTS, Keeping, finished, fit, optimizer
from .models import MODEL, superconfig_of
from .progress import say
from .setting import Setting
from .team import ALONE, Team, team

EXAMPLES = """  python train.py --cfg experiments/synthetic/litepose.yaml
  python train.py --cfg experiments/coco/litepose_XS_photos.yaml --superconfig litepose-XS DATASET.ROOT /data/coco
  torchrun --nproc_per_node 4 train.py --cfg …"""
WIDTHS = ("width", "expansion")
TRAINED_BY = ("SEED", "DATASET", "MODEL", "LOSS", "TRAIN", "SPACE", "FP16")


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    help_text = "architecture to train: a JSON file or a published name; without it, the supernet is trained"
    options = parser(__doc__, EXAMPLES, superconfig=help_text).parse_args(arguments)
    setting = Setting(config_of(options), options.cfg)
    backend = f"cpu:gloo,cuda:{setting.cfg.DIST_BACKEND}" if setting.device.type == "cuda" else "gloo"
    with team(backend) as processes:
        _train(setting, options, processes)


def _train(setting: Setting, options: argparse.Namespace, processes: Team) -> None:
    if processes.rank == 0:
        setting.keep_config()
    superconfig = superconfig_of(setting.cfg, options.superconfig)
    processes.first(lambda: setting.train)  # a synthetic crowd is drawn once
    if superconfig is None:
        path = train_supernet(setting, processes)
        say(f"supernet: {path}\nnext: python search.py --cfg {options.cfg}")
        return
    arch = setting.architecture(superconfig)
    folder = setting.folder / "trained" / Path(superconfig).stem
    if Path(superconfig).name == "arch.json":  # as search.py and weight_transfer.py name it
        folder = setting.folder / "trained" / Path(superconfig).resolve().parent.name
    cfg = setting.cfg
    steps = cfg.RETRAIN.LR_STEP or (cfg.TRAIN.LR_STEP if superconfig == MODEL else [])  # somebody else's file: its own
    path = train_subnet(
        setting, arch, folder, initial=cfg.MODEL.PRETRAINED or None, whole=False, lr_steps=steps, processes=processes
    )
    say(
        f"weights: {path}\nnext: python valid.py --cfg {options.cfg} --superconfig {superconfig} TEST.MODEL_FILE {path}"
    )


def train_supernet(setting: Setting, processes: Team = ALONE) -> Path:
    """Train the supernet of a setting, or go on, or find it done; returns the file of its weights."""
    cfg, folder = setting.cfg, setting.folder / "supernet"
    settings = setting.settings(*TRAINED_BY, "SUPERNET")
    if _finished(setting, folder, settings, processes):
        return folder / WEIGHTS
    torch.manual_seed(cfg.SEED)
    plan_of = cfg.SUPERNET.STAGES or [
        {"name": "all", "open": list(setting.space.kinds), "steps": 0, "epochs": cfg.TRAIN.END_EPOCH, "lr": 0.0}
    ]
    schedule = stages(setting.space, plan_of)
    weights = audit(setting.build, setting.space, schedule, setting.required)
    say(f"space: {setting.space.size:,} architectures; every one of {weights:,} shared weights will be trained")

    supernet = new_supernet(setting)
    if cfg.MODEL.PRETRAINED:
        _load_part(supernet.network, cfg.MODEL.PRETRAINED)
    place(supernet, setting)
    teacher = _teacher(setting) if cfg.SUPERNET.DISTILLATION == "teacher" else None
    trainer = _trainer(setting, supernet, supernet, cfg.SUPERNET.DISTILLATION, teacher)

    def sort() -> None:
        shape = (1, 3, *setting.space.largest.input_hw)
        sort_channels(supernet.network, shape)
        trainer.forget()

    phases = _phases(setting, schedule, sort if cfg.SUPERNET.SORT_CHANNELS else None, processes)
    extra = {"space": setting.space.fingerprint}
    _fit(setting, folder, "supernet", trainer, phases, settings, extra, processes)
    return folder / WEIGHTS


def train_subnet(
    setting: Setting,
    arch: Any,
    folder: Path,
    *,
    initial: Path | str | None,
    teacher: nn.Module | None = None,
    whole: bool = True,
    lr_steps: Sequence[int] = (),
    processes: Team = ALONE,
) -> Path:
    """Train one architecture; returns the file of its weights.

    Args:
        setting: the run.
        arch: what to train.
        folder: where its files go.
        initial: weights to begin with; None begins with fresh ones.
        teacher: whose heatmaps it learns too.
        whole: ``initial`` has to hold all weights; otherwise what it lacks (a head) begins fresh, and is told.
        lr_steps: epochs at which the rate falls by TRAIN.LR_FACTOR; none: RETRAIN.LR_STEP, or half a cosine.
        processes: that share the work.
    """
    cfg = setting.cfg
    settings = setting.settings(*TRAINED_BY, "RETRAIN") | {"arch": setting.family.to_json(arch)}
    settings |= {"distilled": teacher is not None}
    if _finished(setting, folder, settings, processes):
        return folder / WEIGHTS
    torch.manual_seed(cfg.SEED)
    network = setting.build(arch)
    if initial is not None and whole:
        checkpoint.load_checkpoint(network, initial)
    elif initial is not None:
        _load_part(network, initial)
    place(network, setting)
    trainer = _trainer(setting, lambda images, _: network(images), network, "teacher" if teacher else "none", teacher)
    epochs, lr = cfg.RETRAIN.EPOCHS or cfg.TRAIN.END_EPOCH, cfg.RETRAIN.LR or cfg.TRAIN.LR
    milestones = [step / epochs for step in lr_steps or cfg.RETRAIN.LR_STEP]
    curve = multi_step(lr, milestones, cfg.TRAIN.LR_FACTOR) if milestones else cosine(lr)
    fixed = type(setting.space)(arch)
    phase = Phase("one network", Sampler(fixed), steps_of(setting, epochs, processes), curve)
    extra = {"arch": setting.family.to_json(arch)}
    title = f"{folder.parent.name}/{folder.name}"
    _fit(setting, folder, title, trainer, [phase], settings, extra, processes)
    return folder / WEIGHTS


def _load_part(network: nn.Module, path: Path | str) -> None:
    """Load what a file has of a network, and say what it lacks."""
    loaded = checkpoint.load_checkpoint(network, path, strict=False)
    if loaded.missing or loaded.unexpected:
        say(f"{path}: loaded; {len(loaded.missing)} tensors begin fresh, {len(loaded.unexpected)} left out")


def new_supernet(setting: Setting) -> Supernet[Any]:
    """The setting's supernet with fresh weights."""
    return Supernet(setting.build, setting.space, kernel_transforms=setting.cfg.SUPERNET.KERNEL_TRANSFORMS)


def load_supernet(setting: Setting, path: Path) -> Supernet[Any]:
    """A trained supernet in eval mode, on the CPU in the default memory format.

    Raises:
        UserError: when the file holds something else, or the supernet of another space.
    """
    supernet = new_supernet(setting)
    content = checkpoint.read(path)
    space = content.get("space") if isinstance(content, Mapping) else None
    if space is not None and space != setting.space.fingerprint:
        raise UserError(f"{path}: is the supernet of another space; give the --cfg that it was trained with")
    weights = checkpoint.state_dict_of(content, str(path))
    if any(key.startswith("network.") for key in weights):
        checkpoint.load_checkpoint(supernet, weights)
    else:  # the weights of the largest network alone
        checkpoint.load_checkpoint(supernet.network, content)
    return supernet.eval()


def place(module: nn.Module, setting: Setting) -> nn.Module:
    """The module on the device and in the memory format of the setting."""
    module.to(setting.device)
    if setting.cfg.CHANNELS_LAST:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


def _trainer(
    setting: Setting, network: Any, model: nn.Module, distillation: Any, teacher: nn.Module | None
) -> Trainer[Any]:
    cfg, half = setting.cfg, setting.cfg.FP16
    return Trainer(
        network,
        model,
        setting.task.loss,
        optimizer(model, cfg.TRAIN.OPTIMIZER, cfg.TRAIN.WD, cfg.TRAIN.MOMENTUM, cfg.TRAIN.NESTEROV),
        setting.task.prepare,
        distillation=distillation,
        distillation_weight=cfg.SUPERNET.DISTILLATION_WEIGHT,
        teacher=teacher,
        clip=cfg.SUPERNET.CLIP_GRADIENT,
        ema=cfg.SUPERNET.EMA,
        accumulate=cfg.TRAIN.ACCUMULATE,
        sync_bn=cfg.MODEL.SYNC_BN,
        precision=getattr(torch, half.DTYPE) if half.ENABLED else None,
        loss_scale=0.0 if half.DYNAMIC_LOSS_SCALE else half.STATIC_LOSS_SCALE,
    )


def _phases(setting: Setting, schedule: Sequence[Stage[Any]], sort: Any, processes: Team) -> list[Phase[Any]]:
    cfg, phases = setting.cfg, []
    for stage in schedule:
        sampler = _sampler(setting, stage.space)
        opens_widths = any(gene.kind.endswith(WIDTHS) for gene in stage.space.genes)
        before, sort = (sort, None) if opens_widths else (None, sort)
        steps = stage.steps or steps_of(setting, stage.epochs, processes)
        phases.append(Phase(stage.name, sampler, steps, _curve(setting, stage.lr or cfg.TRAIN.LR), before))
    return phases


def _sampler(setting: Setting, space: Any) -> Sampler[Any]:
    node = setting.cfg.SUPERNET
    chooses = node.SAMPLING in ("best_up", "worst_up") and space.size > 1
    cost = CostModel(setting.build, space).macs if chooses else None
    return Sampler(space, node.SAMPLING, node.RANDOM, candidates=node.CANDIDATES, cost=cost)


def _curve(setting: Setting, lr: float) -> Callable[[float], float]:
    """The learning rate within a stage."""
    train, warmup = setting.cfg.TRAIN, setting.cfg.SUPERNET.WARMUP
    if setting.cfg.SUPERNET.SCHEDULE == "cosine":
        return cosine(lr, warmup)
    return multi_step(lr, [epoch / train.END_EPOCH for epoch in train.LR_STEP], train.LR_FACTOR, warmup)


def steps_of(setting: Setting, epochs: int, processes: Team) -> int:
    """Steps in so many passes over the training images."""
    return math.ceil(epochs * len(setting.train) / _batch(setting, processes))


def _batch(setting: Setting, processes: Team) -> int:
    """Images of a step, those of all processes together."""
    train = setting.cfg.TRAIN
    if train.IMAGES_PER_GPU < 1 or train.ACCUMULATE < 1:
        raise UserError("TRAIN.IMAGES_PER_GPU and TRAIN.ACCUMULATE have to be at least 1")
    images: int = train.IMAGES_PER_GPU * train.ACCUMULATE * processes.size
    return images


def _finished(setting: Setting, folder: Path, settings: Mapping[str, Any], processes: Team) -> bool:
    """Whether there is nothing to train; the first process looks."""
    return processes.share(processes.rank == 0 and setting.cfg.AUTO_RESUME and finished(folder, settings))


def _fit(
    setting: Setting,
    folder: Path,
    title: str,
    trainer: Trainer[Any],
    phases: Sequence[Phase[Any]],
    settings: Mapping[str, Any],
    extra: Mapping[str, Any],
    processes: Team,
) -> None:
    cfg, images = setting.cfg, len(setting.train)
    alike = cfg.SUPERNET.RANK_ARCHITECTURES == "same"
    if cfg.MODEL.SYNC_BN and processes.size > 1 and cfg.SUPERNET.SAMPLING in ("best_up", "worst_up"):
        raise UserError(
            "MODEL.SYNC_BN wants the same networks everywhere: set SUPERNET.SAMPLING sandwich or single_path"
        )
    if cfg.MODEL.SYNC_BN and not alike:
        raise UserError("MODEL.SYNC_BN wants the same networks everywhere: set SUPERNET.RANK_ARCHITECTURES same")
    plan = Plan(phases, images, _batch(setting, processes), cfg.SEED, processes.rank, alike)
    keeping = Keeping(cfg.CHECKPOINT_SECONDS, cfg.AUTO_RESUME, cfg.DATASET.MAX_BROKEN)
    fit(folder, title, trainer, plan, setting.task, setting.train, settings, extra, keeping, processes)


def _teacher(setting: Setting) -> nn.Module:
    """The largest network with the weights of SUPERNET.TEACHER."""
    network = setting.build(setting.space.largest)
    if not setting.cfg.SUPERNET.TEACHER:
        raise UserError("SUPERNET.DISTILLATION is teacher: set SUPERNET.TEACHER to a checkpoint of the largest network")
    checkpoint.load_checkpoint(network, setting.cfg.SUPERNET.TEACHER)
    return place(network, setting).eval().requires_grad_(False)


def program() -> None:
    """``python train.py``."""
    run(main)
