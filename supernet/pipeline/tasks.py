"""From the nodes LOSS, DATASET, MODEL and TEST to the task: samples, loss, decoding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from yacs.config import CfgNode

from ..pose.bottom_up.augmentation import Augmentation
from ..pose.bottom_up.grouping import GroupingSettings
from ..pose.bottom_up.inference import InferenceSettings
from ..pose.bottom_up.losses import BottomUpLoss
from ..pose.bottom_up.task import BottomUpTask
from ..pose.keypoints import Skeleton
from ..pose.top_down.crop import PersonAugmentation
from ..pose.top_down.decoding import DecodingSettings
from ..pose.top_down.losses import PersonLoss
from ..pose.top_down.task import SuppressionSettings, TopDownTask, one_person
from ..sharing.meta import skeleton as meta_network


def bottom_up_task(cfg: CfgNode, skeleton: Skeleton, device: torch.device) -> BottomUpTask:
    """Samples, loss and decoding of images with many people."""
    loss = BottomUpLoss(
        num_joints=skeleton.num_joints,
        with_heatmaps=tuple(cfg.LOSS.WITH_HEATMAPS_LOSS),
        with_tags=tuple(cfg.LOSS.WITH_AE_LOSS),
        heatmap_factors=tuple(cfg.LOSS.HEATMAPS_LOSS_FACTOR),
        push_factors=tuple(cfg.LOSS.PUSH_LOSS_FACTOR),
        pull_factors=tuple(cfg.LOSS.PULL_LOSS_FACTOR),
        tag_kind=cfg.LOSS.AE_LOSS_TYPE,
        foreground=cfg.LOSS.FOREGROUND_WEIGHT,
    )
    augmentation = Augmentation(
        max_rotation=cfg.DATASET.MAX_ROTATION,
        min_scale=cfg.DATASET.MIN_SCALE,
        max_scale=cfg.DATASET.MAX_SCALE,
        scale_type=cfg.DATASET.SCALE_TYPE,
        max_translate=cfg.DATASET.MAX_TRANSLATE,
        flip_probability=cfg.DATASET.FLIP,
        inside=cfg.DATASET.TRANSLATE_INSIDE,
    )
    grouping = GroupingSettings(
        num_joints=skeleton.num_joints,
        max_people=cfg.DATASET.MAX_NUM_PEOPLE,
        detection_threshold=cfg.TEST.DETECTION_THRESHOLD,
        tag_threshold=cfg.TEST.TAG_THRESHOLD,
        use_detection_value=cfg.TEST.USE_DETECTION_VAL,
        ignore_too_much=cfg.TEST.IGNORE_TOO_MUCH,
        nms_kernel=cfg.TEST.NMS_KERNEL,
        tag_per_joint=cfg.MODEL.TAG_PER_JOINT,
        adjust=cfg.TEST.ADJUST,
        refine=cfg.TEST.REFINE,
        assignment=cfg.TEST.ASSIGNMENT,
    )
    inference = InferenceSettings(
        input_size=cfg.DATASET.INPUT_SIZE,
        scales=tuple(cfg.TEST.SCALE_FACTOR),
        flip=cfg.TEST.FLIP_TEST,
        project_to_image=cfg.TEST.PROJECT2IMAGE,
        with_heatmaps=tuple(cfg.TEST.WITH_HEATMAPS),
        with_tags=tuple(cfg.TEST.WITH_AE),
        grouping=grouping,
        flip_index=skeleton.flip_index,
    )
    return BottomUpTask(
        skeleton=skeleton,
        loss=loss,
        augmentation=augmentation,
        inference=inference,
        sigma=cfg.DATASET.SIGMA,
        tag_radius=cfg.DATASET.TAG_RADIUS,
        strides=tuple(cfg.DATASET.INPUT_SIZE // size for size in cfg.DATASET.OUTPUT_SIZE[: len(loss.with_heatmaps)]),
        max_people=cfg.DATASET.MAX_NUM_PEOPLE,
        device=device,
        channels_last=cfg.CHANNELS_LAST,
        workers=cfg.WORKERS,
        seed=cfg.SEED,
    )


def top_down_task(
    cfg: CfgNode, skeleton: Skeleton, device: torch.device, stride_of: Callable[[Any], int]
) -> TopDownTask:
    """Samples, loss and decoding of one person in a box; ``stride_of`` is :func:`heatmap_stride` of the network."""
    loss = PersonLoss(
        weighted=cfg.LOSS.USE_TARGET_WEIGHT,
        hardest=cfg.LOSS.TOPK if cfg.LOSS.USE_OHKM else 0,
        foreground=cfg.LOSS.FOREGROUND_WEIGHT,
    )
    augmentation = PersonAugmentation(
        scale_factor=cfg.DATASET.SCALE_FACTOR,
        rotation_factor=cfg.DATASET.ROT_FACTOR,
        flip_probability=cfg.DATASET.FLIP,
        half_body_probability=cfg.DATASET.PROB_HALF_BODY,
        half_body_joints=cfg.DATASET.NUM_JOINTS_HALF_BODY,
    )
    decoding = DecodingSettings(
        flip=cfg.TEST.FLIP_TEST,
        shift=cfg.TEST.SHIFT_HEATMAP,
        refine=cfg.TEST.POST_PROCESS,
        blur_kernel=cfg.TEST.BLUR_KERNEL,
    )
    return TopDownTask(
        skeleton=skeleton,
        loss=loss,
        augmentation=augmentation,
        decoding=decoding,
        suppression=SuppressionSettings(cfg.TEST.IN_VIS_THRE, cfg.TEST.OKS_THRE, cfg.TEST.SOFT_NMS)
        if skeleton.sigmas
        else None,
        stride_of=stride_of,
        sigma=cfg.MODEL.SIGMA,
        unbiased=cfg.MODEL.TARGET_TYPE == "unbiased",
        weigh_joints=cfg.LOSS.USE_DIFFERENT_JOINTS_WEIGHT,
        rgb=cfg.DATASET.COLOR_RGB,
        device=device,
        channels_last=cfg.CHANNELS_LAST,
        workers=cfg.WORKERS,
        seed=cfg.SEED,
    )


def heatmap_stride(build: Callable[[Any], nn.Module], arch: Any) -> int:
    """Pixels of the network input to a cell of the heatmaps, of a top-down network.

    Raises:
        UserError: the network answers with something else than one person's heatmaps.
    """
    network = meta_network(build, arch).eval()
    with torch.inference_mode():
        heatmaps = one_person(network(torch.empty(1, 3, *arch.input_hw, device="meta")))
    return int(arch.input_hw[0] // heatmaps.shape[2])
