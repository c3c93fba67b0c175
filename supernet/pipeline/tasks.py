"""The task of a run from the settings of its steps: samples, loss, decoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ..errors import UserError
from ..pose.bottom_up.augmentation import Augmentation
from ..pose.bottom_up.grouping import GroupingSettings
from ..pose.bottom_up.inference_settings import InferenceSettings
from ..pose.bottom_up.losses import BottomUpLoss
from ..pose.bottom_up.targets import TargetSettings
from ..pose.bottom_up.task import BottomUpTask
from ..pose.keypoints import Skeleton
from ..pose.top_down.decoding import DecodingSettings
from ..pose.top_down.losses import PersonLoss
from ..pose.top_down.oks_nms import SuppressionSettings
from ..pose.top_down.rtmpose_augmentation import RTMPoseAugmentation
from ..pose.top_down.samples import PersonAugmentation
from ..pose.top_down.simcc import SimCCDecodingSettings, SimCCTargetSettings, one_person_vectors
from ..pose.top_down.simcc_loss import SimCCLoss
from ..pose.top_down.targets import PersonTargetSettings
from ..pose.top_down.task import TopDownTask, one_person
from ..sharing.meta import meta_network
from .parts import BottomUpInference, BottomUpSamples, TopDownInference, TopDownSamples


@dataclass(frozen=True)
class Machine:
    """Where and how a task computes; nothing of it is an input of a result."""

    device: torch.device
    channels_last: bool
    workers: int


def bottom_up_task(
    samples: BottomUpSamples, inference: BottomUpInference, skeleton: Skeleton, machine: Machine, seed: int
) -> BottomUpTask:
    """Samples, loss and decoding of images with many people."""
    loss = BottomUpLoss(
        num_joints=skeleton.num_joints,
        with_heatmaps=tuple(samples.with_heatmaps),
        with_tags=tuple(samples.with_tags),
        heatmap_factors=tuple(samples.heatmap_factors),
        push_factors=tuple(samples.push_factors),
        pull_factors=tuple(samples.pull_factors),
        tag_kind=samples.tag_loss,
        foreground=samples.foreground,
    )
    augmentation = Augmentation(
        max_rotation=samples.max_rotation,
        min_scale=samples.min_scale,
        max_scale=samples.max_scale,
        scale_type=samples.scale_type,
        max_translate=samples.max_translate,
        flip_probability=samples.flip,
        inside=samples.translate_inside,
    )
    targets = TargetSettings(
        strides=samples.strides,
        sigma=samples.sigma,
        max_people=samples.max_people,
        tag_per_joint=samples.tag_per_joint,
        tag_radius=samples.tag_radius,
    )
    grouping = GroupingSettings(
        num_joints=skeleton.num_joints,
        max_people=inference.max_people,
        detection_threshold=inference.detection_threshold,
        tag_threshold=inference.tag_threshold,
        use_detection_value=inference.use_detection_value,
        ignore_too_much=inference.ignore_too_much,
        nms_kernel=inference.nms_kernel,
        tag_per_joint=inference.tag_per_joint,
        adjust=inference.adjust,
        refine=inference.refine,
        assignment=inference.assignment,
    )
    settings = InferenceSettings(
        input_size=512,  # the network has its own
        scales=tuple(inference.scales),
        flip=inference.flip,
        project_to_image=inference.project_to_image,
        with_heatmaps=tuple(inference.with_heatmaps),
        with_tags=tuple(inference.with_tags),
        grouping=grouping,
        flip_index=skeleton.flip_index,
    )
    return BottomUpTask(
        skeleton=skeleton,
        loss=loss,
        augmentation=augmentation,
        targets=targets,
        inference=settings,
        device=machine.device,
        channels_last=machine.channels_last,
        workers=machine.workers,
        seed=seed,
    )


def top_down_task(
    samples: TopDownSamples,
    inference: TopDownInference,
    skeleton: Skeleton,
    machine: Machine,
    seed: int,
    stride_of: Callable[[Any], int],
    suppress: bool = True,
) -> TopDownTask:
    """Samples, loss and decoding of one person in a box.

    Args:
        samples: settings of the training samples.
        inference: settings of the decoding.
        skeleton: the keypoints.
        machine: where it computes.
        seed: of the augmentation.
        stride_of: :func:`output_stride` of the network.
        suppress: leave out people of an image who repeat one another.
    """
    loss, targets, decoding = (_bins if samples.target_type == "simcc" else _heatmaps)(samples, inference)
    augmentation: PersonAugmentation | RTMPoseAugmentation = PersonAugmentation(
        scale_factor=samples.scale_factor,
        rotation_factor=samples.rotation_factor,
        flip_probability=samples.flip,
        half_body_probability=samples.half_body_probability,
        half_body_joints=samples.half_body_joints or 0,
    )
    last = None
    if samples.augmentation == "rtmpose":
        augmentation = RTMPoseAugmentation(
            **asdict(augmentation), shift_factor=samples.shift_factor or 0.0, dropout=samples.dropout or 0.0
        )
        last = augmentation.of_last_epochs() if samples.last_epochs else None
    suppression = SuppressionSettings(inference.lowest_joint, inference.oks, inference.soft_nms)
    return TopDownTask(
        skeleton=skeleton,
        loss=loss,
        augmentation=augmentation,
        last_augmentation=last,
        decoding=decoding,
        suppression=suppression if suppress else None,
        stride_of=stride_of,
        targets=targets,
        rgb=samples.rgb,
        device=machine.device,
        channels_last=machine.channels_last,
        workers=machine.workers,
        seed=seed,
    )


def _heatmaps(
    samples: TopDownSamples, inference: TopDownInference
) -> tuple[PersonLoss, PersonTargetSettings, DecodingSettings]:
    """Loss, targets and decoding of heatmaps."""
    loss = PersonLoss(weighted=samples.weighted, hardest=samples.hardest or 0, foreground=samples.foreground or 0.0)
    targets = PersonTargetSettings(
        sigma=samples.sigma or 0.0, unbiased=samples.target_type == "unbiased", weigh_joints=samples.weigh_joints
    )
    decoding = DecodingSettings(
        flip=inference.flip,
        shift=bool(inference.shift),
        refine=inference.refine,
        blur_kernel=inference.blur_kernel or 0,
    )
    return loss, targets, decoding


def _bins(
    samples: TopDownSamples, inference: TopDownInference
) -> tuple[SimCCLoss, SimCCTargetSettings, SimCCDecodingSettings]:
    """Loss, targets and decoding of coordinate bins.

    Raises:
        UserError: a key asks for what only heatmaps have.
    """
    if samples.hardest:
        raise UserError("LOSS.USE_OHKM is for heatmaps, MODEL.TARGET_TYPE is simcc: set it to false")
    loss = SimCCLoss(samples.weighted, samples.simcc_beta or 0.0, bool(samples.simcc_label_softmax))
    targets = SimCCTargetSettings(samples.simcc_sigma or 0.0, bool(samples.simcc_normalized), samples.weigh_joints)
    return loss, targets, SimCCDecodingSettings(inference.flip, bool(inference.shift), inference.refine)


def output_stride(build: Callable[[Any], nn.Module], bins: bool, arch: Any) -> int:
    """Pixels of the network input to a cell of the heatmaps, of a top-down network; 0 of one that classifies coordinates.

    Raises:
        UserError: the network's output is something else than one person's heatmaps, or with ``bins`` bins of x and y.
    """
    network = meta_network(build, arch).eval()
    with torch.inference_mode():
        outputs = network(torch.empty(1, 3, *arch.input_hw, device="meta"))
    if bins:
        one_person_vectors(outputs)
        return 0
    heatmaps = one_person(outputs)
    return int(arch.input_hw[0] // heatmaps.shape[2])
