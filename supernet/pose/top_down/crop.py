"""One person's crop: where it lies, and the map to the network input.

Coordinates are x before y; a map takes pixels of the image, (0, 0) the centre of the upper left pixel, to pixels
of the network input, in HRNet's convention: centre to (W/2, H/2), width to W. Sizes are in units of 200 pixels.
Source: HRNet (Sun et al., CVPR 2019), its training and test transforms.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from supernet.pose.datasets.people import PersonInstance
from supernet.pose.geometry import CROP_UNITS, Box, Matrix, warp_image

Vector = NDArray[np.floating[Any]]  # (2,): x, y

_BOX_PADDING = 1.25


def center_scale(bbox: Box, aspect: float) -> tuple[Vector, Vector]:
    """The crop around a box: grown to the network input's aspect about its middle, then padded by 1.25.

    Args:
        bbox: x, y, width, height.
        aspect: Width / height of the network input.

    Returns:
        Middle in pixels and size / 200 pixels, float32 (2,) each, as HRNet computes them.
    """
    x, y, width, height = bbox
    center = np.array([x + width * 0.5, y + height * 0.5], np.float32)
    return center, padded_scale(width, height, aspect, _BOX_PADDING)


def crop_region(person: PersonInstance, aspect: float) -> tuple[Vector, Vector]:
    """Middle and size of a person's crop, of a box or as MPII's file gives them; see :func:`center_scale`."""
    if person.bbox is not None:
        return center_scale(person.bbox, aspect)
    assert person.center is not None and person.scale is not None, "a person has a box, or a centre and a scale"
    return person.center, person.scale


def crop_matrix(
    center: Vector, scale: Vector, rotation: float, size_wh: tuple[int, int], inverse: bool = False
) -> Matrix:
    """The map from the image to a crop, float64 (2, 3), or back.

    It is fixed by three points in float32, as HRNet does it: the middle, the middle of the upper edge (half the crop's
    width away, whatever its height), and the corner that makes a right angle there.

    Args:
        center: Middle of the crop.
        scale: Width (and height, which does not count) of the crop / 200 pixels.
        rotation: Degrees; positive turns what is seen anti-clockwise.
        size_wh: Width and height of the crop in pixels of the network input, or of its heatmaps.
        inverse: Give the map back to the image.
    """
    reach = float((np.asarray(scale) * CROP_UNITS)[0]) * -0.5
    angle = np.pi * rotation / 180
    upwards = np.array([-reach * np.sin(angle), reach * np.cos(angle)])
    width, height = size_wh
    here = _right_angle(np.asarray(center), np.asarray(center) + upwards)
    there = _right_angle(np.array([width * 0.5, height * 0.5]), np.array([width * 0.5, (height - width) * 0.5]))
    return np.asarray(cv2.getAffineTransform(*((there, here) if inverse else (here, there))), np.float64)


def crop_image(
    image_rgb: NDArray[np.uint8], center: Vector, scale: Vector, input_hw: tuple[int, int]
) -> NDArray[np.uint8]:
    """The network input (H, W, 3) of a crop as it is tested: not turned, black beyond the image."""
    return warp_image(image_rgb, crop_matrix(center, scale, 0.0, (input_hw[1], input_hw[0])), input_hw)


def padded_scale(width: float, height: float, aspect: float, padding: float) -> Vector:
    """A size in pixels grown to the aspect and padded, / 200."""
    if width > aspect * height:
        height = width / aspect
    elif width < aspect * height:
        width = height * aspect
    return np.array([width / CROP_UNITS, height / CROP_UNITS], np.float32) * np.float32(padding)


def _right_angle(middle: Vector, edge: Vector) -> NDArray[np.float32]:
    """Three points (3, 2): the middle, a point of the edge, and one a quarter turn further."""
    points = np.array([middle, edge, (0, 0)], np.float32)
    across = points[0] - points[1]
    points[2] = points[1] + np.array([-across[1], across[0]], np.float32)
    return points
