"""The random map from an image to the network input: that of testing where nothing is drawn, HigherHRNet's ranges otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from supernet.errors import UserError
from supernet.pose.bottom_up.augmentation import Augmentation, sample_matrix
from tests import reference


def test_without_augmentation_the_map_is_that_of_testing() -> None:
    rng = np.random.default_rng(0)
    for width, height, input_hw, scale, centre in (
        (640, 480, (512, 704), 512 / 480, (320, 240)),
        (427, 640, (768, 512), 512 / 427, (214, 320)),
        (333, 500, (704, 448), 448 / 333, (167, 250)),
        (500, 500, (512, 512), 512 / 500, (250, 250)),
    ):
        matrix, flipped = sample_matrix(width, height, input_hw, Augmentation.none(), rng)
        shift = [input_hw[1] / 2 - scale * centre[0], input_hw[0] / 2 - scale * centre[1]]
        np.testing.assert_allclose(matrix, [[scale, 0, shift[0]], [0, scale, shift[1]]], atol=1e-9)
        assert not flipped


def test_without_augmentation_the_map_is_that_of_the_original_programs() -> None:
    compared = 0
    for case in reference.load_json("evaluation/ae_sizes_affine"):
        if case["current_scale"] == case["min_scale"]:
            (width, height), (input_width, input_height) = case["image_wh"], case["size_wh"]
            matrix, _ = sample_matrix(
                width, height, (input_height, input_width), Augmentation.none(), np.random.default_rng(0)
            )
            np.testing.assert_allclose(matrix, case["forward"], atol=1e-4, err_msg=str(case))
            compared += 1
    assert compared > 5


def test_the_side_that_fills_the_input() -> None:
    rng = np.random.default_rng(0)
    for scale_type, expected in (("short", 256 / 480), ("long", 256 / 640)):
        for width, height in ((640, 480), (480, 640)):
            matrix, _ = sample_matrix(width, height, (256, 256), Augmentation.none(scale_type), rng)
            assert matrix[0, 0] == matrix[1, 1] == expected


def test_draws_fill_their_ranges_and_depend_on_the_generator_only() -> None:
    augmentation = Augmentation()
    rng = np.random.default_rng(0)
    scales, angles, shifts, flips = [], [], [], []
    for _ in range(2000):
        matrix, flipped = sample_matrix(400, 400, (200, 200), augmentation, rng)
        if flipped:
            matrix[0] = [-matrix[0, 0], -matrix[0, 1], 199 - matrix[0, 2]]
        scales.append(0.5 / np.hypot(*matrix[0, :2]))
        angles.append(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
        shifts.append(np.linalg.norm(matrix @ [200, 200, 1] - 100, ord=2))
        flips.append(flipped)
    assert 0.75 <= min(scales) < 0.76 and 1.49 < max(scales) <= 1.5
    assert -30 <= min(angles) < -29.5 and 29.5 < max(angles) <= 30
    assert 50 < max(shifts) <= 40 * np.sqrt(2) + 1e-6  # a fifth of the input's 200 pixels along each axis
    assert 0.45 < np.mean(flips) < 0.55
    one, two = (sample_matrix(400, 300, (256, 256), augmentation, np.random.default_rng(5))[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="SCALE_TYPE is 'wide'"):
        Augmentation(scale_type="wide")
    with pytest.raises(UserError, match="MIN_SCALE 1.0 and MAX_SCALE 0.5"):
        Augmentation(min_scale=1.0, max_scale=0.5)
    with pytest.raises(UserError, match="FLIP is 2"):
        Augmentation(flip_probability=2)


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
