"""How fast is a bottom-up training sample, against a plain one? Prints ratios of one run.

python tools/bench/bottom_up_sample.py [--root <coco>] [--split train2017] [--rounds 3]

A sample is: decode the JPEG, warp the picture to 512 x 512, mask crowds, draw heatmaps at strides 4 and 2, index the
tags. The yardstick goes through the steps of HigherHRNet's loader in their order and with its means: masks added up in
double precision and warped for every output, mirroring as a step of its own, one keypoint after the other, the picture
normalised to float32 in the sample. Ours hands out bytes, which the device normalises; a second ratio has that work
done here too, on this core. Both get the same draws and must give the same heatmaps and tag indices, bit for bit;
where nothing is mirrored, the same masks and picture too (one map with the mirroring in it rounds otherwise than two
steps). Times are CPU times, one thread, in turn. Without --root, the pictures are drawn,
640 x 480. Decoding and warping the picture cost both the same, so the ratio grows with the people: each picture is
measured with its own, and with more that are borrowed from the others.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from supernet.pose.coco import Person, PoseDataset, PoseImage
from supernet.pose.images import find_images, read_image
from supernet.pose.inference import MEAN, STD, normalise
from supernet.pose.skeletons import COCO
from supernet.pose.synthetic import make_synthetic
from supernet.pose.targets import Sample, training_sample
from supernet.pose.transforms import Augmentation, Matrix, sample_matrix

SIDE, STRIDES, SIGMA, ROWS = 512, (4, 2), 2, 30
Arrays = list[NDArray[Any]]


def literal_sample(image: PoseImage, rng: np.random.Generator) -> tuple[torch.Tensor, Arrays, Arrays]:
    """Make one sample step by step.

    Returns:
        The normalised picture (3, H, W), the masks, and heatmaps with tag indices.
    """
    encoded = cv2.imread(str(image.path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    pixels = cv2.cvtColor(encoded, cv2.COLOR_BGR2RGB)
    height, width = pixels.shape[:2]
    region = literal_region(image.people, height, width) > 0.5
    people = [person.keypoints_K3 for person in image.people if not person.ignored]
    joints = np.array(people, np.float64).reshape(-1, COCO.num_joints, 3)

    matrix, flipped = sample_matrix(width, height, (SIDE, SIDE), Augmentation(), rng)
    moved = np.concatenate((joints[:, :, :2], np.ones((*joints.shape[:2], 1))), axis=2) @ matrix.T
    joints[:, :, :2] = moved.astype(np.float32)
    if flipped:  # the map of picture and masks has no mirroring in it, it follows below
        matrix[0] *= -1
        matrix[0, 2] += SIDE - 1
    masks = [literal_mask(region.copy(), matrix / stride, SIDE // stride) for stride in STRIDES]
    pixels = cv2.warpAffine(pixels, matrix, (SIDE, SIDE))
    if flipped:
        joints = joints[:, list(COCO.flip_index)]
        pixels = pixels[:, ::-1] - np.zeros_like(pixels)
        masks = [mask[:, ::-1] - np.zeros_like(mask) for mask in masks]
    picture = torch.from_numpy(pixels.transpose(2, 0, 1)).contiguous().to(torch.float32).div(255)
    picture = picture.clone().sub_(torch.tensor(MEAN)[:, None, None]).div_(torch.tensor(STD)[:, None, None])

    heatmaps = [literal_heatmaps(joints, stride).astype(np.float32) for stride in STRIDES]
    masks = [mask.astype(np.float32) for mask in masks]
    return picture, masks, [*heatmaps, literal_indices(joints)]


def literal_region(people: tuple[Person, ...], height: int, width: int) -> NDArray[np.float64]:
    """Count for each pixel of the picture the crowds and unlabelled people that cover it."""
    region = np.zeros((height, width))
    for person in people:
        if person.ignored:
            runs = coco_mask.frPyObjects(person.segmentation, height, width)
            for run in runs if isinstance(runs, list) else [runs]:
                region += coco_mask.decode(run)
    return region


def literal_mask(region: NDArray[np.bool_], matrix: Matrix, side: int) -> NDArray[np.float32]:
    """Warp what is judged to one output; elsewhere, and beyond the picture, the mask is 0."""
    warped = cv2.warpAffine((~region * 255).astype(np.uint8), matrix, (side, side)) / 255
    return (warped > 0.5).astype(np.float32)


def literal_heatmaps(joints: NDArray[np.float64], stride: int) -> NDArray[np.float32]:
    """Draw one keypoint after the other."""
    side, reach = SIDE // stride, 3 * SIGMA + 1
    x = np.arange(0, 2 * reach + 1, 1, float)
    gaussian = np.exp(-((x - reach) ** 2 + (x[:, None] - reach) ** 2) / (2 * SIGMA**2))
    heatmaps = np.zeros((COCO.num_joints, side, side), np.float32)
    for person in joints:
        for joint, point in enumerate(person):
            if point[2] > 0:
                x, y = int(point[0] / stride), int(point[1] / stride)
                if x < 0 or y < 0 or x >= side or y >= side:
                    continue
                left, top, right, bottom = x - reach, y - reach, x + reach + 1, y + reach + 1
                columns = slice(max(0, left), min(right, side))
                rows = slice(max(0, top), min(bottom, side))
                part = gaussian[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
                heatmaps[joint, rows, columns] = np.maximum(heatmaps[joint, rows, columns], part)
    return heatmaps


def literal_indices(joints: NDArray[np.float64]) -> NDArray[np.int64]:
    """Tell where each visible joint's tag stands, in rows of people with any."""
    side = SIDE // STRIDES[0]
    indices = np.zeros((ROWS, COCO.num_joints, 2), np.int64)
    row = 0
    for person in joints:
        seen = False
        for joint, point in enumerate(person):
            x, y = int(point[0] / STRIDES[0]), int(point[1] / STRIDES[0])
            if row < ROWS and point[2] > 0 and 0 <= x < side and 0 <= y < side:
                indices[row, joint] = (joint * side**2 + y * side + x, 1)
                seen = True
        row += seen
    return indices


def our_sample(image: PoseImage, rng: np.random.Generator) -> Sample:
    """As the training programs make it."""
    return training_sample(
        read_image(image.path), image.people, COCO, (SIDE, SIDE), Augmentation(), rng, strides=STRIDES, sigma=SIGMA
    )


def crowded(images: Sequence[PoseImage], people: int) -> list[PoseImage]:
    """The pictures with so many people each, all with keypoints, taken in turn from all the pictures."""
    pool = itertools.cycle([person for image in images for person in image.people if not person.ignored])
    return [replace(image, people=tuple(itertools.islice(pool, people))) for image in images]


def compare(name: str, images: Sequence[PoseImage], rounds: int) -> None:
    """Time both on every photograph, in turn, and print the median ratios without and with normalising."""
    ratios, whole, ours, joints = [], [], [], []
    for number in range(rounds * len(images)):
        image = images[number % len(images)]
        seconds = {}
        for contender in ("literal", "ours") if number % 2 else ("ours", "literal"):
            rng, started = np.random.default_rng(number), time.process_time()
            if contender == "literal":
                picture, masks, expected = literal_sample(image, rng)
            else:
                pixels, targets = our_sample(image, rng)
            seconds[contender] = time.process_time() - started
        started = time.process_time()
        floats = normalise(torch.from_numpy(pixels)[None])[0]  # what the device does
        seconds["normalise"] = time.process_time() - started

        if not all(map(np.array_equal, (*targets.heatmaps, targets.joints), expected)):
            raise SystemExit(f"{image.path}: the targets of draw {number} differ")
        _, flipped = sample_matrix(8, 8, (8, 8), Augmentation(), np.random.default_rng(number))
        if not flipped and not (all(map(np.array_equal, targets.masks, masks)) and floats.equal(picture)):
            raise SystemExit(f"{image.path}: picture or masks of draw {number} differ")
        ratios.append(seconds["literal"] / seconds["ours"])
        whole.append(seconds["literal"] / (seconds["ours"] + seconds["normalise"]))
        ours.append(seconds["ours"])
        joints.append(int(targets.joints[:, :, 1].sum()))
    quartiles = statistics.quantiles(ratios, n=4)
    print(
        f"{name}, {statistics.mean(joints):.0f} visible joints a sample, {len(ratios)} samples, targets equal: "
        f"literal / ours {quartiles[1]:.2f} (quartiles {quartiles[0]:.2f} to {quartiles[2]:.2f}), with the picture "
        f"normalised on this core {statistics.median(whole):.2f}; ours {1e3 * statistics.median(ours):.1f} ms"
    )


def main() -> None:
    """Real photographs where a folder is given, else drawn ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder with COCO's annotations and the split's photographs")
    parser.add_argument("--split", default="train2017")
    parser.add_argument("--rounds", type=int, default=3, help="draws for each photograph")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools 2.0.11 under numpy 2
    with tempfile.TemporaryDirectory() as folder:
        root = options.root
        if root is None:
            make_synthetic(Path(folder) / "crowd", train=24, val=1, width=640, height=480, max_people=4, seed=0)
            root = Path(folder) / "crowd" / "coco"
        file = root / "annotations" / f"person_keypoints_{options.split}.json"
        dataset = PoseDataset(file, find_images(root / "images" / options.split, root / options.split), COCO)
        images = list(dataset.annotated())
        compare("their own people", images, options.rounds)
        for people in (12, 30):
            compare(f"{people} people each", crowded(images, people), options.rounds)


if __name__ == "__main__":
    main()
