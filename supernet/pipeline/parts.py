"""What several steps have in common, read from the configuration: data, samples and inference of both approaches.

Parts of :mod:`.steps`: a field here is an input of every result whose step contains it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from yacs.config import CfgNode

from .keys import given, key

# ------------------------------------------------------------------------------------------------------------------ data


@dataclass(frozen=True)
class SyntheticData:
    """The synthetic dataset, which follows from these."""

    train: int = key("DATASET.SYNTHETIC.TRAIN")
    size: list[int] = key("DATASET.SYNTHETIC.SIZE")
    max_people: int = key("DATASET.SYNTHETIC.MAX_PEOPLE")
    seed: int = key("DATASET.SYNTHETIC.SEED")
    subject: str | None = key(
        "DATASET.SYNTHETIC.SUBJECT", when=lambda cfg: cfg.DATASET.SYNTHETIC.SUBJECT != "people"
    )  # None: as the first results were kept


@dataclass(frozen=True)
class TrainingData:
    """The training split without what is set aside. Files are known by their content, wherever they lie."""

    dataset: str = given("DATASET.DATASET")
    annotations: str | None = given("annotations of DATASET.TRAIN (SHA-256)")
    synthetic: SyntheticData | None = given("DATASET.SYNTHETIC")
    search_images: int = key("DATASET.SEARCH_IMAGES")
    final_images: int | None = key("DATASET.FINAL_IMAGES", when=lambda cfg: cfg.DATASET.FINAL_IMAGES > 0)
    split_seed: int = key("DATASET.SPLIT_SEED")
    skeleton: Any = given("DATASET.SKELETON", None)


@dataclass(frozen=True)
class Calibration:
    """Images that BatchNorm statistics are computed from."""

    data: TrainingData = given("")
    images: int = key("DATASET.CALIBRATION_IMAGES")


@dataclass(frozen=True)
class TestData:
    """The split that is reported on; ``boxes`` are those of a detector."""

    dataset: str = given("DATASET.DATASET")
    annotations: str | None = given("annotations of DATASET.TEST (SHA-256)")
    synthetic: SyntheticData | None = given("DATASET.SYNTHETIC")
    images: int | None = key("DATASET.SYNTHETIC.VAL", when=lambda cfg: cfg.DATASET.SYNTHETIC.TRAIN > 0)
    boxes: str | None = given("boxes of TEST.COCO_BBOX_FILE (SHA-256)", None)
    lowest_box_score: float | None = given("TEST.IMAGE_THRE", None)
    mpii_gt: str | None = given("DATASET.MPII_GT (SHA-256)", None)
    skeleton: Any = given("DATASET.SKELETON", None)


# ----------------------------------------------------------------------------------------------------------- the two ways


@dataclass(frozen=True)
class BottomUpSamples:
    """Training samples and loss of images with many people."""

    max_rotation: float = key("DATASET.MAX_ROTATION")
    min_scale: float = key("DATASET.MIN_SCALE")
    max_scale: float = key("DATASET.MAX_SCALE")
    scale_type: str = key("DATASET.SCALE_TYPE")
    max_translate: float = key("DATASET.MAX_TRANSLATE")
    translate_inside: bool = key("DATASET.TRANSLATE_INSIDE")
    flip: float = key("DATASET.FLIP")
    strides: tuple[int, ...] = given("DATASET.INPUT_SIZE / DATASET.OUTPUT_SIZE")
    sigma: float = key("DATASET.SIGMA")
    tag_radius: int = key("DATASET.TAG_RADIUS")
    max_people: int = key("DATASET.MAX_NUM_PEOPLE")
    tag_per_joint: bool = key("MODEL.TAG_PER_JOINT")
    with_heatmaps: list[bool] = key("LOSS.WITH_HEATMAPS_LOSS")
    heatmap_factors: list[float] = key("LOSS.HEATMAPS_LOSS_FACTOR")
    with_tags: list[bool] = key("LOSS.WITH_AE_LOSS")
    tag_loss: str = key("LOSS.AE_LOSS_TYPE")
    push_factors: list[float] = key("LOSS.PUSH_LOSS_FACTOR")
    pull_factors: list[float] = key("LOSS.PULL_LOSS_FACTOR")
    foreground: float = key("LOSS.FOREGROUND_WEIGHT")


@dataclass(frozen=True)
class BottomUpInference:
    """From the outputs of a bottom-up network to people."""

    max_people: int = key("DATASET.MAX_NUM_PEOPLE")
    tag_per_joint: bool = key("MODEL.TAG_PER_JOINT")
    detection_threshold: float = key("TEST.DETECTION_THRESHOLD")
    tag_threshold: float = key("TEST.TAG_THRESHOLD")
    use_detection_value: bool = key("TEST.USE_DETECTION_VAL")
    ignore_too_much: bool = key("TEST.IGNORE_TOO_MUCH")
    nms_kernel: int = key("TEST.NMS_KERNEL")
    adjust: bool = key("TEST.ADJUST")
    refine: bool = key("TEST.REFINE")
    assignment: Literal["parity", "fast"] = key("TEST.ASSIGNMENT")
    scales: list[float] = key("TEST.SCALE_FACTOR")
    flip: bool = key("TEST.FLIP_TEST")
    project_to_image: bool = key("TEST.PROJECT2IMAGE")
    with_heatmaps: list[bool] = key("TEST.WITH_HEATMAPS")
    with_tags: list[bool] = key("TEST.WITH_AE")
    sigmas: tuple[float, ...] | None = given("DATASET.SKELETON sigmas", None)


def _simcc(cfg: CfgNode) -> bool:
    return bool(cfg.MODEL.TARGET_TYPE == "simcc")


def _rtmpose(cfg: CfgNode) -> bool:
    return bool(cfg.DATASET.AUGMENTATION == "rtmpose")


@dataclass(frozen=True)
class TopDownSamples:
    """Training samples and loss of one person in a box."""

    scale_factor: float = key("DATASET.SCALE_FACTOR")
    rotation_factor: float = key("DATASET.ROT_FACTOR")
    flip: float = key("DATASET.FLIP")
    half_body_probability: float = key("DATASET.PROB_HALF_BODY")
    half_body_joints: int | None = key("DATASET.NUM_JOINTS_HALF_BODY", when=lambda cfg: cfg.DATASET.PROB_HALF_BODY > 0)
    augmentation: str | None = key("DATASET.AUGMENTATION", when=_rtmpose)
    shift_factor: float | None = key("DATASET.SHIFT_FACTOR", when=_rtmpose)
    dropout: float | None = key("DATASET.DROPOUT", when=_rtmpose)
    last_epochs: int | None = key("DATASET.LAST_EPOCHS", when=lambda cfg: _rtmpose(cfg) and cfg.DATASET.LAST_EPOCHS > 0)
    rgb: bool = key("DATASET.COLOR_RGB")
    sigma: float | None = key("MODEL.SIGMA", when=lambda cfg: not _simcc(cfg))
    simcc_sigma: float | None = key("MODEL.SIMCC_SIGMA", when=_simcc)
    simcc_normalized: bool | None = key("MODEL.SIMCC_NORMALIZED", when=_simcc)
    simcc_beta: float | None = key("LOSS.SIMCC_BETA", when=_simcc)
    simcc_label_softmax: bool | None = key("LOSS.SIMCC_LABEL_SOFTMAX", when=_simcc)
    target_type: str = key("MODEL.TARGET_TYPE")
    weighted: bool = key("LOSS.USE_TARGET_WEIGHT")
    weigh_joints: bool = key("LOSS.USE_DIFFERENT_JOINTS_WEIGHT")
    hardest: int | None = key("LOSS.TOPK", when=lambda cfg: cfg.LOSS.USE_OHKM)
    foreground: float | None = key("LOSS.FOREGROUND_WEIGHT", when=lambda cfg: not _simcc(cfg))
    upper_body: tuple[int, ...] | None = given("DATASET.SKELETON upper_body", None)


@dataclass(frozen=True)
class TopDownInference:
    """From the heatmaps or bins of a top-down network to results."""

    simcc: str | None = key("MODEL.TARGET_TYPE", when=_simcc)
    rgb: bool = key("DATASET.COLOR_RGB")
    flip: bool = key("TEST.FLIP_TEST")
    shift: bool | None = key("TEST.SHIFT_HEATMAP", when=lambda cfg: cfg.TEST.FLIP_TEST)
    refine: bool = key("TEST.POST_PROCESS")
    blur_kernel: int | None = key("TEST.BLUR_KERNEL", when=lambda cfg: cfg.TEST.POST_PROCESS and not _simcc(cfg))
    lowest_joint: float = key("TEST.IN_VIS_THRE")
    oks: float = key("TEST.OKS_THRE")
    soft_nms: bool = key("TEST.SOFT_NMS")
    sigmas: tuple[float, ...] | None = given("DATASET.SKELETON sigmas", None)


Samples = BottomUpSamples | TopDownSamples
Inference = BottomUpInference | TopDownInference
