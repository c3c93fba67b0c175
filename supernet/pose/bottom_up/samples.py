"""Bottom-up training samples: an annotated image, augmented, with its targets; and batches of them.

Shape legend: B samples, P people, M rows for people, K joints, h w cells of an output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from supernet.pose.bottom_up.augmentation import Augmentation, sample_matrix
from supernet.pose.bottom_up.targets import Targets, TargetSettings, make_masks, make_targets
from supernet.pose.datasets.annotations import Person
from supernet.pose.geometry import warp_image, warp_keypoints
from supernet.pose.keypoints import Skeleton

Sample = tuple[NDArray[np.uint8], Targets]


def training_sample(
    image_rgb: NDArray[np.uint8],
    people: Sequence[Person],
    skeleton: Skeleton,
    input_hw: tuple[int, int],
    augmentation: Augmentation,
    settings: TargetSettings,
    rng: np.random.Generator,
) -> Sample:
    """Augment one image and make its targets.

    Ignored people (crowds, nobody labelled) are masked and have neither Gaussians nor tags.

    Args:
        image_rgb: uint8 (H, W, 3).
        people: On it.
        skeleton: Of the people.
        input_hw: Height and width of the network input.
        augmentation: What may be drawn.
        settings: Of the targets.
        rng: Moved by five numbers, and with a tag radius by two for each joint.

    Returns:
        The network input, uint8 RGB (H, W, 3), and its targets.
    """
    height, width = image_rgb.shape[:2]
    matrix, flipped = sample_matrix(width, height, input_hw, augmentation, rng)
    keypoints_PK3 = np.array(
        [person.keypoints_K3 for person in people if not person.ignored], np.float32
    ).reshape(-1, skeleton.num_joints, 3)  # fmt: skip
    keypoints_PK3 = warp_keypoints(keypoints_PK3, matrix, skeleton.flip_index if flipped else None)
    shape = (2, *keypoints_PK3.shape[:2])
    radius = settings.tag_radius
    shift_2PK = rng.integers(-radius, radius + 1, shape) if radius else None
    masks = make_masks(people, (height, width), matrix, input_hw, settings.strides)
    targets = make_targets(keypoints_PK3, masks, input_hw, settings, shift_2PK)
    return warp_image(image_rgb, matrix, input_hw), targets


def collate(samples: Sequence[Sample]) -> dict[str, Any]:
    """A batch of samples of one size, as torch tensors on the CPU.

    Returns:
        ``images`` uint8 (B, H, W, 3), ``heatmaps`` list of float32 (B, K, h, w), ``masks`` list of float32 (B, h, w),
        ``joints`` int64 (B, M, K, 2).
    """
    targets = [sample[1] for sample in samples]
    heatmaps = [np.zeros((len(samples), *peaks.size_Khw), np.float32) for peaks in targets[0].peaks]
    for index, target in enumerate(targets):
        for peaks, batch in zip(target.peaks, heatmaps, strict=True):
            peaks.draw(batch[index])
    return {
        "images": torch.from_numpy(np.stack([sample[0] for sample in samples])),
        "heatmaps": [torch.from_numpy(batch) for batch in heatmaps],
        "masks": [torch.from_numpy(np.stack(maps)) for maps in zip(*(t.masks for t in targets), strict=True)],
        "joints": torch.from_numpy(np.stack([t.joints for t in targets])),
    }
