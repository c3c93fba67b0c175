"""Confidence and tag maps of a bottom-up network: joined over its outputs, over flip and over scales.

Source: B. Cheng et al., "HigherHRNet", CVPR 2020, section 3 and its published test settings.
Shapes: B images, K joints, T tag planes (K, or 1 where all joints share one), H W rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from supernet.errors import UserError
from supernet.pose.bottom_up.inference_settings import InferenceSettings


@dataclass
class Maps:
    """Confidence (B, K, H, W) and one entry (B, T, H, W) per tag component."""

    confidence: torch.Tensor
    tags: list[torch.Tensor]


def aggregate_stages(outputs: Sequence[torch.Tensor], settings: InferenceSettings) -> Maps:
    """Bring all outputs of the network to the size of the last; average their confidence and collect their tags.

    Every output holds confidence in its first K channels, if any, and tags in its last T.

    Raises:
        UserError: the outputs do not fit the flags of the settings.
    """
    joints = len(settings.flip_index)
    planes = joints if settings.grouping.tag_per_joint else 1
    if len(outputs) != len(settings.with_heatmaps):
        raise UserError(
            f"the network gave {len(outputs)} outputs, with_heatmaps and with_tags have "
            f"{len(settings.with_heatmaps)} flags: give one flag for each output"
        )
    confidence, tags = [], []
    for stage, output in enumerate(outputs):
        has_confidence, has_tags = settings.with_heatmaps[stage], settings.with_tags[stage]
        needed = joints * has_confidence + planes * has_tags
        if output.shape[1] < needed:
            raise UserError(
                f"output {stage} of the network has {output.shape[1]} channels, {needed} are needed for {joints} "
                "joints: correct with_heatmaps, with_tags or the number of joints"
            )
        maps = _resize(output.float(), outputs[-1].shape[-1], outputs[-1].shape[-2])
        if has_confidence:
            confidence.append(maps[:, :joints])
        if has_tags:
            tags.append(maps[:, maps.shape[1] - planes :])
    return Maps(sum(confidence[1:], confidence[0]) / len(confidence), tags)


def _resize(maps: torch.Tensor, width: int, height: int) -> torch.Tensor:
    if maps.shape[-2:] == (height, width):
        return maps
    return functional.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False)


def unflip(maps: Maps, flip_index: Sequence[int], tag_per_joint: bool) -> Maps:
    """Mirror the maps of a mirrored image back, and exchange left and right joints."""
    joints = torch.tensor(flip_index, device=maps.confidence.device)
    tags = [t.flip(3) for t in maps.tags]
    return Maps(maps.confidence.flip(3)[:, joints], [t[:, joints] for t in tags] if tag_per_joint else tags)


def merge_flip(maps: Maps, unflipped: Maps) -> Maps:
    """Average the confidence of both passes; keep the tags of both side by side."""
    return Maps((maps.confidence + unflipped.confidence) / 2, maps.tags + unflipped.tags)


def project(maps: Maps, size_wh: tuple[int, int]) -> Maps:
    """Resize confidence and tags to ``size_wh``."""
    return Maps(_resize(maps.confidence, *size_wh), [_resize(t, *size_wh) for t in maps.tags])


def merge_scales(maps_by_scale: Sequence[tuple[float, Maps]]) -> Maps:
    """Average the confidence of all scales at the size of the first; tags are those of scale 1, or of the only scale.

    Args:
        maps_by_scale: (scale, maps), from the largest scale to the smallest.
    """
    first = maps_by_scale[0][1]
    if len(maps_by_scale) == 1:
        return first
    size_wh = (first.confidence.shape[3], first.confidence.shape[2])
    resized = [(scale, project(maps, size_wh)) for scale, maps in maps_by_scale]
    confidence = sum((maps.confidence for _, maps in resized[1:]), resized[0][1].confidence) / len(resized)
    return Maps(confidence, [t for scale, maps in resized if scale == 1 for t in maps.tags])
