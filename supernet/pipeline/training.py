"""Trainers, stages and learning rates as the settings of a step describe them."""

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
from .run import Run
from .steps import Optimisation, SupernetTraining

WIDTHS = ("width", "expansion")


def new_supernet(run: Run) -> Supernet[Any]:
    """The run's supernet with fresh weights."""
    return Supernet(run.build, run.space, kernel_transforms=run.cfg.SUPERNET.KERNEL_TRANSFORMS)


def place(module: nn.Module, run: Run) -> nn.Module:
    """The module on the device and in the memory format of the run."""
    module.to(run.device)
    if run.cfg.CHANNELS_LAST:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


def trainer_of(
    run: Run,
    network: Any,
    model: nn.Module,
    settings: Optimisation,
    *,
    distillation: Any = "none",
    distillation_weight: float | None = None,
    teacher: nn.Module | None = None,
) -> Trainer[Any]:
    """The trainer of these settings.

    Args:
        run: whose task and batches of a step it takes.
        network: from (images, architecture) to outputs.
        model: holds the weights.
        settings: of the optimiser.
        distillation: ``inplace``, ``teacher`` or ``none``.
        distillation_weight: factor on that loss.
        teacher: in evaluation mode.
    """
    half = settings.half_precision
    return Trainer(
        network,
        model,
        run.task.loss,
        optimizer(model, settings),
        run.task.prepare,
        distillation=distillation,
        distillation_weight=1.0 if distillation_weight is None else distillation_weight,
        teacher=teacher,
        clip=settings.clip,
        ema=settings.ema,
        accumulate=run.cfg.TRAIN.ACCUMULATE,
        sync_bn=settings.sync_bn,
        precision=getattr(torch, half) if half else None,
        loss_scale=settings.loss_scale or 0.0,
        depthwise_strips=bool(settings.depthwise_strips),
    )


def optimizer(model: nn.Module, settings: Optimisation) -> torch.optim.Optimizer:
    """``adam``, ``adamw`` or ``sgd`` on all parameters; the loop sets the learning rate.

    ``adam`` takes no weight decay, as in the programs of HRNet and HigherHRNet, whose files name one all the same.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decay = settings.weight_decay or 0.0
    match settings.optimizer:
        case "adam":
            return torch.optim.Adam(parameters, fused=True)
        case "adamw":
            return torch.optim.AdamW(parameters, weight_decay=decay, fused=True)
        case "sgd":
            return torch.optim.SGD(
                parameters,
                momentum=settings.momentum or 0.0,
                weight_decay=decay,
                nesterov=bool(settings.nesterov),
                fused=True,
            )
    raise UserError(f"TRAIN.OPTIMIZER {settings.optimizer!r} is not known; there are adam, adamw and sgd")


def schedule_of(run: Run) -> list[Stage[Any]]:
    """The stages of SUPERNET.STAGES; without any, one of TRAIN.END_EPOCH epochs that opens everything."""
    cfg = run.cfg
    everything = {"name": "all", "open": list(run.space.kinds), "steps": 0, "epochs": cfg.TRAIN.END_EPOCH}
    return stages(run.space, cfg.SUPERNET.STAGES or [everything])


def phases_of(
    run: Run, settings: SupernetTraining, schedule: Sequence[Stage[Any]], sort: Callable[[], None] | None
) -> list[Phase[Any]]:
    """The stages as phases; ``sort`` runs before the first that opens widths."""
    phases = []
    for stage in schedule:
        sampler = _sampler(run, settings, stage.space)
        opens_widths = any(gene.kind.endswith(WIDTHS) for gene in stage.space.genes)
        before, sort = (sort, None) if opens_widths else (None, sort)
        length = stage.steps or steps_of(run, stage.epochs, settings.optimisation.batch)
        phases.append(Phase(stage.name, sampler, length, curve(settings, stage.lr or settings.lr), before))
    return phases


def _sampler(run: Run, settings: SupernetTraining, space: Any) -> Sampler[Any]:
    chooses = settings.candidates is not None and space.size > 1
    cost = CostModel(run.build, space).macs if chooses else None
    node = run.cfg.SUPERNET
    return Sampler(space, node.SAMPLING, node.RANDOM, candidates=node.CANDIDATES, cost=cost)


def curve(settings: SupernetTraining, lr: float) -> Callable[[float], float]:
    """The learning rate within a stage."""
    if settings.schedule == "cosine":
        return cosine(lr, settings.warmup)
    milestones = [epoch / (settings.epochs or 1) for epoch in settings.lr_steps or ()]
    return multi_step(lr, milestones, settings.lr_factor or 1.0, settings.warmup)


def steps_of(run: Run, epochs: int, batch: int) -> int:
    """Steps of a batch in so many passes over the training images."""
    return math.ceil(epochs * len(run.train) / batch)
