"""Targets of a top-down network: bit-equal to the literal drawing, at every border and resolution."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.pose.keypoints import COCO
from supernet.pose.top_down.targets import PersonTargetSettings, person_targets


def keypoints_at_random(
    rng: np.random.Generator, height: int, width: int, beyond: float, joints: int = 400
) -> NDArray[np.float64]:
    """Also beyond every border, on exact halves of cells, and not labelled."""
    keypoints_K3 = np.empty((joints, 3))
    keypoints_K3[:, :2] = rng.uniform((-beyond, -beyond), (width + beyond, height + beyond), (joints, 2))
    keypoints_K3[::3, :2] = np.round(keypoints_K3[::3, :2] / 2) * 2  # x / 4 + 0.5 is whole for every other one of these
    keypoints_K3[:, 2] = rng.integers(0, 3, joints)
    return keypoints_K3


def draw_literally(
    keypoints_K3: NDArray[np.float64], height: int, width: int, stride: int, sigma: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One joint after the other, by the words of HRNet's rules."""
    h, w = height // stride, width // stride
    heatmaps, weights = np.zeros((len(keypoints_K3), h, w), np.float32), np.zeros(len(keypoints_K3), np.float32)
    for joint, (x, y, v) in enumerate(keypoints_K3):
        column, row, reach = int(x / stride + 0.5), int(y / stride + 0.5), 3 * sigma
        if column - reach >= w or row - reach >= h or column + reach + 1 < 0 or row + reach + 1 < 0 or v <= 0:
            continue
        weights[joint] = 1
        for i in range(max(0, row - reach), min(h, row + reach + 1)):
            for j in range(max(0, column - reach), min(w, column + reach + 1)):
                squares = np.float32((i - row) ** 2 + (j - column) ** 2)
                heatmaps[joint, i, j] = np.exp(-squares / np.float32(2 * sigma**2))
    return heatmaps, weights


@pytest.mark.parametrize(
    ("size", "stride", "sigma"), [((64, 48), 4, 2), ((64, 48), 4, 1), ((96, 96), 4, 3), ((32, 24), 1, 4)]
)
def test_targets_are_bit_equal_to_the_literal_drawing(size: tuple[int, int], stride: int, sigma: int) -> None:
    keypoints_K3 = keypoints_at_random(np.random.default_rng(sigma), *size, beyond=(3 * sigma + 3) * stride)
    literal, weights = draw_literally(keypoints_K3, *size, stride, sigma)
    heatmaps_Khw, weights_K = person_targets(keypoints_K3, COCO, size, PersonTargetSettings(stride, sigma))
    assert heatmaps_Khw.dtype == weights_K.dtype == np.float32
    np.testing.assert_array_equal(weights_K, weights)
    np.testing.assert_array_equal(heatmaps_Khw, literal)
    outside = (weights == 1) & (literal.max((1, 2)) == 0)  # the window ends right before the output: no Gaussian, but 1
    assert 0 < weights.sum() < (keypoints_K3[:, 2] > 0).sum() and outside.any() and literal.max() == 1


def test_a_joint_left_of_the_output_is_truncated_into_it() -> None:
    heatmaps_Khw, weights_K = person_targets(
        np.array([[-5.9, 8, 2], [-6.1, 8, 2]]), COCO, (64, 48), PersonTargetSettings()
    )
    assert heatmaps_Khw[0, 2, 0] == 1 and heatmaps_Khw[1, 2, 0] < 1 and weights_K.tolist() == [1, 1]


def test_unbiased_targets_stand_on_the_joint_and_fill_the_output() -> None:
    keypoints_K3 = keypoints_at_random(np.random.default_rng(0), 64, 48, beyond=36)
    heatmaps_Khw, weights_K = person_targets(keypoints_K3, COCO, (64, 48), PersonTargetSettings(sigma=2, unbiased=True))
    rows, columns = np.arange(16)[:, None], np.arange(12)
    for heatmap, weight, (x, y, v) in zip(heatmaps_Khw, weights_K, keypoints_K3, strict=True):
        left, top, right, bottom = int(x / 4 - 6), int(y / 4 - 6), int(x / 4 + 7), int(y / 4 + 7)
        assert weight == (v > 0 and left < 12 and top < 16 and right >= 0 and bottom >= 0)
        exact = weight * np.exp(-((columns - x / 4) ** 2 + (rows - y / 4) ** 2) / 8)
        np.testing.assert_allclose(heatmap, exact, atol=1e-6)
    assert 0 < weights_K.sum() < (keypoints_K3[:, 2] > 0).sum()
    assert (heatmaps_Khw[weights_K > 0] > 0).all()


def test_the_ends_of_limbs_weigh_more() -> None:
    keypoints_K3 = np.full((17, 3), 20.0)
    keypoints_K3[3, 2] = keypoints_K3[10, 2] = 0
    _, weights_K = person_targets(keypoints_K3, COCO, (64, 48), PersonTargetSettings(weigh_joints=True))
    expected = np.array(COCO.joint_weights, np.float32)
    expected[[3, 10]] = 0
    np.testing.assert_array_equal(weights_K, expected)
    assert weights_K[9] == np.float32(1.5)


def test_sizes_that_fit_nothing_are_refused() -> None:
    with pytest.raises(UserError, match=r"network input 66x48 \(HxW\) is not a multiple of the output stride 4"):
        person_targets(np.zeros((17, 3)), COCO, (66, 48), PersonTargetSettings())
    with pytest.raises(UserError, match=r"MODEL.SIGMA is 0: give the Gaussian's sigma"):
        person_targets(np.zeros((17, 3)), COCO, (64, 48), PersonTargetSettings(sigma=0))
