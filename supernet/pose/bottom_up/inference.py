"""Bottom-up inference: images in, people in image pixels out, as HigherHRNet and LitePose are evaluated.

Source: B. Cheng et al., "HigherHRNet", CVPR 2020, section 3 and its published test settings.

Shapes: B images, K joints, T tag planes (K, or 1 where all joints share one), H W rows and columns, P people.
Coordinates: x before y; an image is scaled uniformly about its centre and padded with black.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from supernet.pose.bottom_up.grouping import GroupingSettings, group
from supernet.pose.bottom_up.inference_settings import InferenceSettings
from supernet.pose.bottom_up.maps import Maps, aggregate_stages, merge_flip, merge_scales, project, unflip
from supernet.pose.bottom_up.resize import Image, Resize, resize_image, resized_size, to_image
from supernet.pose.inputs import check_images, normalise


@dataclass
class Prediction:
    """The people of one image.

    ``keypoints`` (P, K, 3): x, y in pixels of the original image and confidence, not clipped to the image. Confidence 0 means
    that the joint was not found; it then lies where the corner of the maps lies, as in the published programs.
    ``scores`` (P,): mean confidence of the joints found by grouping.
    """

    keypoints: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]


def predict(
    forward: Callable[[torch.Tensor], Sequence[torch.Tensor]],
    images: Sequence[Image],
    settings: InferenceSettings,
    inputs: Callable[[torch.Tensor], torch.Tensor] = normalise,
    batch_size: int = 32,
) -> list[Prediction]:
    """Find the people in images.

    Images that get the same input size go through the network together, once per scale and flip.

    Args:
        forward: the network in evaluation mode, from (B, 3, H, W) to its outputs at rising resolution.
        images: RGB bytes (H, W, 3).
        settings: sizes, scales, flip and grouping.
        inputs: from uint8 RGB (B, H, W, 3) on the CPU to what the network is given, on its device.
        batch_size: at most so many images at once.

    Returns:
        One prediction per image, in order.

    Raises:
        UserError: an image is not RGB bytes, or the network's outputs do not fit the settings.
    """
    check_images(images)
    scales = sorted(settings.scales, reverse=True)
    batches: defaultdict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    resizes = []
    for index, image in enumerate(images):
        height, width = image.shape[:2]
        sizes = [resized_size(width, height, settings.input_size, s, scales[-1]) for s in (*scales, 1.0)]
        resizes.append(sizes)
        batches[tuple(r.size_wh for r in sizes)].append(index)
    predictions: dict[int, Prediction] = {}
    for same_size in batches.values():
        for start in range(0, len(same_size), batch_size):
            batch = same_size[start : start + batch_size]
            scaled = []
            for position, scale in enumerate(scales):
                pixels = np.stack([resize_image(images[i], resizes[i][position]) for i in batch])
                x = inputs(torch.from_numpy(pixels))
                scaled.append((scale, _maps(forward, x, settings, resizes[batch[0]][-1].size_wh)))
            # the geometry of the smallest scale, the last one processed
            last = [resizes[i][len(scales) - 1] for i in batch]
            predictions.update(zip(batch, _decode(merge_scales(scaled), last, settings.grouping), strict=True))
    return [predictions[i] for i in range(len(images))]


@torch.no_grad()
def _maps(
    forward: Callable[[torch.Tensor], Sequence[torch.Tensor]],
    x: torch.Tensor,
    settings: InferenceSettings,
    base_wh: tuple[int, int],
) -> Maps:
    """Maps of one batch at one scale."""
    maps = aggregate_stages(forward(x), settings)
    mirrored = None
    if settings.flip:
        mirrored = aggregate_stages(forward(x.flip(3)), settings)
        mirrored = unflip(mirrored, settings.flip_index, settings.grouping.tag_per_joint)
    if settings.project_to_image:
        maps = project(maps, base_wh)
        mirrored = project(mirrored, base_wh) if mirrored else None
    return merge_flip(maps, mirrored) if mirrored else maps


def _decode(maps: Maps, resizes: Sequence[Resize], settings: GroupingSettings) -> list[Prediction]:
    """Group the maps of one batch, image by image."""
    joints = settings.num_joints  # channels beyond these are the centre
    confidence_BKHW = maps.confidence[:, :joints].cpu().numpy()
    tags = [t[:, :joints].cpu().numpy() for t in maps.tags]
    size_wh = (confidence_BKHW.shape[3], confidence_BKHW.shape[2])
    predictions = []
    for confidence_KHW, resize, *tags_THW in zip(confidence_BKHW, resizes, *tags, strict=True):
        # stacked as planes, which grouping wants, and viewed with the tag components last
        poses, scores = group(confidence_KHW, np.moveaxis(np.stack(tags_THW), 0, -1), settings)
        keypoints = poses[:, :, :3].copy()
        keypoints[:, :, :2] = to_image(keypoints[:, :, :2], size_wh, resize)
        predictions.append(Prediction(keypoints, scores))
    return predictions


def results(image_id: int, prediction: Prediction, category_id: int = 1) -> list[dict[str, Any]]:
    """COCO result entries of one image: one per person, with the extent of all K keypoints as its box."""
    entries = []
    for keypoints, score in zip(prediction.keypoints, prediction.scores, strict=True):
        low, high = keypoints[:, :2].min(axis=0), keypoints[:, :2].max(axis=0)
        entries.append(
            {
                "image_id": image_id,
                "category_id": category_id,
                "keypoints": keypoints.ravel().tolist(),
                "score": float(score),
                "bbox": [*low.tolist(), *(high - low).tolist()],
            }
        )
    return entries
