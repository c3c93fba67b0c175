"""What may stand under a configuration key beyond its default's type: free names, items of lists, choices, ranges, aliases."""

from __future__ import annotations

import math
from typing import Any

from ..cost.costs import COSTS
from .schema import STAGE

#: Nodes that take any keys.
FREE = ("MODEL.EXTRA",)

#: Example item of a list that is empty by default, or of a mapping with names of the user's choice.
ITEMS: dict[str, Any] = {
    "SPACE.MUST_CONTAIN": "",
    "SPACE.RESTRICT": [],
    "SUPERNET.STAGES": STAGE,
    "SEARCH.BUDGETS": 0,
    "RETRAIN.LR_STEP": 0,
    "FIDELITY.BUDGETS": 0,
}

#: Text keys that are the name of a file, or in place of it what such a file would hold, kept as JSON text.
FILE_OR_NODE = ("DATASET.SKELETON",)

#: Text keys with few right answers.
CHOICES = {
    "FP16.DTYPE": ("float16", "bfloat16"),
    "SUPERNET.RANK_ARCHITECTURES": ("same", "different"),
    "SUPERNET.SCHEDULE": ("cosine", "multi_step"),
    "MODEL.TARGET_TYPE": ("gaussian", "unbiased"),
    "DATASET.JOINT_NAMES": ("compare", "ignore"),
    "DATASET.SYNTHETIC.SUBJECT": ("people", "corners", "hands", "animals"),
    "TEST.ASSIGNMENT": ("parity", "fast"),
    "SUPERNET.SAMPLING": ("sandwich", "single_path", "best_up", "worst_up"),
    "SUPERNET.DISTILLATION": ("inplace", "teacher", "none"),
    "SEARCH.BACKEND": ("local", "ray"),
    "SEARCH.ALGORITHM": ("predictor", "nsga2", "evolution", "random"),
    "COST.OBJECTIVES": tuple(COSTS),
    "TEST.METRIC_BACKEND": ("pycocotools", "faster", "crowdposetools"),
}

#: Smallest and largest number that a key takes.
RANGES: dict[str, tuple[float, float]] = {
    "DATASET.FINAL_IMAGES": (0, math.inf),
    "SEARCH.FINALISTS": (0, math.inf),
}

#: HRNet's (top-down) names for keys that HigherHRNet calls otherwise.
ALIASES = {
    "DATASET.TRAIN_SET": "TRAIN",
    "DATASET.TEST_SET": "TEST",
    "TRAIN.BATCH_SIZE_PER_GPU": "IMAGES_PER_GPU",
    "TEST.BATCH_SIZE_PER_GPU": "IMAGES_PER_GPU",
}
