"""Top-down training samples a second on one core, beside a literal per-keypoint implementation of HRNet's rules.

python tools/bench/person_sample.py [--annotations FILE --images FOLDER]

Without arguments, JPEGs of 640x480 of the synthetic dataset. Both read the file, augment, warp and draw 256x192 samples with
the same random numbers; images, heatmaps and weights have to be equal to the last bit.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.images import read_image
from supernet.pose.datasets.people import PeopleDataset, PersonInstance
from supernet.pose.datasets.people_of_images import annotated_people
from supernet.pose.keypoints import COCO
from supernet.pose.synthetic.dataset import make_synthetic
from supernet.pose.top_down.samples import PersonAugmentation, person_sample
from supernet.pose.top_down.targets import PersonTargetSettings

INPUT_HW, STRIDE, SIGMA = (256, 192), 4, 2
AUGMENTATION = PersonAugmentation(0.35, 45.0, 0.5, 0.3, 8)
Sample = tuple[Any, Any, Any]


def ours(person: PersonInstance, seed: int) -> Sample:
    """The toolkit's sample."""
    rng = np.random.default_rng(seed)
    settings = PersonTargetSettings(STRIDE, SIGMA)
    return person_sample(read_image(person.path), person, COCO, INPUT_HW, AUGMENTATION, settings, rng)


def literally(person: PersonInstance, seed: int) -> Sample:
    """The rules, one keypoint and one step after the other."""
    rng = np.random.default_rng(seed)
    halved, turned, mirrored = rng.random(3)
    half, growth, turn = rng.standard_normal(3)
    image = cv2.imread(str(person.path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    height, width = INPUT_HW
    aspect = width / height
    joints = [[float(x), float(y)] for x, y, _ in person.keypoints_K3]
    labelled = [v > 0 for _, _, v in person.keypoints_K3]
    x, y, w, h = person.bbox
    center, w, h, padding = np.array([x + w * 0.5, y + h * 0.5], np.float32), w, h, 1.25
    if sum(labelled) > AUGMENTATION.half_body_joints and halved < AUGMENTATION.half_body_probability:
        upper = [joint for k, joint in enumerate(joints) if labelled[k] and k <= 10]
        lower = [joint for k, joint in enumerate(joints) if labelled[k] and k > 10]
        if half < 0.5 and len(upper) > 2:
            shown = upper
        else:
            shown = lower if len(lower) > 2 else upper
        if len(shown) >= 2:
            points = np.array(shown, np.float32)
            center, padding = points.mean(axis=0), 1.5
            w, h = (float(side) for side in np.amax(points, axis=0) - np.amin(points, axis=0))
    if w > aspect * h:
        h = w / aspect
    elif w < aspect * h:
        w = h * aspect
    scale = np.array([w / 200, h / 200], np.float32) * np.float32(padding)
    spread, most = AUGMENTATION.scale_factor, AUGMENTATION.rotation_factor
    scale = scale * np.float32(np.clip(growth * spread + 1, 1 - spread, 1 + spread))
    rotation = np.clip(turn * most, -2 * most, 2 * most) if turned <= 0.6 else 0
    if mirrored < AUGMENTATION.flip_probability:
        image = image[:, ::-1, :]
        joints = [[image.shape[1] - x - 1, y] for x, y in joints]
        for left in range(1, 17, 2):
            for values in (joints, labelled):
                values[left], values[left + 1] = values[left + 1], values[left]
        center[0] = image.shape[1] - center[0] - 1
    angle = np.pi * rotation / 180
    arm = float(scale[0] * np.float32(200)) * -0.5
    here, there = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    here[0], there[0] = center, [width * 0.5, height * 0.5]
    here[1] = center + np.array([-arm * np.sin(angle), arm * np.cos(angle)])
    there[1] = [width * 0.5, height * 0.5 - width * 0.5]
    for three in (here, there):
        away = three[0] - three[1]
        three[2] = three[1] + np.array([-away[1], away[0]], np.float32)
    matrix = cv2.getAffineTransform(here, there)
    crop = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
    heatmaps = np.zeros((17, height // STRIDE, width // STRIDE), np.float32)
    weights = np.array(labelled, np.float32)
    rows, columns = heatmaps.shape[1:]
    reach = 3 * SIGMA
    for k in range(17):
        if labelled[k]:
            joints[k] = np.dot(matrix, np.array([joints[k][0], joints[k][1], 1.0]))
        column, row = (int(value / STRIDE + 0.5) for value in joints[k])
        left, top, right, bottom = column - reach, row - reach, column + reach + 1, row + reach + 1
        if left >= columns or top >= rows or right < 0 or bottom < 0:
            weights[k] = 0
        if weights[k] > 0.5:
            across = np.arange(0, 2 * reach + 1, 1, np.float32)
            down = across[:, np.newaxis]
            gaussian = np.exp(-((across - reach) ** 2 + (down - reach) ** 2) / (2 * SIGMA**2))
            inside = gaussian[max(0, -top) : min(bottom, rows) - top, max(0, -left) : min(right, columns) - left]
            heatmaps[k, max(0, top) : min(bottom, rows), max(0, left) : min(right, columns)] = inside
    return crop, heatmaps, weights


def compare(people: PeopleDataset, rounds: int) -> None:
    """Equality of the samples, samples a second, and the paired ratios of CPU times."""
    seeds = 5
    for number in range(seeds * len(people)):
        person = people[number % len(people)]
        for a, b in zip(literally(person, number), ours(person, number), strict=True):
            assert a.dtype == b.dtype and np.array_equal(a, b), f"sample {number} differs"
    contenders: dict[str, Callable[[PersonInstance, int], Any]] = {
        "literal": literally,
        "ours": ours,
        "decoding": lambda person, _: read_image(person.path),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in sorted(contenders, reverse=bool(number % 2)):
            started = time.process_time()
            for index, person in enumerate(people):
                contenders[name](person, number * len(people) + index)
            seconds[name].append(time.process_time() - started)
    rates = {name: len(people) / statistics.median(values) for name, values in seconds.items()}
    rows = list(zip(seconds["literal"], seconds["ours"], seconds["decoding"], strict=True))
    print(
        f"{len(people)} people, {INPUT_HW[0]}x{INPUT_HW[1]}, {rounds} rounds, one thread, CPU time: ours "
        f"{rates['ours']:.0f} samples/s, literal {rates['literal']:.0f}, decoding only {rates['decoding']:.0f}; "
        f"{seeds * len(people)} samples equal\nliteral / ours: whole sample "
        f"{statistics.median(literal / own for literal, own, _ in rows):.2f}, without decoding "
        f"{statistics.median((literal - decoding) / (own - decoding) for literal, own, decoding in rows):.2f}"
    )


def main() -> None:
    """Make or read the people, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, help="COCO-format file instead of the synthetic dataset")
    parser.add_argument("--images", type=Path, help="its image folder")
    parser.add_argument("--rounds", type=int, default=15, help="repetitions of the timing")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        annotations, images = options.annotations, options.images
        if annotations is None:
            root = Path(folder) / "crowd"
            make_synthetic(root, train=16, val=1, width=640, height=480)
            annotations = root / "coco" / "annotations" / "person_keypoints_train2017.json"
            images = root / "coco" / "images" / "train2017"
        compare(annotated_people(PoseDataset(annotations, images, COCO)), options.rounds)


if __name__ == "__main__":
    main()
