"""At what size an image enters a bottom-up network, and the way back from the maps to the image.

Source: B. Cheng et al., "HigherHRNet", CVPR 2020, and its published test settings. Coordinates: x before y; an image is
scaled uniformly about its centre and padded with black. Shapes: H W rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from supernet.errors import UserError
from supernet.pose.geometry import CROP_UNITS

_LARGEST_SIDE = 32_766  # pixels, OpenCV warps no larger images
Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]


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
    if max(short_resized, long_resized) > _LARGEST_SIDE:
        raise UserError(
            f"an image of {width} x {height} pixels would enter the network with {max(short_resized, long_resized):,} pixels "
            "on a side: cut it, or lower DATASET.INPUT_SIZE or TEST.SCALE_FACTOR"
        )
    units, longer = near / CROP_UNITS, long_resized / short_resized * near / CROP_UNITS
    if width < height:
        return Resize((short_resized, long_resized), center, (units, longer))
    return Resize((long_resized, short_resized), center, (longer, units))


def affine(resize: Resize, size_wh: tuple[int, int] | None = None, inverse: bool = False) -> Points:
    """Matrix (2, 3) from image pixels to pixels of the resized image, or back.

    Args:
        resize: what ``resized_size`` returned.
        size_wh: size of the target where it is not ``resize.size_wh`` (the maps are smaller).
        inverse: from the target to the image.
    """
    # from three points in float32, like the published programs; k * (x - centre) is the same to 2e-5
    width, height = size_wh or resize.size_wh
    image = _corner(*resize.center_xy, CROP_UNITS * resize.scale_xy[0])
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


def to_image(points: npt.NDArray[Any], maps_wh: tuple[int, int], resize: Resize) -> Points:
    """Move points (..., 2) from pixels of the maps to pixels of the original image, in float64."""
    matrix = affine(resize, maps_wh, inverse=True)
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]
