"""Crops that stay inside of the image."""

from __future__ import annotations

import numpy as np
import pytest

from supernet.pose.bottom_up.augmentation import Augmentation, sample_matrix


@pytest.mark.parametrize(("width", "height"), [(640, 427), (427, 640), (400, 400)])
def test_shifts_end_at_the_border(width: int, height: int) -> None:
    """The corners of the input show the image, both borders are reached, and only the long side moves."""
    augmentation = Augmentation(0.0, 1.0, 1.0, "short", 100.0, 0.0, inside=True)
    rng, starts, scale = np.random.default_rng(0), [], 256 / min(width, height)
    for _ in range(100):
        matrix, _ = sample_matrix(width, height, (256, 256), augmentation, rng)
        corners = np.linalg.solve(matrix[:, :2], np.array([[0.0, 256.0], [0.0, 256.0]]) - matrix[:, 2:])
        assert corners.min() > -1 and corners[0].max() < width + 1 and corners[1].max() < height + 1
        starts.append(corners[:, 0].max())
    room = abs(width - height)
    assert max(starts) - min(starts) == pytest.approx(room, abs=1)
    assert matrix[0, 0] == pytest.approx(scale)
    if room:
        assert np.mean(np.isclose(starts, min(starts), atol=1)) > 0.1  # a border is seen often, not almost never


def test_a_crop_larger_than_the_image_stays_centred() -> None:
    """Nothing to move in: the map of testing."""
    augmentation = Augmentation(0.0, 1.5, 1.5, "long", 40.0, 0.0, inside=True)
    matrix, _ = sample_matrix(300, 200, (128, 128), augmentation, np.random.default_rng(0))
    assert matrix @ [150, 100, 1] == pytest.approx([64, 64])
