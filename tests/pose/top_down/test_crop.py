"""A person's crop: HRNet's affine convention, its augmentation, and one geometry for image and joints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from supernet.pose.datasets.people import PersonInstance
from supernet.pose.top_down.crop import center_scale, crop_matrix, crop_region


def a_person(keypoints_K3: Any = None, bbox: Any = (20, 30, 40, 80), **changes: Any) -> PersonInstance:
    if keypoints_K3 is None:
        rng = np.random.default_rng(0)
        keypoints_K3 = np.column_stack([rng.uniform((20, 30), (60, 110), (17, 2)), np.full(17, 2)])
    values = {"center": None, "scale": None, **changes}
    return PersonInstance(Path("x"), 1, 1, bbox, keypoints_K3=np.float32(keypoints_K3), score=1, area=1, **values)


def an_image(height: int = 150, width: int = 130) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("bbox", "aspect", "center", "size"),
    [
        ((10, 20, 30, 40), 0.75, (25, 40), (30, 40)),
        ((10, 20, 60, 40), 0.75, (40, 40), (60, 80)),
        ((10, 20, 30, 80), 0.75, (25, 60), (60, 80)),
        ((-10, 20, 0, 50), 1.0, (-10, 45), (50, 50)),
    ],
)
def test_a_box_grows_to_the_aspect_and_is_padded(bbox: Any, aspect: float, center: Any, size: Any) -> None:
    found_center, found_scale = center_scale(bbox, aspect)
    assert found_center.dtype == found_scale.dtype == np.float32
    assert found_center.tolist() == list(center)
    np.testing.assert_array_equal(found_scale, np.float32([side / 200 for side in size]) * np.float32(1.25))


def test_mpiis_region_is_the_files() -> None:
    center, scale = np.array([3.0, 4.0]), np.array([1.5, 1.5])
    assert crop_region(a_person(bbox=None, center=center, scale=scale), 0.75) == (center, scale)
    assert crop_region(a_person(), 0.75)[0].tolist() == [40, 70]


@pytest.mark.parametrize("size_wh", [(192, 256), (256, 256), (48, 64), (256, 192)])
@pytest.mark.parametrize("rotation", [0.0, 33.0, -80.0])
def test_the_map_is_hrnets(size_wh: tuple[int, int], rotation: float) -> None:
    center, scale = np.float32([123.4, 77.7]), np.float32([0.83, 1.31])
    width, height = size_wh
    matrix = crop_matrix(center, scale, rotation, size_wh)
    k, angle = width / (200 * float(scale[0])), math.radians(rotation)
    turned = k * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    shift = np.array([width / 2, height / 2]) - turned @ center
    np.testing.assert_allclose(matrix, np.column_stack([turned, shift]), rtol=0, atol=2e-4)  # float32 points
    back = crop_matrix(center, scale, rotation, size_wh, inverse=True)
    points = np.random.default_rng(0).uniform(-50, 300, (20, 2))
    there = points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(there @ back[:, :2].T + back[:, 2], points, atol=2e-3)


def test_the_map_has_the_bits_of_three_float32_points() -> None:
    center, scale = np.float32([311.27, 204.9]), np.float32([1.137, 1.516])
    a = np.float32(center)
    reach = float(scale[0] * np.float32(200)) * -0.5
    radians = np.pi * 21.5 / 180
    b = np.float32(center + np.array([-reach * np.sin(radians), reach * np.cos(radians)]))
    c = np.float32(b + np.float32([-(a - b)[1], (a - b)[0]]))
    target = np.float32([[96, 128], [96, 32], [0, 32]])
    expected = cv2.getAffineTransform(np.float32([a, b, c]), target)
    np.testing.assert_array_equal(crop_matrix(center, scale, 21.5, (192, 256)), expected)
