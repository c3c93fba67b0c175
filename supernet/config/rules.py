"""What may stand under a configuration key beyond its default's type: free names, items of lists, choices, ranges, aliases."""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode

from ..cost.costs import COSTS
from ..errors import UserError
from .ranges import range_of
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
    "SUPERNET.SCHEDULE": ("cosine", "multi_step", "flat_cosine"),
    "RETRAIN.SCHEDULE": ("cosine", "flat_cosine"),
    "MODEL.TARGET_TYPE": ("gaussian", "unbiased", "simcc"),
    "DATASET.AUGMENTATION": ("hrnet", "rtmpose"),
    "DATASET.JOINT_NAMES": ("compare", "ignore"),
    "DATASET.SYNTHETIC.SUBJECT": ("people", "corners", "hands", "animals"),
    "TEST.ASSIGNMENT": ("parity", "fast"),
    "SUPERNET.SAMPLING": ("sandwich", "single_path", "best_up", "worst_up"),
    "SUPERNET.DISTILLATION": ("inplace", "largest", "teacher", "none"),
    "TRAIN.OPTIMIZER": ("adam", "adamw", "sgd", "lazy_adam", "lazy_adamw"),
    "SEARCH.BACKEND": ("local", "ray"),
    "SEARCH.ALGORITHM": ("predictor", "nsga2", "evolution", "random"),
    "COST.OBJECTIVES": tuple(COSTS),
    "TEST.METRIC_BACKEND": ("pycocotools", "faster", "crowdposetools"),
}

#: HRNet's (top-down) names for keys that HigherHRNet calls otherwise.
ALIASES = {
    "DATASET.TRAIN_SET": "TRAIN",
    "DATASET.TEST_SET": "TEST",
    "TRAIN.BATCH_SIZE_PER_GPU": "IMAGES_PER_GPU",
    "TEST.BATCH_SIZE_PER_GPU": "IMAGES_PER_GPU",
}


def check_value(name: str, value: Any, source: str) -> Any:
    """The value of a key, which has the right type already.

    Raises:
        UserError: the key does not take it; names what it takes.
    """
    choices = CHOICES.get(name.partition("[")[0])  # of the key, or of each item of its list
    if choices is not None and value not in choices:
        raise UserError(f"{source}: {name} is {value!r}, not one of {', '.join(choices)}")
    limits = range_of(name)
    if limits is not None and value not in limits:
        raise UserError(
            f"{source}: {name} is {value!r}; it takes a {'whole ' * isinstance(value, int)}number, {limits}"
        )
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
        raise UserError(f"{source}: {name} is {value[:40]!r}, which has a character that no text has")
    return value


def check_together(cfg: CfgNode) -> None:
    """Refuse values that are right by themselves and mean nothing together.

    Raises:
        UserError: names the two keys, and what to set.
    """
    supernet = cfg.SUPERNET
    rates = {stage.lr or cfg.TRAIN.LR for stage in supernet.STAGES}
    if supernet.PATHS > 1 and supernet.SAMPLING != "single_path":
        raise UserError(
            f"SUPERNET.PATHS is {supernet.PATHS}, which is for SUPERNET.SAMPLING single_path; "
            f"of {supernet.SAMPLING} every architecture reads the whole batch: set PATHS 1"
        )
    if supernet.PATHS > 1 and supernet.DISTILLATION == "inplace":
        raise UserError(
            f"SUPERNET.PATHS is {supernet.PATHS} and SUPERNET.DISTILLATION inplace, which needs architectures that read the same "
            "images: set DISTILLATION none, largest or teacher"
        )
    if supernet.PATHS > cfg.TRAIN.IMAGES_PER_GPU > 0:
        raise UserError(
            f"SUPERNET.PATHS is {supernet.PATHS} and TRAIN.IMAGES_PER_GPU {cfg.TRAIN.IMAGES_PER_GPU}: an architecture needs at "
            "least one image; set PATHS lower"
        )
    if supernet.COVERAGE and supernet.SAMPLING in ("best_up", "worst_up"):
        raise UserError(
            f"SUPERNET.COVERAGE is for SUPERNET.SAMPLING single_path and sandwich; {supernet.SAMPLING} chooses by the loss: set "
            "COVERAGE 0"
        )
    if supernet.ONE_CURVE and len(rates) > 1:
        found = ", ".join(f"{rate:g}" for rate in sorted(rates))
        raise UserError(
            f"SUPERNET.ONE_CURVE has one initial learning rate, SUPERNET.STAGES have {found}: give all the same lr, or none"
        )
    if supernet.DISTILLATION == "largest" and (not supernet.STAGES or supernet.STAGES[0].open):
        raise UserError(
            "SUPERNET.DISTILLATION largest learns from the largest network as the first of SUPERNET.STAGES left it: begin with a "
            "stage that opens nothing, open: []"
        )
