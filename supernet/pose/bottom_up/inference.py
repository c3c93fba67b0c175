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

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from supernet.errors import UserError
from supernet.pose.bottom_up.grouping import GroupingSettings, group
from supernet.pose.inputs import check_images, normalise

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class InferenceSettings:
    """How an image becomes maps; the defaults are those of the published single-scale runs without flip.

    ``input_size`` is the short side in pixels, rounded up to a multiple of 64. ``scales`` are relative to it and, where
    there are several, contain 1, at which tags are read. ``flip_index[k]`` is the joint that joint k becomes in a
    mirrored image; it is longer than ``grouping.num_joints`` where the network also finds a centre, which is dropped.
    ``with_heatmaps`` and ``with_tags`` tell for each output of the network whether its confidence and tags are used.
    ``project_to_image`` groups at the size of the network's input rather than of its last output.
    """

    input_size: int
    grouping: GroupingSettings
    flip_index: tuple[int, ...]
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    project_to_image: bool = True
    with_heatmaps: tuple[bool, ...] = (True, True)
    with_tags: tuple[bool, ...] = (True, False)

    def __post_init__(self) -> None:
        """Refuse settings that leave no confidence, no tags or no joints."""
        if len(self.scales) != 1 and 1 not in self.scales:
            raise UserError(f"scales {self.scales} lack 1, at which tags are read: add 1, or give a single scale")
        if not self.scales or min(self.scales) <= 0 or self.input_size < 1:
            raise UserError(f"input_size {self.input_size} and scales {self.scales} must be positive")
        if not any(self.with_heatmaps) or not any(self.with_tags) or len(self.with_heatmaps) != len(self.with_tags):
            raise UserError(
                f"with_heatmaps {self.with_heatmaps} and with_tags {self.with_tags}: "
                "give one flag for each output of the network, and at least one true in both"
            )
        if len(self.flip_index) < self.grouping.num_joints:
            raise UserError(
                f"flip_index names {len(self.flip_index)} joints, grouping has {self.grouping.num_joints}: "
                "take both from one skeleton"
            )


@dataclass
class Prediction:
    """The people of one image.

    ``keypoints`` (P, K, 3): x, y in pixels of the original image and confidence, not clipped to the image. Heat 0 means
    that the joint was not found; it then lies where the corner of the maps lies, as in the published programs.
    ``scores`` (P,): mean confidence of the joints found by grouping.
    """

    keypoints: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Resize:
    """The network's input size for one image, and the part of the image that it shows (``scale_xy`` * 200 px)."""

    size_wh: tuple[int, int]
    center_xy: tuple[int, int]
    scale_xy: tuple[float, float]


def resized_size(width: int, height: int, input_size: int, scale: float = 1.0, min_scale: float = 1.0) -> Resize:
    """Size at which an image of ``width`` x ``height`` pixels enters the network.

    The short side is ``input_size`` and the long side in proportion, each rounded up to a multiple of 64 at
    ``min_scale``, the smallest of the scales in use; the other scales are multiples of that size.
    """
    center = (int(width / 2 + 0.5), int(height / 2 + 0.5))
    short = int((min_scale * input_size + 63) // 64 * 64)
    near, far = min(width, height), max(width, height)
    short_resized = int(short * scale / min_scale)
    long_resized = int(int((short / near * far + 63) // 64 * 64) * scale / min_scale)
    if width < height:
        return Resize((short_resized, long_resized), center, (width / 200, long_resized / short_resized * width / 200))
    return Resize((long_resized, short_resized), center, (long_resized / short_resized * height / 200, height / 200))


def affine(resize: Resize, size_wh: tuple[int, int] | None = None, inverse: bool = False) -> Points:
    """Matrix (2, 3) from image pixels to pixels of the resized image, or back.

    Args:
        resize: what ``resized_size`` returned.
        size_wh: size of the target where it is not ``resize.size_wh`` (the maps are smaller).
        inverse: from the target to the image.
    """
    # from three points in float32, like the published programs; k * (x - centre) is the same to 2e-5
    width, height = size_wh or resize.size_wh
    image = _corner(*resize.center_xy, 200 * resize.scale_xy[0])
    target = _corner(width / 2, height / 2, width)
    return np.asarray(cv2.getAffineTransform(*((target, image) if inverse else (image, target))))


def _corner(x: float, y: float, width: float) -> npt.NDArray[np.float32]:
    """The centre, the point half a width above it, and the one half a width left of that."""
    points = np.array(((x, y), (x, y - width / 2), (x, y - width / 2)), np.float32)
    points[2, 0] -= points[0, 1] - points[1, 1]
    return points


def resize_image(image: Image, resize: Resize) -> Image:
    """Warp an image (H, W, 3) to the network's input size: bilinear, black outside."""
    pixels = np.ascontiguousarray(image)
    return np.asarray(cv2.warpAffine(pixels, affine(resize), resize.size_wh, flags=cv2.INTER_LINEAR), np.uint8)


@dataclass
class Maps:
    """Heat (B, K, H, W) and one entry (B, T, H, W) per tag component."""

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


def to_image(points: npt.NDArray[Any], maps_wh: tuple[int, int], resize: Resize) -> Points:
    """Move points (..., 2) from pixels of the maps to pixels of the original image, in float64."""
    matrix = affine(resize, maps_wh, inverse=True)
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def predict(
    forward: Callable[[torch.Tensor], Sequence[torch.Tensor]],
    images: Sequence[Image],
    settings: InferenceSettings,
    device: torch.device | str = "cpu",
    channels_last: bool = False,
    batch_size: int = 32,
    rgb: bool = True,
) -> list[Prediction]:
    """Find the people in images.

    Images that get the same input size go through the network together, once per scale and flip.

    Args:
        forward: the network in evaluation mode, from (B, 3, H, W) to its outputs at rising resolution.
        images: RGB bytes (H, W, 3).
        settings: sizes, scales, flip and grouping.
        device: where the network lives; bytes are moved there, and normalised there.
        channels_last: memory format of the network's input.
        batch_size: at most so many images at once.
        rgb: false feeds the network BGR.

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
                x = normalise(torch.from_numpy(pixels).to(device), channels_last, rgb)
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
