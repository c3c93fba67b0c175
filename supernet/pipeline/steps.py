"""What each step of a run uses: one frozen dataclass per step, read from the configuration here and nowhere else.

A field with a :func:`~.keys.key` is a value of the configuration; the others are given. :func:`~.keys.provenance` turns a step
into ``{key: value}``, which is kept beside what the step makes: two results are comparable when these are equal. So a field
here is an input of the result. Where data lies, devices, threads, workers and batch sizes of evaluation are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from yacs.config import CfgNode

from .keys import given, key
from .parts import Calibration, Inference, Samples, TestData, TrainingData

#: Images of an optimiser step: the product counts, its factors do not.
BATCH = "TRAIN.IMAGES_PER_GPU x TRAIN.ACCUMULATE x processes"


# ------------------------------------------------------------------------------------------------------------- trainings


#: What a configuration without the key was trained with; results that are kept say nothing of it.
FINAL_LR = 0.01


def _decays(cfg: CfgNode) -> bool:
    return cfg.TRAIN.OPTIMIZER not in ("adam", "lazy_adam")  # as in HRNet's programs


def _sgd(cfg: CfgNode) -> bool:
    return bool(cfg.TRAIN.OPTIMIZER == "sgd")


def _half(cfg: CfgNode) -> bool:
    return bool(cfg.FP16.ENABLED)


@dataclass(frozen=True)
class Optimisation:
    """The optimiser, and what happens around its step."""

    batch: int = given(BATCH)
    optimizer: str = key("TRAIN.OPTIMIZER")
    weight_decay: float | None = key("TRAIN.WD", when=_decays)
    decays_norms: bool | None = key("TRAIN.WD_NORM", when=lambda cfg: _decays(cfg) and not cfg.TRAIN.WD_NORM)
    momentum: float | None = key("TRAIN.MOMENTUM", when=_sgd)
    nesterov: bool | None = key("TRAIN.NESTEROV", when=_sgd)
    clip: float = key("SUPERNET.CLIP_GRADIENT")
    ema: float = key("SUPERNET.EMA")
    ema_gamma: float | None = key("SUPERNET.EMA_GAMMA", when=lambda cfg: cfg.SUPERNET.EMA and cfg.SUPERNET.EMA_GAMMA)
    sync_bn: bool = key("MODEL.SYNC_BN")
    identity_start: bool | None = key("MODEL.IDENTITY_START", when=lambda cfg: cfg.MODEL.IDENTITY_START)
    depthwise_strips: bool | None = key("TRAIN.DEPTHWISE_STRIPS", when=lambda cfg: cfg.TRAIN.DEPTHWISE_STRIPS)
    half_precision: str | None = key("FP16.DTYPE", when=_half)
    dynamic_loss_scale: bool | None = key("FP16.DYNAMIC_LOSS_SCALE", when=_half)
    loss_scale: float | None = key(
        "FP16.STATIC_LOSS_SCALE", when=lambda cfg: _half(cfg) and not cfg.FP16.DYNAMIC_LOSS_SCALE
    )


@dataclass(frozen=True)
class SearchSpace:
    """Which architectures there are."""

    family: str = given("SPACE.FAMILY")
    name: str = key("SPACE.NAME")
    restrict: dict[str, Any] = key("SPACE.RESTRICT")


def _sampled(cfg: CfgNode) -> bool:
    return bool(cfg.SUPERNET.SAMPLING != "single_path")


def _multi_step(cfg: CfgNode) -> bool:
    return bool(cfg.SUPERNET.SCHEDULE == "multi_step")


@dataclass(frozen=True)
class SupernetTraining:
    """The training of a supernet, stage by stage."""

    space: SearchSpace = given("")
    data: TrainingData = given("")
    samples: Samples = given("")
    optimisation: Optimisation = given("")
    pretrained: str | None = given("MODEL.PRETRAINED (SHA-256)")
    teacher: str | None = given("SUPERNET.TEACHER (SHA-256)")
    seed: int = key("SEED")
    lr: float = key("TRAIN.LR")
    epochs: int | None = key("TRAIN.END_EPOCH", when=lambda cfg: not cfg.SUPERNET.STAGES or _multi_step(cfg))
    lr_steps: list[int] | None = key("TRAIN.LR_STEP", when=_multi_step)
    lr_factor: float | None = key("TRAIN.LR_FACTOR", when=_multi_step)
    schedule: str = key("SUPERNET.SCHEDULE")
    final_lr: float | None = key(
        "SUPERNET.FINAL_LR", when=lambda cfg: not _multi_step(cfg) and cfg.SUPERNET.FINAL_LR != FINAL_LR
    )
    one_curve: bool | None = key("SUPERNET.ONE_CURVE", when=lambda cfg: cfg.SUPERNET.ONE_CURVE)
    warmup: float = key("SUPERNET.WARMUP")
    stages: list[Any] = key("SUPERNET.STAGES")
    sampling: str = key("SUPERNET.SAMPLING")
    random: int | None = key("SUPERNET.RANDOM", when=_sampled)
    candidates: int | None = key(
        "SUPERNET.CANDIDATES", when=lambda cfg: cfg.SUPERNET.SAMPLING in ("best_up", "worst_up")
    )
    paths: int | None = key("SUPERNET.PATHS", when=lambda cfg: cfg.SUPERNET.PATHS > 1)
    coverage: float | None = key("SUPERNET.COVERAGE", when=lambda cfg: cfg.SUPERNET.COVERAGE > 0)
    rank_architectures: str = key("SUPERNET.RANK_ARCHITECTURES")
    distillation: str = key("SUPERNET.DISTILLATION")
    distillation_weight: float | None = key(
        "SUPERNET.DISTILLATION_WEIGHT", when=lambda cfg: cfg.SUPERNET.DISTILLATION != "none"
    )
    distillation_ramp: float | None = key(
        "SUPERNET.DISTILLATION_RAMP",
        when=lambda cfg: cfg.SUPERNET.DISTILLATION != "none" and cfg.SUPERNET.DISTILLATION_RAMP > 0,
    )
    kernel_transforms: bool = key("SUPERNET.KERNEL_TRANSFORMS")
    sort_channels: bool = key("SUPERNET.SORT_CHANNELS")


@dataclass(frozen=True)
class NetworkTraining:
    """The training of one architecture: retraining from extracted weights, or stand-alone from fresh ones."""

    family: str = given("SPACE.FAMILY")
    arch: Any = given("architecture")
    data: TrainingData = given("")
    samples: Samples = given("")
    optimisation: Optimisation = given("")
    seed: int = given("SEED")
    epochs: int = given("RETRAIN.EPOCHS")
    lr: float = given("RETRAIN.LR")
    lr_steps: tuple[int, ...] = given("RETRAIN.LR_STEP")
    lr_factor: float | None = given("TRAIN.LR_FACTOR")
    initial: str | None = given("weights to begin with (SHA-256)")
    teacher: str | None = given("teacher (SHA-256)")
    distillation_weight: float | None = given("SUPERNET.DISTILLATION_WEIGHT")
    schedule: str | None = given("RETRAIN.SCHEDULE", None)  # None: cosine, as the first results were kept
    warmup: float | None = given("RETRAIN.WARMUP", None)


# --------------------------------------------------------------------------------------------- what is done with weights


@dataclass(frozen=True)
class Search:
    """Scores of subnets on the search split."""

    supernet: str = given("supernet (SHA-256)")
    calibration: Calibration = given("")
    inference: Inference = given("")
    seed: int = key("SEARCH.SEED")
    score: str | None = key("SEARCH.SCORE", when=lambda cfg: cfg.SEARCH.SCORE)  # None: as the first results were kept
    samples: Samples | None = given("", None)  # of a search by the loss


@dataclass(frozen=True)
class Transfer:
    """Extraction of one architecture, and its calibration."""

    supernet: str = given("supernet (SHA-256)")
    arch: Any = given("architecture")
    calibration: Calibration = given("")


@dataclass(frozen=True)
class Evaluation:
    """The official metric of weights on the reported split."""

    data: TestData = given("")
    inference: Inference = given("")
    arch: Any = given("architecture", None)
    weights: str | None = given("weights (SHA-256)", None)
