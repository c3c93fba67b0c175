"""Decoding, scores and suppression against HRNet's and DARK's rules written joint by joint, and on planted people."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.pose.keypoints import COCO
from supernet.pose.top_down.crop import crop_matrix
from supernet.pose.top_down.decoding import DecodingSettings, dark, decode, merge_mirrored, peaks, quarter_shift
from supernet.pose.top_down.oks_nms import oks_nms, rescored, similarity, soft_oks_nms

SIGMAS = np.round(np.array(COCO.sigmas) * 10, 2) / 10
SIZE_HW = (64, 48)


def gaussians(places: NDArray[Any], sigma: float = 2.0, size_hw: tuple[int, int] = SIZE_HW) -> NDArray[np.float32]:
    """Heatmaps (B, K, h, w) with their centres between the cells."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    squares = (x - places[..., 0, None, None]) ** 2 + (y - places[..., 1, None, None]) ** 2
    return np.exp(-squares / (2 * sigma**2)).astype(np.float32)


@pytest.fixture
def noise() -> NDArray[np.float32]:
    """Smooth random heatmaps with peaks everywhere, some of them at the edges, and one that is never above 0."""
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(4, 17, *SIZE_HW)).astype(np.float32)
    for person in maps:
        for k in range(17):
            person[k] = cv2.GaussianBlur(person[k], (9, 9), 0)
    maps[0, 0, 0, 5], maps[0, 1, 1, 1], maps[0, 2, -1, -1], maps[0, 3, 20, -2] = 9, 9, 9, 9
    maps[1, 4] = -1
    maps[1, 4, 9, 7] = -0.5
    return maps


def literal_peaks(maps: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    places, values = np.zeros((*maps.shape[:2], 2), np.float32), np.zeros(maps.shape[:2], np.float32)
    for b, k in np.ndindex(*maps.shape[:2]):
        y, x = np.unravel_index(np.argmax(maps[b, k]), maps.shape[2:])
        values[b, k] = maps[b, k, y, x]
        if values[b, k] > 0:
            places[b, k] = x, y
    return places, values


def literal_quarter(maps: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
    moved = places.copy()
    for b, k in np.ndindex(*maps.shape[:2]):
        x, y = (math.floor(value + 0.5) for value in places[b, k])
        if 1 < x < maps.shape[3] - 1 and 1 < y < maps.shape[2] - 1:
            confidence = maps[b, k]
            slope = np.array([confidence[y, x + 1] - confidence[y, x - 1], confidence[y + 1, x] - confidence[y - 1, x]])
            moved[b, k] += np.sign(slope) * 0.25
    return moved


def literal_dark(maps: NDArray[np.float32], places: NDArray[np.float32], kernel: int) -> NDArray[np.float32]:
    moved, border = places.copy(), (kernel - 1) // 2
    for b, k in np.ndindex(*maps.shape[:2]):
        padded = np.pad(maps[b, k].astype(np.float64), border)
        blurred = cv2.GaussianBlur(padded, (kernel, kernel), 0)[border:-border, border:-border].astype(np.float32)
        log = np.log(np.maximum(blurred * (maps[b, k].max() / blurred.max()), 1e-10)).astype(np.float64)
        x, y = int(places[b, k, 0]), int(places[b, k, 1])
        if not (1 < x < maps.shape[3] - 2 and 1 < y < maps.shape[2] - 2):
            continue
        gradient = np.array([0.5 * (log[y, x + 1] - log[y, x - 1]), 0.5 * (log[y + 1, x] - log[y - 1, x])])
        xx = 0.25 * (log[y, x + 2] - 2 * log[y, x] + log[y, x - 2])
        yy = 0.25 * (log[y + 2, x] - 2 * log[y, x] + log[y - 2, x])
        xy = 0.25 * (log[y + 1, x + 1] - log[y - 1, x + 1] - log[y + 1, x - 1] + log[y - 1, x - 1])
        if xx * yy - xy**2 != 0:
            moved[b, k] -= np.linalg.inv(np.array([[xx, xy], [xy, yy]])) @ gradient
    return moved


class TestPeaks:
    def test_they_are_those_of_the_program(self, noise: NDArray[np.float32]) -> None:
        for mine, expected in zip(peaks(noise), literal_peaks(noise), strict=True):
            np.testing.assert_array_equal(mine, expected)
        assert peaks(noise)[0][1, 4].tolist() == [0, 0]  # nothing above 0

    def test_the_first_of_equal_cells(self) -> None:
        flat = np.zeros((1, 1, 4, 5), np.float32)
        flat[0, 0, 2, 1] = flat[0, 0, 1, 3] = 1
        assert peaks(flat)[0].tolist() == [[[3, 1]]]

    def test_a_quarter_towards_the_higher_neighbour(self, noise: NDArray[np.float32]) -> None:
        places, _ = peaks(noise)
        np.testing.assert_array_equal(quarter_shift(noise, places), literal_quarter(noise, places))
        np.testing.assert_array_equal(places, peaks(noise)[0])  # not changed
        np.testing.assert_array_equal(quarter_shift(noise, places)[0, :3], places[0, :3])  # too near the edge
        np.testing.assert_array_equal(dark(noise, places, 11)[0, :4], places[0, :4])

    @pytest.mark.parametrize("kernel", [11, 17])
    def test_dark_is_that_of_the_program(self, noise: NDArray[np.float32], kernel: int) -> None:
        places, _ = peaks(noise)
        maps = np.maximum(noise, 0) + np.float32(1e-3)  # the program divides by the highest value
        np.testing.assert_allclose(dark(maps, places, kernel), literal_dark(maps, places, kernel), atol=1e-4)

    def test_dark_finds_centres_between_the_cells(self) -> None:
        places = np.random.default_rng(1).uniform(12, 36, (3, 17, 2))
        maps = gaussians(places)
        coarse = np.abs(peaks(maps)[0] - places).max()
        fine = np.abs(dark(maps, peaks(maps)[0], 11) - places).max()
        assert coarse > 0.4
        assert fine < 0.02

    def test_dark_leaves_empty_heatmaps_alone(self) -> None:
        empty = np.zeros((1, 2, *SIZE_HW), np.float32)
        empty[0, 1] = -1
        places = np.full((1, 2, 2), 20, np.float32)
        np.testing.assert_array_equal(dark(empty, places, 11), places)


class TestDecode:
    places = np.random.default_rng(2).uniform(8, 40, (2, 17, 2))
    centers = np.array([[100.5, 80.25], [300, 200]], np.float32)
    scales = np.array([[0.9, 1.2], [1.5, 2.0]], np.float32)

    def in_image(self, places: NDArray[Any], cells: float = 0.0) -> NDArray[Any]:
        """Cells are scale x 200 / 48 pixels wide, the heatmap's middle is the crop's."""
        side = self.scales[:, :1, None] * 200 / 48
        return self.centers[:, None] + side * (places + cells - np.array([24, 32]))

    @pytest.mark.parametrize(("refine", "kernel", "cells"), [(False, 0, 0.51), (True, 0, 0.26), (True, 11, 0.02)])
    def test_planted_joints_come_back(self, refine: bool, kernel: int, cells: float) -> None:
        settings = DecodingSettings(refine=refine, blur_kernel=kernel)
        found = decode(gaussians(self.places), self.centers, self.scales, settings)
        error = np.abs(found[..., :2] - self.in_image(self.places)).max()
        assert error < cells * 1.5 * 200 / 48
        assert error > 0.3 * cells * 0.9 * 200 / 48 or kernel  # it is no better than its rule allows
        np.testing.assert_allclose(found[..., 2], gaussians(self.places).max((2, 3)))

    def test_it_goes_back_by_the_programs_three_points(self) -> None:
        whole = np.round(self.places)
        found = decode(gaussians(whole), self.centers, self.scales, DecodingSettings(refine=False))
        for person in range(2):
            matrix = crop_matrix(self.centers[person], self.scales[person], 0.0, (48, 64), inverse=True)
            expected = np.array([matrix @ [x, y, 1] for x, y in whole[person]])
            np.testing.assert_array_equal(found[person, :, :2], expected.astype(np.float32))

    def test_an_even_kernel_is_refused(self) -> None:
        with pytest.raises(UserError, match=r"TEST.BLUR_KERNEL is 10: write an odd number"):
            DecodingSettings(blur_kernel=10)


class TestFlip:
    @pytest.mark.parametrize("shift", [False, True])
    def test_columns_and_joints_go_back(self, shift: bool) -> None:
        maps, mirrored = torch.rand(2, 1, 17, 4, 6, generator=torch.Generator().manual_seed(0))
        merged = merge_mirrored(maps, mirrored, COCO.flip_index, shift)
        for k, x in np.ndindex(17, 6):
            column = 5 - x if not shift else 5 - max(0, x - 1)  # the first column stays when the others move
            expected = (maps[0, k, :, x] + mirrored[0, COCO.flip_index[k], :, column]) / 2
            torch.testing.assert_close(merged[0, k, :, x], expected)

    def test_a_symmetric_answer_is_its_own_mean(self) -> None:
        maps = torch.rand(1, 17, 4, 6, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(
            merge_mirrored(maps, maps.flip(3)[:, list(COCO.flip_index)], COCO.flip_index, False), maps
        )


def literal_oks(pose: Any, others: Any, area: float, areas: Any) -> NDArray[np.float64]:
    variances = (SIGMAS * 2) ** 2
    result = np.zeros(len(others))
    for n, other in enumerate(others):
        dx, dy = other[:, 0] - pose[:, 0], other[:, 1] - pose[:, 1]
        e = (dx**2 + dy**2) / variances / ((area + areas[n]) / 2 + np.spacing(1)) / 2
        result[n] = np.sum(np.exp(-e)) / e.shape[0]
    return result


def literal_nms(poses: Any, scores: Any, areas: Any, threshold: float) -> list[int]:
    order, kept = scores.argsort()[::-1], []
    while order.size > 0:
        i = order[0]
        kept.append(int(i))
        oks = literal_oks(poses[i], poses[order[1:]], areas[i], areas[order[1:]])
        order = order[np.where(oks <= threshold)[0] + 1]
    return kept


def literal_soft_nms(poses: Any, scores: Any, areas: Any, threshold: float) -> list[int]:
    order = scores.argsort()[::-1]
    scores = scores[order]
    kept: list[int] = []
    while order.size > 0 and len(kept) < 20:
        i = order[0]
        oks = literal_oks(poses[i], poses[order[1:]], areas[i], areas[order[1:]])
        order = order[1:]
        scores = scores[1:] * np.exp(-(oks**2) / threshold)
        again = scores.argsort()[::-1]
        order, scores = order[again], scores[again]
        kept.append(int(i))
    return kept


class TestSuppression:
    @staticmethod
    def crowd(people: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
        """Poses that repeat one another more or less; every third score is the same."""
        rng = np.random.default_rng(seed)
        bodies = rng.uniform(0, 300, (people // 3 + 1, 17, 2))
        poses = np.empty((people, 17, 3), np.float32)
        poses[..., :2] = bodies[rng.integers(len(bodies), size=people)] + rng.normal(0, 6, (people, 17, 2))
        poses[..., 2] = rng.random((people, 17))
        scores = rng.random(people)
        scores[::3] = 0.5
        return poses, scores, rng.uniform(4000, 20000, people)

    @pytest.mark.parametrize("people", [1, 2, 12, 45])
    @pytest.mark.parametrize("threshold", [0.3, 0.7, 0.9])
    def test_who_stays_is_who_stays_in_the_program(self, people: int, threshold: float) -> None:
        for seed in range(5):
            poses, scores, areas = self.crowd(people, seed)
            assert oks_nms(poses, scores, areas, SIGMAS, threshold) == literal_nms(poses, scores, areas, threshold)
            assert soft_oks_nms(poses, scores, areas, SIGMAS, threshold) == literal_soft_nms(
                poses, scores, areas, threshold
            )

    def test_similarity_is_the_programs_to_the_last_bit(self) -> None:
        poses, _, areas = self.crowd(30, 7)
        mine = similarity(poses[0], poses[1:], float(areas[0]), areas[1:], SIGMAS)
        np.testing.assert_array_equal(mine, literal_oks(poses[0], poses[1:], areas[0], areas[1:]))
        assert similarity(poses[0], poses[:1], 100.0, np.array([100.0]), SIGMAS) == 1

    def test_a_copy_goes_and_the_better_one_stays(self) -> None:
        poses, _, areas = self.crowd(3, 1)
        twice = np.concatenate([poses[:1], poses[:1]])
        assert oks_nms(twice, np.array([0.3, 0.8]), areas[:2], SIGMAS, 0.9) == [1]
        assert soft_oks_nms(twice, np.array([0.3, 0.8]), areas[:2], SIGMAS, 0.9) == [1, 0]

    def test_nobody_in_nobody_out(self) -> None:
        nobody = np.zeros((0, 17, 3), np.float32)
        assert oks_nms(nobody, np.zeros(0), np.zeros(0), SIGMAS, 0.9) == []
        assert rescored(nobody, np.zeros(0), 0.2).shape == (0,)

    def test_scores_of_boxes_times_those_of_the_joints_that_count(self) -> None:
        poses, boxes, _ = self.crowd(6, 3)
        poses[2, :, 2] = 0.1  # no joint counts
        poses[3, 4:, 2] = 0.2  # not above
        expected = []
        for pose, box in zip(poses, boxes, strict=True):
            total, counted = np.float32(0), 0
            for score in pose[:, 2]:
                if score > np.float32(0.2):
                    total, counted = total + score, counted + 1
            expected.append(float(total) / counted * box if counted else 0.0)
        np.testing.assert_array_equal(rescored(poses, boxes, 0.2), expected)
