"""A training as the configuration describes it: stages, steps, learning rates, optimiser, batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ..cost.cost_model import CostModel
from ..errors import UserError
from ..sharing.supernet import Supernet
from ..training.sampling import Sampler
from ..training.schedule import Phase, cosine, multi_step
from ..training.stages import Stage, stages
from ..training.trainer import Trainer
from .fit import optimizer
from .process_group import ProcessGroup
from .run import Run

TRAINED_BY = ("SEED", "DATASET", "MODEL", "LOSS", "TRAIN", "SPACE", "FP16")  # what makes two trainings different
WIDTHS = ("width", "expansion")


def new_supernet(run: Run) -> Supernet[Any]:
    """The setting's supernet with fresh weights."""
    return Supernet(run.build, run.space, kernel_transforms=run.cfg.SUPERNET.KERNEL_TRANSFORMS)


def place(module: nn.Module, run: Run) -> nn.Module:
    """The module on the device and in the memory format of the setting."""
    module.to(run.device)
    if run.cfg.CHANNELS_LAST:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


def trainer_of(run: Run, network: Any, model: nn.Module, distillation: Any, teacher: nn.Module | None) -> Trainer[Any]:
    """The trainer that the configuration asks for."""
    cfg, half = run.cfg, run.cfg.FP16
    return Trainer(
        network,
        model,
        run.task.loss,
        optimizer(model, cfg.TRAIN.OPTIMIZER, cfg.TRAIN.WD, cfg.TRAIN.MOMENTUM, cfg.TRAIN.NESTEROV),
        run.task.prepare,
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


def schedule_of(run: Run) -> list[Stage[Any]]:
    """The stages of SUPERNET.STAGES; without any, one of TRAIN.END_EPOCH epochs that opens everything."""
    cfg = run.cfg
    everything = {"name": "all", "open": list(run.space.kinds), "steps": 0, "epochs": cfg.TRAIN.END_EPOCH}
    return stages(run.space, cfg.SUPERNET.STAGES or [everything])


def phases_of(run: Run, schedule: Sequence[Stage[Any]], sort: Any, processes: ProcessGroup) -> list[Phase[Any]]:
    """The stages as phases; ``sort`` runs before the first that opens widths."""
    cfg, phases = run.cfg, []
    for stage in schedule:
        sampler = _sampler(run, stage.space)
        opens_widths = any(gene.kind.endswith(WIDTHS) for gene in stage.space.genes)
        before, sort = (sort, None) if opens_widths else (None, sort)
        steps = stage.steps or steps_of(run, stage.epochs, processes)
        phases.append(Phase(stage.name, sampler, steps, _curve(run, stage.lr or cfg.TRAIN.LR), before))
    return phases


def _sampler(run: Run, space: Any) -> Sampler[Any]:
    node = run.cfg.SUPERNET
    chooses = node.SAMPLING in ("best_up", "worst_up") and space.size > 1
    cost = CostModel(run.build, space).macs if chooses else None
    return Sampler(space, node.SAMPLING, node.RANDOM, candidates=node.CANDIDATES, cost=cost)


def _curve(run: Run, lr: float) -> Callable[[float], float]:
    """The learning rate within a stage."""
    train, warmup = run.cfg.TRAIN, run.cfg.SUPERNET.WARMUP
    if run.cfg.SUPERNET.SCHEDULE == "cosine":
        return cosine(lr, warmup)
    return multi_step(lr, [epoch / train.END_EPOCH for epoch in train.LR_STEP], train.LR_FACTOR, warmup)


def steps_of(run: Run, epochs: int, processes: ProcessGroup) -> int:
    """Steps in so many passes over the training images."""
    return math.ceil(epochs * len(run.train) / batch_of(run, processes))


def batch_of(run: Run, processes: ProcessGroup) -> int:
    """Images of a step, those of all processes together."""
    train = run.cfg.TRAIN
    if train.IMAGES_PER_GPU < 1 or train.ACCUMULATE < 1:
        raise UserError("TRAIN.IMAGES_PER_GPU and TRAIN.ACCUMULATE have to be at least 1")
    images: int = train.IMAGES_PER_GPU * train.ACCUMULATE * processes.size
    return images
