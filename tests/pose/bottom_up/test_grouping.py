"""Grouping against outputs of the published decoder, and against slow literal versions."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from supernet.pose.bottom_up.assignment import assign_below, munkres
from supernet.pose.bottom_up.grouping import GroupingSettings, find_peaks, group, match
from tests import reference
from tools.bench import grouping as bench

CASES = (
    "ae_case1_64_5p",
    "ae_case2_128_12p",
    "ae_case3_128_25p",
    "ae_case4_64x96_8p_k3_thr02",
    "ae_case5_64_6p_separated",
    "ae_case6_64_24p_max10_ignore",
    "ae_case7_64_9p_no_detection_val",
    "ae_case8_64_7p_shared_tag",
)


@cache
def arrays(name: str) -> dict[str, Any]:
    return reference.load_arrays(f"evaluation/{name}")


def settings_of(golden: dict[str, Any]) -> GroupingSettings:
    params = json.loads(str(golden["params"]))
    assert params["nms_padding"] == params["nms_kernel"] // 2
    return GroupingSettings(
        num_joints=params["num_joints"],
        max_people=params["max_num_people"],
        detection_threshold=params["detection_threshold"],
        tag_threshold=params["tag_threshold"],
        use_detection_value=params["use_detection_val"],
        ignore_too_much=params["ignore_too_much"],
        nms_kernel=params["nms_kernel"],
        tag_per_joint=params["tag_per_joint"],
    )


def planes(tags: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(tags, -1, 1))


def random_maps(
    rng: np.random.Generator, joints: int = 5, height: int = 20, width: int = 17, tags: int = 2, steps: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Smooth-free noise; with ``steps``, confidence is rounded to so many values so that ties and plateaus occur."""
    confidence = rng.random((joints, height, width), np.float32) ** 8
    if steps:
        confidence = np.round(confidence * steps).astype(np.float32) / np.float32(steps)
    return confidence, rng.normal(0, 2, (joints, height, width, tags)).astype(np.float32)


@pytest.mark.parametrize("case", CASES)
def test_peaks_are_those_of_the_reference(case: str) -> None:
    golden = arrays(case)
    settings = settings_of(golden)
    for joint, rows in enumerate(find_peaks(golden["heatmaps"], planes(golden["tags"]), settings)):
        value = golden["topk_val"][joint]
        count = int((value.astype(np.float64) > settings.detection_threshold).sum())
        assert np.array_equal(rows[:, 2], value[:count])
        assert np.array_equal(rows[:, :2], golden["topk_xy"][joint, :count])
        assert np.array_equal(rows[:, 3:], golden["topk_tag"][joint, :count])


@pytest.mark.parametrize("case", CASES)
def test_groups_are_those_of_the_reference(case: str) -> None:
    golden = arrays(case)
    confidence, tags, settings = golden["heatmaps"], golden["tags"], settings_of(golden)
    peaks = find_peaks(confidence, planes(tags), settings)
    assert np.array_equal(match(peaks, tags.shape[3], settings), golden["match"])
    poses, scores = group(confidence, tags, settings)
    assert poses.dtype == scores.dtype == np.float32
    assert np.array_equal(poses, golden["ans"])
    assert np.array_equal(scores, golden["scores"])
    assert np.array_equal(group(confidence, tags, replace(settings, refine=False))[0], golden["ans_adjust"])
    assert np.array_equal(group(confidence, tags, replace(settings, adjust=False))[0], golden["ans_noadjust_refine"])


def test_munkres_chooses_the_optimum_of_the_reference() -> None:
    golden = arrays("ae_assignment_cases")
    at = row_at = 0
    for rows, columns in golden["shapes"]:
        cost = golden["costs"][at : at + rows * columns].reshape(rows, columns)
        expected = golden["cols"][row_at : row_at + rows]
        at, row_at = at + rows * columns, row_at + rows
        assert munkres(cost) == list(enumerate(expected))
    assert at == len(golden["costs"]) and row_at == len(golden["cols"])


@pytest.mark.parametrize("shape", [(6, 6), (3, 9), (9, 3), (1, 1), (0, 4), (4, 0)])
def test_munkres_is_optimal(shape: tuple[int, int]) -> None:
    cost = np.random.default_rng(3).normal(size=shape)
    pairs = munkres(cost)
    best = assign_below(cost, np.ones(shape, bool))
    assert len(pairs) == min(shape)
    assert sum(cost[p] for p in pairs) == pytest.approx(sum(cost[p] for p in best))


def test_munkres_refuses_costs_that_never_become_zero() -> None:
    with pytest.raises(ValueError, match="2x2 cost matrix has entries that are not finite"):
        munkres(np.array([[np.inf, 1], [0, np.nan]]))


def test_a_forbidden_pair_does_not_displace_an_allowed_one() -> None:
    cost = np.array([[0.4, 0.0], [9.0, 0.1]])
    allowed = cost < 1
    assert assign_below(cost, allowed) == [(0, 0), (1, 1)]
    allowed[0, 0] = False
    assert assign_below(cost, allowed) == [(0, 1)]


def test_fast_assignment_agrees_on_separated_people() -> None:
    golden = arrays("ae_case5_64_6p_separated")
    settings = replace(settings_of(golden), assignment="fast")
    poses, scores = group(golden["heatmaps"], golden["tags"], settings)
    assert np.array_equal(poses, golden["ans"])
    assert np.array_equal(scores, golden["scores"])


def test_fast_assignment_keeps_a_near_pair_that_the_reference_gives_up() -> None:
    # Joint 1: two peaks for two groups, the second peak far from both. All far pairs cost the same in fast mode.
    confidence = np.zeros((2, 8, 8), np.float32)
    tags = np.zeros((2, 8, 8, 1), np.float32)
    for joint, y, x, value, tag in (
        (0, 1, 1, 0.9, 0.0),
        (0, 1, 6, 0.8, 5.0),
        (1, 6, 1, 0.9, 0.9),
        (1, 6, 6, 0.8, -2.4),
    ):
        confidence[joint, y, x], tags[joint, y, x] = value, tag
    settings = GroupingSettings(2, refine=False, nms_kernel=3)
    reference, _ = group(confidence, tags, settings)
    fast, _ = group(confidence, tags, replace(settings, assignment="fast"))
    assert len(reference) == 4 and len(fast) == 3
    assert fast[0, 1, 2] == np.float32(0.9)


def naive_refine(poses: np.ndarray, confidence: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """The published refinement, joint by joint over whole maps."""
    poses = poses.copy()
    joints, height, width = confidence.shape
    tags = np.broadcast_to(tags, (*confidence.shape, tags.shape[3]))
    for pose in poses:
        mean = np.mean([tags[j, int(pose[j, 1]), int(pose[j, 0])] for j in range(joints) if pose[j, 2] > 0], axis=0)
        for j in range(joints):
            distance = ((tags[j] - mean[None, None]) ** 2).sum(axis=2) ** 0.5
            y, x = np.unravel_index(np.argmax(confidence[j] - np.round(distance)), (height, width))
            if pose[j, 2] == 0 and confidence[j, y, x] > 0:
                right = confidence[j, y, min(x + 1, width - 1)] > confidence[j, y, max(x - 1, 0)]
                down = confidence[j, min(y + 1, height - 1), x] > confidence[j, max(y - 1, 0), x]
                pose[j, :3] = (
                    x + 0.5 + (0.25 if right else -0.25),
                    y + 0.5 + (0.25 if down else -0.25),
                    confidence[j, y, x],
                )
    return poses


@pytest.mark.parametrize("steps", [0, 20, 3])
@pytest.mark.parametrize("num_tags", [1, 2])
@pytest.mark.parametrize("tag_per_joint", [True, False])
def test_refinement_equals_the_literal_one(steps: int, num_tags: int, tag_per_joint: bool) -> None:
    rng = np.random.default_rng(steps)
    filled = 0
    for _ in range(15):
        confidence, tags = random_maps(rng, tags=num_tags, steps=steps)
        tags = tags if tag_per_joint else tags[:1]
        settings = GroupingSettings(5, detection_threshold=0.6, tag_per_joint=tag_per_joint, refine=False)
        rough, _ = group(confidence, tags, settings)
        refined, _ = group(confidence, tags, replace(settings, refine=True))
        assert np.array_equal(refined, naive_refine(rough, confidence, tags))
        filled += int((refined[:, :, 2] > 0).sum() - (rough[:, :, 2] > 0).sum())
    assert filled > 0


def test_refinement_takes_the_first_of_equal_scores_even_among_cool_pixels() -> None:
    confidence = np.full((2, 12, 12), 0.25, np.float32)
    tags = np.zeros((2, 12, 12, 1), np.float32)
    confidence[0, 4, 4] = 0.9
    confidence[1, 8, 8], tags[1, 8, 8] = 1.25, 1.0  # scores 1.25 - 1 for the first person, like every cool pixel
    settings = GroupingSettings(2, detection_threshold=0.5, refine=False)
    rough, _ = group(confidence, tags, settings)
    refined, _ = group(confidence, tags, replace(settings, refine=True))
    assert len(rough) == 2
    assert np.array_equal(refined, naive_refine(rough, confidence, tags))
    assert refined[0, 1, :3].tolist() == [0.25, 0.25, 0.25]


def test_peaks_equal_max_pooling_and_ties_are_row_major() -> None:
    rng = np.random.default_rng(0)
    for kernel in (1, 3, 5, 7):
        confidence, tags = random_maps(rng, steps=10)
        settings = GroupingSettings(5, max_people=12, detection_threshold=0.1, nms_kernel=kernel)
        pooled = torch.nn.functional.max_pool2d(torch.from_numpy(confidence), kernel, 1, kernel // 2).numpy()
        for joint, rows in enumerate(find_peaks(confidence, planes(tags), settings)):
            pixels = [
                (-float(confidence[joint, y, x]), y, x)
                for y, x in np.argwhere(confidence[joint] == pooled[joint])
                if float(confidence[joint, y, x]) > 0.1
            ]
            assert [(-v, y, x) for x, y, v in rows[:, :3]] == sorted(pixels)[:12]


def enlarged(maps: np.ndarray) -> np.ndarray:
    """Twice as many rows and columns, as the maps of tests at the size of the network's input."""
    resized = torch.nn.functional.interpolate(torch.from_numpy(maps)[None], scale_factor=2, mode="bilinear")
    return resized[0].numpy()


def test_tied_peaks_of_enlarged_maps_come_in_row_major_order() -> None:
    small = np.zeros((1, 12, 16), np.float32)
    small[0, 3, 9], small[0, 8, 4] = 0.8, 0.8
    confidence, tags = enlarged(small), np.zeros((1, 24, 32, 1), np.float32)
    (rows,) = find_peaks(confidence, planes(tags), GroupingSettings(1))
    assert len(set(rows[:, 2])) == 1
    assert rows[:, :2].tolist() == [[18, 6], [19, 6], [18, 7], [19, 7], [8, 16], [9, 16], [8, 17], [9, 17]]
    (first_three,) = find_peaks(confidence, planes(tags), GroupingSettings(1, max_people=3))
    assert first_three[:, :2].tolist() == [[18, 6], [19, 6], [18, 7]]


@pytest.mark.parametrize("max_people", [3, 30])
def test_groups_of_tied_peaks_are_those_of_the_literal_decoder(max_people: int) -> None:
    rng, tied = np.random.default_rng(7), 0
    settings = GroupingSettings(5, max_people=max_people)
    for _ in range(6):
        small = np.zeros((5, 24, 30), np.float32)
        cells = [rng.integers(1, 5, 3) for _ in range(5)]  # steps of 6 cells between people: no peak touches another
        for joint, columns in enumerate(cells):
            small[joint, [4, 11, 18], 6 * columns] = rng.choice(np.float32([0.3, 0.6, 0.9]), 3)
        confidence, tags = (
            enlarged(small),
            np.moveaxis(enlarged(rng.normal(0, 1, (10, 24, 30)).astype(np.float32)), 0, -1),
        )
        tags = np.ascontiguousarray(np.moveaxis(tags.reshape(48, 60, 5, 2), 2, 0))
        tied += sum(len(rows) - len(set(rows[:, 2])) for rows in find_peaks(confidence, planes(tags), settings))
        for ours, literal in zip(
            group(confidence, tags, settings), bench.literal_group(confidence, tags, settings), strict=True
        ):
            assert np.array_equal(ours, literal)
    assert tied > 30


@pytest.mark.parametrize("case", [case for case in CASES if "case3" not in case])
def test_the_yardstick_of_the_benchmark_is_the_reference(case: str) -> None:
    golden = arrays(case)
    poses, scores = bench.literal_group(golden["heatmaps"], golden["tags"], settings_of(golden))
    assert np.array_equal(poses, golden["ans"]) and np.array_equal(scores, golden["scores"])
