"""Trainers, stages and learning rates as the settings of a step describe them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import nn

from ..cost.cost_model import CostModel
from ..sharing.supernet import Supernet
from ..training.lazy_adam import LazyAdam
from ..training.sampling import Sampler, Sampling
from ..training.schedule import Phase, cosine, flat_cosine, multi_step, over_phases
from ..training.stages import Stage, stages
from ..training.trainer import Trainer
from ..training.weight_decay import decay_groups
from .run import Run
from .steps import FINAL_LR, Optimisation, SupernetTraining

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
    distillation_ramp: int = 0,
    distillation_start: int = 0,
    share_batch: bool = False,
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
        distillation_ramp: steps over which it grows from 0.
        distillation_start: the first step with a teacher.
        share_batch: every architecture of a step reads its own part of the batch.
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
        distillation_ramp=distillation_ramp,
        distillation_start=distillation_start,
        share_batch=share_batch,
        teacher=teacher,
        clip=settings.clip,
        ema=settings.ema,
        ema_gamma=settings.ema_gamma or 0.0,
        accumulate=run.cfg.TRAIN.ACCUMULATE,
        sync_bn=settings.sync_bn,
        precision=getattr(torch, half) if half else None,
        loss_scale=settings.loss_scale or 0.0,
        depthwise_strips=bool(settings.depthwise_strips),
    )


def supernet_trainer(
    run: Run,
    supernet: Supernet[Any],
    settings: SupernetTraining,
    schedule: Sequence[Stage[Any]],
    teacher: nn.Module | None,
) -> Trainer[Any]:
    """The trainer of a supernet; without the teacher that the settings want, one that learns from none."""
    lengths = lengths_of(run, settings, schedule)
    taught: Any = "teacher" if settings.distillation in ("teacher", "largest") else settings.distillation
    opening = next((index for index, stage in enumerate(schedule) if stage.space.size > 1), 0)
    return trainer_of(
        run,
        supernet,
        supernet,
        settings.optimisation,
        distillation="none" if taught == "teacher" and teacher is None else taught,
        distillation_weight=settings.distillation_weight,
        distillation_ramp=round((settings.distillation_ramp or 0.0) * sum(lengths)),
        distillation_start=sum(lengths[:opening]) if settings.distillation == "largest" else 0,
        share_batch=settings.paths is not None,
        teacher=teacher,
    )


def optimizer(model: nn.Module, settings: Optimisation) -> torch.optim.Optimizer:
    """The optimiser of TRAIN.OPTIMIZER on all parameters; the loop sets the learning rate.

    ``adam`` takes no weight decay, as in the programs of HRNet and HigherHRNet, whose files name one all the same.
    """
    decay = settings.weight_decay or 0.0
    parameters: Any = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.decays_norms is False:
        parameters = decay_groups(model, decay)
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
        case "lazy_adam" | "lazy_adamw":
            return LazyAdam(parameters, weight_decay=decay)
    raise AssertionError("the configuration knows all optimisers")


def schedule_of(run: Run) -> list[Stage[Any]]:
    """The stages of SUPERNET.STAGES; without any, one of TRAIN.END_EPOCH epochs that opens everything."""
    cfg = run.cfg
    everything = {"name": "all", "open": list(run.space.kinds), "steps": 0, "epochs": cfg.TRAIN.END_EPOCH}
    return stages(run.space, cfg.SUPERNET.STAGES or [everything])


def lengths_of(run: Run, settings: SupernetTraining, schedule: Sequence[Stage[Any]]) -> list[int]:
    """Steps of each stage."""
    return [stage.steps or steps_of(run, stage.epochs, settings.optimisation.batch) for stage in schedule]


def unaligned_of(run: Run) -> tuple[str, ...]:
    """The kinds of choices whose smaller options meet other weights than the largest, as the family says itself."""
    return tuple(kind for kind in getattr(run.family, "UNALIGNED", ()) if kind in run.space.kinds)


def phases_of(
    run: Run,
    settings: SupernetTraining,
    schedule: Sequence[Stage[Any]],
    sort: Callable[[], None] | None = None,
    keep: Callable[[], None] | None = None,
) -> list[Phase[Any]]:
    """The stages as phases; ``keep`` runs before the first that opens anything, ``sort`` before the first that opens widths."""
    lengths, phases = lengths_of(run, settings, schedule), []
    curves = [curve(settings, stage.lr or settings.lr) for stage in schedule]
    if settings.one_curve:
        curves = over_phases(curves[0], lengths)
    for stage, length, lr in zip(schedule, lengths, curves, strict=True):
        before = []
        if keep is not None and stage.space.size > 1:
            before, keep = [keep], None
        if sort is not None and any(gene.kind.endswith(WIDTHS) for gene in stage.space.genes):
            before, sort = [*before, sort], None
        phases.append(Phase(stage.name, _sampler(run, settings, stage.space), length, lr, _one_after_another(before)))
    return phases


def _one_after_another(functions: Sequence[Callable[[], None]]) -> Callable[[], None] | None:
    def together() -> None:
        for function in functions:
            function()

    return together if functions else None


def _sampler(run: Run, settings: SupernetTraining, space: Any) -> Sampler[Any]:
    coverage = settings.coverage or 0.0
    priced = (settings.candidates is not None or coverage > 0) and space.size > 1
    cost = CostModel(run.build, space).macs if priced else None
    sampling, random = settings.sampling, settings.random or 0
    if settings.paths is not None:
        sampling, random = "multi_path", settings.paths
    chosen = settings.candidates or run.cfg.SUPERNET.CANDIDATES
    return Sampler(space, cast(Sampling, sampling), random, candidates=chosen, cost=cost, coverage=coverage)


def curve(settings: SupernetTraining, lr: float) -> Callable[[float], float]:
    """The learning rate within a stage."""
    if settings.schedule == "cosine":
        return cosine(lr, settings.warmup, FINAL_LR if settings.final_lr is None else settings.final_lr)
    if settings.schedule == "flat_cosine":
        return flat_cosine(lr, settings.warmup)
    milestones = [epoch / (settings.epochs or 1) for epoch in settings.lr_steps or ()]
    return multi_step(lr, milestones, settings.lr_factor or 1.0, settings.warmup)


def steps_of(run: Run, epochs: int, batch: int) -> int:
    """Steps of a batch in so many passes over the training images."""
    return math.ceil(epochs * len(run.train) / batch)
