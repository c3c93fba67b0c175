"""How fast is the grouping of people, against a plain reading of the published decoder? Prints ratios of one run.

python tools/bench/grouping.py [--rounds 5]

The yardstick below does what the published program does, in its order and with its means: max pooling and top-k by
PyTorch, the assignment in plain Python, the refinement of every joint of every person over whole maps. Both decoders
get the same maps in turn, in one thread, and must give the same bits; the numbers are ratios of CPU time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from supernet.pose.bottom_up.grouping import GroupingSettings, group

Maps = NDArray[np.float32]
ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)
JOINTS = 14  # CrowdPose


# ------------------------------------------------------------------------------------------------------- the yardstick


def literal_group(confidence_KHW: Maps, tags_KHWL: Maps, settings: GroupingSettings) -> tuple[Maps, Maps]:
    """Do the steps of the published decoder one after the other; the result is that of ``group``."""
    poses = literal_match(*literal_peaks(confidence_KHW, tags_KHWL, settings), settings)
    for pose in poses:
        for joint in range(settings.num_joints):
            if settings.adjust and pose[joint, 2] > 0:
                x, y = int(pose[joint, 0]), int(pose[joint, 1])
                pose[joint, :2] = _quarter(confidence_KHW[joint], x, y)
    scores = np.array([pose[:, 2].mean() for pose in poses], np.float32)
    if settings.refine:
        tags_KHWL = np.broadcast_to(tags_KHWL, (*confidence_KHW.shape, tags_KHWL.shape[3]))
        for pose in poses:
            literal_refine(pose, confidence_KHW, tags_KHWL)
    return poses, scores


def literal_peaks(confidence_KHW: Maps, tags_KHWL: Maps, settings: GroupingSettings) -> tuple[Any, Any, Any]:
    """Take the M best local maxima of each joint: values (K, M), x and y (K, M, 2), tags (K, M, L).

    The published program leaves the order of equal values to the library; here they come in row-major order.
    """
    joints, height, width = confidence_KHW.shape
    confidence = torch.from_numpy(confidence_KHW)[None]
    tags = torch.from_numpy(tags_KHWL).expand(joints, height, width, -1)
    pooled = torch.nn.functional.max_pool2d(confidence, settings.nms_kernel, 1, settings.nms_kernel // 2)
    kept = (confidence * torch.eq(pooled, confidence).float()).view(joints, -1)
    values, index = kept.topk(settings.max_people, dim=1)
    order = torch.from_numpy(np.lexsort((index.numpy(), -values.numpy()), axis=1))
    values, index = values.gather(1, order), index.gather(1, order)
    flat = tags.reshape(joints, height * width, -1)
    picked = torch.stack([flat[:, :, part].gather(1, index) for part in range(flat.shape[2])], dim=2)
    return values.numpy(), torch.stack((index % width, index // width), dim=2).numpy(), picked.numpy()


def literal_match(values: Any, places: Any, tags: Any, settings: GroupingSettings) -> Maps:
    """Hand the peaks to groups, joint by joint."""
    people: dict[float, Maps] = {}
    tags_of: dict[float, list[Any]] = {}
    num_tags = tags.shape[2]
    for joint in [j for j in ORDER if j < settings.num_joints]:
        rows = np.concatenate((places[joint], values[joint][:, None], tags[joint]), axis=1).astype(np.float64)
        above = rows[:, 2] > settings.detection_threshold
        rows, row_tags = rows[above], tags[joint][above]
        if not len(rows):
            continue
        known = list(people)[: settings.max_people]
        if known and settings.ignore_too_much and len(known) == settings.max_people:
            continue
        partner: dict[int, int] = {}
        if known:
            means = np.array([np.mean(tags_of[key], axis=0) for key in known])
            distance = np.linalg.norm(rows[:, None, 3:] - means[None], ord=2, axis=2)
            cost = np.round(distance) * 100 - rows[:, 2:3] if settings.use_detection_value else distance
            if len(rows) > len(known):
                cost = np.concatenate((cost, np.full((len(rows), len(rows) - len(known)), 1e10)), axis=1)
            for row, column in literal_munkres(cost.tolist()):
                if column < len(known) and distance[row, column] < settings.tag_threshold:
                    partner[row] = column
        for row in range(len(rows)):
            if row in partner:
                key = known[partner[row]]
                tags_of[key].append(row_tags[row])
            else:
                key = float(rows[row, 3])
                people.setdefault(key, np.zeros((settings.num_joints, 3 + num_tags), np.float32))
                tags_of[key] = [row_tags[row]]
            people[key][joint] = rows[row]
    return np.array(list(people.values()), np.float32).reshape(-1, settings.num_joints, 3 + num_tags)


def literal_munkres(cost: list[list[float]]) -> list[tuple[int, int]]:
    """Solve the assignment by Munkres' six steps on plain lists, choosing among ties as munkres 1.1.4."""
    rows, columns = len(cost), len(cost[0])
    n = max(rows, columns)
    c = [row + [0.0] * (n - columns) for row in cost] + [[0.0] * n for _ in range(n - rows)]
    c = [[value - min(row) for value in row] for row in c]
    star = [[False] * n for _ in range(n)]
    for i in range(n):
        for j in range(n):
            if c[i][j] == 0 and not any(star[i]) and not any(star[k][j] for k in range(n)):
                star[i][j] = True
    while True:
        covered_rows = [False] * n
        covered_columns = [any(star[i][j] for i in range(n)) for j in range(n)]
        if all(covered_columns):
            return [(i, j) for i in range(rows) for j in range(columns) if star[i][j]]
        prime = [[False] * n for _ in range(n)]
        i = j = 0
        while True:
            place = _uncovered_zero(c, covered_rows, covered_columns, i, j)
            if place is None:
                smallest = min(
                    c[i][j] for i in range(n) for j in range(n) if not covered_rows[i] and not covered_columns[j]
                )
                for i in range(n):
                    for j in range(n):
                        if covered_rows[i]:
                            c[i][j] += smallest
                        if not covered_columns[j]:
                            c[i][j] -= smallest
                i = j = 0
                continue
            i, j = place
            prime[i][j] = True
            if not any(star[i]):
                break
            j = star[i].index(True)
            covered_rows[i], covered_columns[j] = True, False
        path = [(i, j)]
        while any(star[k][j] for k in range(n)):
            i = next(k for k in range(n) if star[k][j])
            path.append((i, j))
            j = prime[i].index(True)
            path.append((i, j))
        for i, j in path:
            star[i][j] = not star[i][j]


def _uncovered_zero(c: Any, rows: list[bool], columns: list[bool], i: int, j: int) -> tuple[int, int] | None:
    n = len(c)
    for row in [(i + k) % n for k in range(n)]:
        found = None
        for column in [(j + k) % n for k in range(n)]:
            if c[row][column] == 0 and not rows[row] and not columns[column]:
                found = (row, column)
        if found:
            return found
    return None


def literal_refine(pose: Maps, confidence_KHW: Maps, tags_KHWL: Maps) -> None:
    """Look every joint of one person up in whole maps; fill in the missing ones."""
    joints, height, width = confidence_KHW.shape
    seen = [tags_KHWL[j, int(pose[j, 1]), int(pose[j, 0])] for j in range(joints) if pose[j, 2] > 0]
    mean = np.mean(seen, axis=0)
    found = []
    for joint in range(joints):
        distance = ((tags_KHWL[joint] - mean[None, None, :]) ** 2).sum(axis=2) ** 0.5
        score = confidence_KHW[joint] - np.round(distance)
        y, x = np.unravel_index(np.argmax(score), (height, width))
        found.append((*_quarter(confidence_KHW[joint], int(x), int(y)), confidence_KHW[joint, y, x]))
    for joint, row in enumerate(found):
        if row[2] > 0 and pose[joint, 2] == 0:
            pose[joint, :3] = row


def _quarter(confidence_HW: Maps, x: int, y: int) -> tuple[float, float]:
    height, width = confidence_HW.shape
    right = confidence_HW[y, min(x + 1, width - 1)] > confidence_HW[y, max(x - 1, 0)]
    down = confidence_HW[min(y + 1, height - 1), x] > confidence_HW[max(y - 1, 0), x]
    return x + 0.5 + (0.25 if right else -0.25), y + 0.5 + (0.25 if down else -0.25)


# ------------------------------------------------------------------------------------------------------------ the maps


def planted(rng: np.random.Generator, size: int, people: int, up: int = 1) -> tuple[Maps, Maps]:
    """Draw maps as a trained network gives them with flip test: noise, people, false peaks, two tags a pixel.

    Args:
        rng: what is drawn follows from it.
        size: rows and columns of the maps.
        people: each lacks every sixth joint; its tag is its own, 1.5 or more from most others.
        up: maps are drawn at ``size / up`` and enlarged, as where grouping works at the size of the network's input.

    Returns:
        confidence (K, H, W) and tags (K, H, W, 2).
    """
    side = size // up
    confidence = np.abs(rng.normal(0, 0.02, (JOINTS, side, side))).astype(np.float32)
    tags = rng.normal(0, 0.3, (JOINTS, side, side, 2)).astype(np.float32)
    rows, columns = np.mgrid[:side, :side]
    for person in range(people):
        own = 1.5 * (person - people / 2) + rng.normal(0, 0.2)
        centre = rng.uniform(0.1 * side, 0.9 * side, 2)
        for joint in range(JOINTS):
            y, x = np.clip(centre + rng.normal(0, side / 12, 2), 0, side - 1)
            tall = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8).astype(np.float32)
            near = tall > 0.05
            if rng.random() > 1 / 6:
                np.maximum(confidence[joint], np.float32(rng.uniform(0.3, 0.95)) * tall, out=confidence[joint])
                tags[joint][near] = (own + rng.normal(0, 0.15, (near.sum(), 2))).astype(np.float32)
    for joint in range(JOINTS):
        for y, x in rng.integers(0, side, (people // 6, 2)):
            confidence[joint, y, x] = rng.uniform(0.12, 0.4)
    if up > 1:
        wide = torch.from_numpy(np.concatenate((confidence[..., None], tags), axis=3)).permute(0, 3, 1, 2)
        wide = torch.nn.functional.interpolate(wide, size=(size, size), mode="bilinear", align_corners=False)
        confidence, tags = wide[:, 0].numpy(), wide[:, 1:].permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(confidence), np.ascontiguousarray(tags)


# ------------------------------------------------------------------------------------------------------------ the race


def compare(size: int, people: int, up: int, rounds: int) -> None:
    """Time both on ``rounds`` images, in turn, and print the median ratio with its range."""
    settings = GroupingSettings(JOINTS)
    contenders: dict[str, Callable[[Maps, Maps], tuple[Maps, Maps]]] = {
        "literal": lambda confidence, tags: literal_group(confidence, tags, settings),
        "ours": lambda confidence, tags: group(confidence, tags, settings),
        "fast": lambda confidence, tags: group(confidence, tags, replace(settings, assignment="fast")),
    }
    ratios, ours, found = [], [], []
    for number in range(rounds):
        confidence, tags = planted(np.random.default_rng(number), size, people, up)
        outputs, seconds = {}, {}
        for name in list(contenders)[:: 1 if number % 2 else -1]:
            started = time.process_time()
            outputs[name] = contenders[name](confidence, tags)
            seconds[name] = time.process_time() - started
        for one, other in zip(outputs["literal"], outputs["ours"], strict=True):
            if not np.array_equal(one, other):
                raise SystemExit(f"maps of {size}², {people} people, image {number}: the two decoders differ")
        ratios.append(seconds["literal"] / seconds["ours"])
        ours.append((seconds["ours"], seconds["fast"]))
        found.append(len(outputs["ours"][0]))
    print(
        f"{size}², {people} people ({statistics.median(found):.0f} groups found){', enlarged' if up > 1 else ''}, "
        f"{rounds} images, bits equal: literal / ours {statistics.median(ratios):.1f} "
        f"(from {min(ratios):.1f} to {max(ratios):.1f}); ours {1e3 * statistics.median(t for t, _ in ours):.0f} ms, "
        f"with the fast assignment {1e3 * statistics.median(t for _, t in ours):.0f} ms"
    )


def main() -> None:
    """Both sizes of the issue, and the enlarged maps of tests with projection."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="images for each size")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    compare(256, 12, 1, options.rounds)
    compare(512, 25, 1, options.rounds)
    compare(512, 25, 2, options.rounds)


if __name__ == "__main__":
    main()
