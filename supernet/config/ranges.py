"""The range of every configuration key that is a number; each item of a list of numbers has that of its key."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..cost.costs import COSTS

_INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included unless ``above`` leaves out ``low``; and ``also`` beside them."""

    low: float
    high: float
    above: bool = False
    also: float | None = None

    def __contains__(self, value: float) -> bool:
        """Whether a number lies within."""
        return value == self.also or (self.low <= value <= self.high and not (self.above and value == self.low))

    def __str__(self) -> str:
        """For messages and documents: ``1 to 512``."""
        low = f"above {self.low:,g}, at most {self.high:,.12g}" if self.above else f"{self.low:,g} to {self.high:,.12g}"
        return low if self.also is None else f"{self.also:g}, or {low}"


_BATCH, _IMAGES, _EPOCHS, _SEED = Range(1, 65_536), Range(0, 100_000_000), Range(0, 1_000_000), Range(0, 2**32 - 1)
_SHARE, _FACTOR, _RATE, _DEGREES = Range(0, 1), Range(0, 1_000_000), Range(0, 100), Range(0, 180)
_PART, _SIDE, _JOINTS = Range(0, 1, above=True), Range(16, 8192), Range(0, 1000)

RANGES: dict[str, Range] = {
    "WORKERS": Range(0, 512),
    "SEED": _SEED,
    "THREADS": Range(0, 1024),
    "CHECKPOINT_SECONDS": Range(0, 1_000_000_000),
    "FP16.STATIC_LOSS_SCALE": Range(0, 2.0**60, above=True),
    "MODEL.NUM_JOINTS": _JOINTS,
    "MODEL.IMAGE_SIZE": _SIDE,
    "MODEL.SIGMA": Range(0, 64, above=True),
    "MODEL.SIMCC_SIGMA": Range(0, 64),
    "MODEL.SCALE_FACTOR": Range(-8, 8),
    "MODEL.WIDTH_MULT": Range(0, 16, above=True),
    "MODEL.DEPTH_MULT": Range(0, 16, above=True),
    "MODEL.DIM_MODEL": Range(1, 65_536),
    "MODEL.DIM_FEEDFORWARD": Range(1, 65_536),
    "MODEL.N_HEAD": Range(1, 1024),
    "MODEL.ENCODER_LAYERS": Range(0, 1024),
    "LOSS.HEATMAPS_LOSS_FACTOR": _FACTOR,
    "LOSS.PUSH_LOSS_FACTOR": _FACTOR,
    "LOSS.PULL_LOSS_FACTOR": _FACTOR,
    "LOSS.FOREGROUND_WEIGHT": _FACTOR,
    "LOSS.TOPK": Range(1, 1000),
    "LOSS.SIMCC_BETA": Range(0, 1000, above=True),
    "DATASET.MAX_NUM_PEOPLE": Range(1, 1000),
    "DATASET.MAX_ROTATION": _DEGREES,
    "DATASET.MIN_SCALE": Range(0, 100, above=True),
    "DATASET.MAX_SCALE": Range(0, 100, above=True),
    "DATASET.MAX_TRANSLATE": Range(0, 1000),
    "DATASET.INPUT_SIZE": _SIDE,
    "DATASET.OUTPUT_SIZE": Range(1, 8192),
    "DATASET.FLIP": _SHARE,
    "DATASET.SIGMA": Range(0, 64, above=True, also=-1),
    "DATASET.TAG_RADIUS": Range(0, 64),
    "DATASET.SCALE_FACTOR": Range(0, 0.99),
    "DATASET.ROT_FACTOR": _DEGREES,
    "DATASET.PROB_HALF_BODY": _SHARE,
    "DATASET.SHIFT_FACTOR": _SHARE,
    "DATASET.DROPOUT": _SHARE,
    "DATASET.LAST_EPOCHS": _EPOCHS,
    "DATASET.NUM_JOINTS_HALF_BODY": _JOINTS,
    "DATASET.SYNTHETIC.TRAIN": Range(0, 1_000_000),
    "DATASET.SYNTHETIC.VAL": Range(0, 1_000_000),
    "DATASET.SYNTHETIC.SIZE": Range(16, 4096),
    "DATASET.SYNTHETIC.MAX_PEOPLE": Range(1, 100),
    "DATASET.SYNTHETIC.SEED": _SEED,
    "DATASET.SEARCH_IMAGES": _IMAGES,
    "DATASET.FINAL_IMAGES": _IMAGES,
    "DATASET.CALIBRATION_IMAGES": Range(1, 100_000_000),
    "DATASET.SPLIT_SEED": _SEED,
    "DATASET.MAX_BROKEN": _IMAGES,
    "DATASET.IMAGE_LIMITS.PIXELS": Range(1, 2**30),
    "DATASET.IMAGE_LIMITS.SIDE": Range(1, 2**20),
    "DATASET.IMAGE_LIMITS.ASPECT": Range(1, 2**20),
    "TRAIN.LR": Range(0, 100, above=True),
    "TRAIN.LR_FACTOR": _SHARE,
    "TRAIN.LR_STEP": _EPOCHS,
    "TRAIN.MOMENTUM": Range(0, 0.9999),
    "TRAIN.WD": Range(0, 10),
    "TRAIN.END_EPOCH": Range(1, 1_000_000),
    "TRAIN.IMAGES_PER_GPU": _BATCH,
    "TRAIN.ACCUMULATE": _BATCH,
    "TEST.IMAGES_PER_GPU": _BATCH,
    "TEST.SCALE_FACTOR": Range(0, 16, above=True),
    "TEST.DETECTION_THRESHOLD": _SHARE,
    "TEST.TAG_THRESHOLD": Range(0, 1_000_000),
    "TEST.NMS_KERNEL": Range(1, 99),
    "TEST.BLUR_KERNEL": Range(0, 99),
    "TEST.IMAGE_THRE": _SHARE,
    "TEST.IN_VIS_THRE": _SHARE,
    "TEST.OKS_THRE": _SHARE,
    "SUPERNET.PATHS": Range(1, 65_536),
    "SUPERNET.COVERAGE": _SHARE,
    "SUPERNET.FINAL_LR": _SHARE,
    "SUPERNET.DISTILLATION_RAMP": _SHARE,
    "SUPERNET.RANDOM": Range(0, 1024),
    "SUPERNET.CANDIDATES": Range(1, 1024),
    "SUPERNET.WARMUP": _SHARE,
    "SUPERNET.DISTILLATION_WEIGHT": _FACTOR,
    "SUPERNET.EMA_GAMMA": _FACTOR,
    "SUPERNET.EMA": Range(0, 0.999999),
    "SUPERNET.CLIP_GRADIENT": Range(0, 1_000_000_000),
    "SUPERNET.STAGES.steps": Range(0, 1_000_000_000),
    "SUPERNET.STAGES.epochs": _EPOCHS,
    "SUPERNET.STAGES.lr": _RATE,
    "SEARCH.EVALUATIONS": Range(1, 10_000_000),
    "SEARCH.FINALISTS": Range(0, 100_000),
    "SEARCH.POPULATION": Range(1, 100_000),
    "SEARCH.MUTATION_PROBABILITY": _SHARE,
    "SEARCH.PARENT_RATIO": _PART,
    "SEARCH.RANDOM_BASELINE": Range(0, 10_000_000),
    "SEARCH.SEED": _SEED,
    "SEARCH.HALVING.IMAGES": _IMAGES,
    "SEARCH.HALVING.KEEP": _PART,
    "RAY.WORKERS": Range(0, 100_000),
    "RAY.CPUS": Range(1, 4096),
    "RAY.GPUS": Range(0, 64),
    "RAY.START_SECONDS": Range(1, 86_400),
    **{f"COST.{cost.limit}": Range(0, 1e18) for cost in COSTS.values()},
    "RETRAIN.WARMUP": _SHARE,
    "RETRAIN.EPOCHS": _EPOCHS,
    "RETRAIN.LR": _RATE,
    "RETRAIN.LR_STEP": _EPOCHS,
    "FIDELITY.ARCHITECTURES": Range(1, 1_000_000),
    "FIDELITY.BUDGETS": Range(0, 1e18, above=True),
    "FIDELITY.WITHIN": _PART,
    "FIDELITY.SEEDS": Range(1, 1000),
    "FIDELITY.REPEATED": Range(0, 1_000_000),
    "FIDELITY.EPOCHS": _EPOCHS,
    "FIDELITY.LR": _RATE,
    "FIDELITY.IMAGES_PER_GPU": Range(0, 65_536),
    "FIDELITY.SEED": _SEED,
    "FIDELITY.BANDS": Range(1, 1000),
}


def range_of(name: str) -> Range | None:
    """The range of a key, also of an item of its list, ``TEST.SCALE_FACTOR[0]``; None where it is no number."""
    return RANGES.get(_INDEX.sub("", name))
