"""From images to network inputs: normalisation by ImageNet's statistics, and moving batches to a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UserError

MEAN = (0.485, 0.456, 0.406)  # ImageNet, RGB
STD = (0.229, 0.224, 0.225)


def normalise(images_BHWC: Tensor, channels_last: bool = False, rgb: bool = True) -> Tensor:
    """Turn RGB bytes (B, H, W, 3) into normalised floats (B, 3, H, W) on the same device.

    Without ``rgb`` the channels come in OpenCV's order, BGR, and the statistics stay where they are, as in HRNet's program.
    """
    images_BHWC = images_BHWC if rgb else images_BHWC.flip(3)
    mean, std = (torch.tensor(c, device=images_BHWC.device).view(1, 3, 1, 1) for c in (MEAN, STD))
    images = images_BHWC.permute(0, 3, 1, 2).float().div_(255).sub_(mean).div_(std)
    return images.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def to_device(value: Any, device: torch.device) -> Any:
    """Tensors, also within lists, on the device; anything else as it is."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, (list, tuple)):
        return [to_device(item, device) for item in value]
    return value


def check_images(images: Sequence[NDArray[Any]]) -> None:
    """Refuse what is not uint8 RGB of shape (H, W, 3).

    Raises:
        UserError: it names the position, type and shape of the first such image.
    """
    for index, image in enumerate(images):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise UserError(f"image {index} is {image.dtype} {image.shape}: give uint8 RGB of shape (H, W, 3)")
