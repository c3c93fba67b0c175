"""Grouping at its edges: empty maps, diverged networks, borders, wrong settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from supernet.errors import UserError
from supernet.pose.bottom_up.grouping import GroupingSettings, group
from tests.pose.bottom_up.test_grouping import random_maps
from tools.bench import grouping as bench


def test_the_benchmark_runs_and_finds_the_same_bits(capsys: pytest.CaptureFixture[str]) -> None:
    bench.compare(64, 4, 2, rounds=1)
    assert "bits equal: literal / ours" in capsys.readouterr().out


def test_the_threshold_is_compared_in_double_precision() -> None:
    value = np.float32(0.1)  # a little above 0.1
    confidence = np.zeros((1, 5, 5), np.float32)
    confidence[0, 2, 2] = value
    tags = np.zeros((1, 5, 5, 1), np.float32)
    assert len(group(confidence, tags, GroupingSettings(1, detection_threshold=0.1))[0]) == 1
    assert len(group(confidence, tags, GroupingSettings(1, detection_threshold=float(value)))[0]) == 0


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_maps_without_peaks_give_nobody(value: float) -> None:
    confidence = np.full((14, 16, 24), value, np.float32)
    poses, scores = group(confidence, np.zeros((14, 16, 24, 2), np.float32), GroupingSettings(14))
    assert poses.shape == (0, 14, 5) and scores.shape == (0,)


@pytest.mark.parametrize("assignment", ["parity", "fast"])
def test_a_diverged_network_gives_nobody_rather_than_hanging(assignment: Any) -> None:
    confidence, tags = random_maps(np.random.default_rng(1))
    settings = GroupingSettings(5, assignment=assignment)
    assert len(group(confidence, np.full_like(tags, np.nan), settings)[0]) == 0
    tags[:, ::2] = np.inf
    assert np.isfinite(group(confidence, tags, settings)[0]).all()


def test_joints_near_the_border_and_on_ties_move_left_and_up() -> None:
    confidence = np.zeros((1, 6, 6), np.float32)
    confidence[0, 0, 5] = 0.9
    confidence[0, 1, 5] = 0.5
    poses, scores = group(confidence, np.zeros((1, 6, 6, 1), np.float32), GroupingSettings(1, nms_kernel=3))
    # at the right border the right neighbour is the pixel itself, below is 0.5 against itself above
    assert poses[0, 0].tolist() == [5.75, 0.25, np.float32(0.9), 0.0]
    assert scores.tolist() == [np.float32(0.9)]


def test_maps_need_not_be_contiguous_and_are_not_changed() -> None:
    confidence, tags = random_maps(np.random.default_rng(2))
    poses, _ = group(confidence, tags, GroupingSettings(5))
    before = confidence.copy(), tags.copy()
    strided, _ = group(
        confidence.transpose(0, 2, 1).copy().transpose(0, 2, 1), tags[..., ::-1][..., ::-1], GroupingSettings(5)
    )
    assert np.array_equal(poses, strided)
    assert np.array_equal(confidence, before[0]) and np.array_equal(tags, before[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nms_kernel": 4}, "nms_kernel is 4: give an odd number"),
        ({"max_people": 0}, "max_people 0 must both be at least 1"),
        ({"detection_threshold": -0.1}, "detection_threshold is -0.1"),
        ({"assignment": "greedy"}, "assignment is 'greedy'"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        GroupingSettings(14, **change)


def test_maps_that_do_not_fit_are_named() -> None:
    confidence, tags = random_maps(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"heatmaps \(5, 20, 17\) and tags \(1, 20, 17, 2\) do not fit 5 joints"):
        group(confidence, tags[:1], GroupingSettings(5))
