"""How fast is a bottom-up training sample, against a plain one? Prints ratios of one run.

python tools/bench/bottom_up_sample.py [--root <coco>] [--split train2017] [--rounds 3]

A sample is: decode the JPEG, warp the image to 512 x 512, mask crowds, draw heatmaps at strides 4 and 2, index the
tags; a batch is eight of them in the tensors that the network gets. The yardstick goes through the steps of
HigherHRNet's loader in their order and with its means: masks added up in double precision; mask, keypoints, heatmaps and
tags made for every output on its own; mirroring as a step of its own, one keypoint after the other, the image
normalised to float32 in the sample, and the samples stacked by torch's own collation. Ours hands out bytes, which the
device normalises, and draws the heatmaps in the batch; one ratio is for samples only, their heatmaps drawn, and one has
the normalising done here too, on this core. Both get the same draws and must give the same heatmaps and tag indices, bit
for bit; where nothing is mirrored, the same masks and image too (one map with the mirroring in it rounds otherwise
than two steps). Times are CPU times, one thread, in turn. Without --root, the images are drawn, 640 x 480. Decoding and
warping the image cost both the same, so the ratio grows with the people: each image is measured with its own, and
with more that are borrowed from the others.
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
from torch.utils.data import default_collate

from supernet.pose.bottom_up.augmentation import Augmentation, sample_matrix
from supernet.pose.bottom_up.samples import Sample, collate, training_sample
from supernet.pose.bottom_up.targets import TargetSettings
from supernet.pose.datasets.annotations import Person, PoseImage
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.images import find_images, read_image
from supernet.pose.geometry import Matrix
from supernet.pose.inputs import MEAN, STD, normalise
from supernet.pose.keypoints import COCO
from supernet.pose.synthetic.dataset import make_synthetic

SIDE, STRIDES, SIGMA, ROWS, BATCH = 512, (4, 2), 2.0, 30, 8
Arrays = list[NDArray[Any]]
LiteralSample = tuple[torch.Tensor, Arrays, Arrays, Arrays]


def literal_sample(image: PoseImage, rng: np.random.Generator) -> LiteralSample:
    """Make one sample step by step.

    Returns:
        The normalised image (3, H, W), and for each output its heatmaps, its mask and its tag indices.
    """
    encoded = cv2.imread(str(image.path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    pixels = cv2.cvtColor(encoded, cv2.COLOR_BGR2RGB)
    height, width = pixels.shape[:2]
    evaluated = literal_region(image.people, height, width) < 0.5
    people = [person.keypoints_K3 for person in image.people if not person.ignored]
    whole = np.array(people, np.float64).reshape(-1, COCO.num_joints, 3)

    matrix, flipped = sample_matrix(width, height, (SIDE, SIDE), Augmentation(), rng)
    joints = [literal_points(whole.copy(), matrix / stride) for stride in STRIDES]
    if flipped:  # the map of image and masks has no mirroring in it, it follows below
        matrix[0] *= -1
        matrix[0, 2] += SIDE - 1
    masks = [literal_mask(evaluated.copy(), matrix / stride, SIDE // stride) for stride in STRIDES]
    pixels = cv2.warpAffine(pixels, matrix, (SIDE, SIDE))
    if flipped:
        joints = [points[:, list(COCO.flip_index)] for points in joints]
        pixels = pixels[:, ::-1] - np.zeros_like(pixels)
        masks = [mask[:, ::-1] - np.zeros_like(mask) for mask in masks]
    image_CHW = torch.from_numpy(pixels.transpose(2, 0, 1)).contiguous().to(torch.float32).div(255)
    image_CHW = image_CHW.clone().sub_(torch.tensor(MEAN)[:, None, None]).div_(torch.tensor(STD)[:, None, None])

    heatmaps = [
        literal_heatmaps(points, SIDE // stride).astype(np.float32)
        for points, stride in zip(joints, STRIDES, strict=True)
    ]
    indices = [literal_indices(points, SIDE // stride) for points, stride in zip(joints, STRIDES, strict=True)]
    return image_CHW, heatmaps, [mask.astype(np.float32) for mask in masks], indices


def literal_region(people: tuple[Person, ...], height: int, width: int) -> NDArray[np.float64]:
    """Count for each pixel of the image the crowds and unlabelled people that cover it."""
    region = np.zeros((height, width))
    for person in people:
        if person.ignored:
            runs = coco_mask.frPyObjects(person.segmentation, height, width)
            for run in runs if isinstance(runs, list) else [runs]:
                region += coco_mask.decode(run)
    return region


def literal_points(joints: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """Move the keypoints to the cells of one output."""
    moved = np.concatenate((joints[:, :, :2], np.ones((*joints.shape[:2], 1))), axis=2) @ matrix.T
    joints[:, :, :2] = moved.astype(np.float32)
    return joints


def literal_mask(evaluated: NDArray[np.bool_], matrix: Matrix, side: int) -> NDArray[np.float32]:
    """Warp what is evaluated to one output; elsewhere, and beyond the image, the mask is 0."""
    warped = cv2.warpAffine((evaluated * 255).astype(np.uint8), matrix, (side, side)) / 255
    return (warped > 0.5).astype(np.float32)


def literal_heatmaps(joints: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    """Draw one keypoint after the other; sigma may be a fraction there, so the corners of a window are rounded."""
    reach = 3 * SIGMA + 1
    heatmaps = np.zeros((COCO.num_joints, side, side), np.float32)
    for person in joints:
        for joint, point in enumerate(person):
            if point[2] > 0:
                x, y = int(point[0]), int(point[1])
                if x < 0 or y < 0 or x >= side or y >= side:
                    continue
                left, top = int(np.round(x - reach)), int(np.round(y - reach))
                right, bottom = int(np.round(x + reach + 1)), int(np.round(y + reach + 1))
                columns = slice(max(0, left), min(right, side))
                rows = slice(max(0, top), min(bottom, side))
                part = GAUSSIAN[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
                heatmaps[joint, rows, columns] = np.maximum(heatmaps[joint, rows, columns], part)
    return heatmaps


def literal_indices(joints: NDArray[np.float64], side: int) -> NDArray[np.int64]:
    """Tell where each visible joint's tag stands, in rows of people with any."""
    indices = np.zeros((ROWS, COCO.num_joints, 2), np.int64)
    row = 0
    for person in joints:
        seen = False
        for joint, point in enumerate(person):
            x, y = int(point[0]), int(point[1])
            if row < ROWS and point[2] > 0 and 0 <= x < side and 0 <= y < side:
                indices[row, joint] = (joint * side**2 + y * side + x, 1)
                seen = True
        row += seen
    return indices


def literal_gaussian() -> NDArray[np.float64]:
    """The one window that all keypoints are drawn with, made once."""
    reach = 3 * SIGMA + 1
    x = np.arange(2 * reach + 1)
    table: NDArray[np.float64] = np.exp(-((x - reach) ** 2 + (x[:, None] - reach) ** 2) / (2 * SIGMA**2))
    return table


GAUSSIAN = literal_gaussian()


def our_sample(image: PoseImage, rng: np.random.Generator) -> Sample:
    """As the training programs make it."""
    settings = TargetSettings(STRIDES, SIGMA, ROWS)
    return training_sample(read_image(image.path), image.people, COCO, (SIDE, SIDE), Augmentation(), settings, rng)


def crowded(images: Sequence[PoseImage], people: int) -> list[PoseImage]:
    """The images with so many people each, all with keypoints, taken in turn from all the images."""
    pool = itertools.cycle([person for image in images for person in image.people if not person.ignored])
    return [replace(image, people=tuple(itertools.islice(pool, people))) for image in images]


def compare(name: str, images: Sequence[PoseImage], rounds: int) -> None:
    """Time both on batches of the images, in turn, and print the ratios."""
    ratios: dict[str, list[float]] = {"sample": [], "batch": [], "normalised": []}
    ours, joints = [], []
    batches = [images[first : first + BATCH] for _ in range(rounds) for first in range(0, len(images), BATCH)]
    for number, batch in enumerate(batches):
        seconds = {}
        for contender in ("literal", "ours") if number % 2 else ("ours", "literal"):
            rngs = [np.random.default_rng((number, index)) for index in range(len(batch))]
            started = time.process_time()
            if contender == "literal":
                plain = [literal_sample(image, rng) for image, rng in zip(batch, rngs, strict=True)]
                seconds["literal samples"] = time.process_time() - started
                images_BCHW, *expected = default_collate(plain)
            else:
                samples = [our_sample(image, rng) for image, rng in zip(batch, rngs, strict=True)]
                seconds["our samples"] = time.process_time() - started
                made = collate(samples)
            seconds[contender] = time.process_time() - started
        started = time.process_time()
        drawn = [targets.heatmaps for _, targets in samples]
        seconds["drawing"] = time.process_time() - started
        started = time.process_time()
        floats = normalise(made["images"])  # what the device does
        seconds["normalising"] = time.process_time() - started

        heatmaps, masks, indices = expected
        same = all(map(torch.equal, (*made["heatmaps"], made["joints"]), (*heatmaps, indices[0])))
        for maps, (_, literal, _, _) in zip(drawn, plain, strict=True):
            same = same and all(map(np.array_equal, maps, literal))
        if not same:
            raise SystemExit(f"{name}: the targets of batch {number} differ")
        for index in range(len(batch)):
            _, flipped = sample_matrix(8, 8, (8, 8), Augmentation(), np.random.default_rng((number, index)))
            pairs = zip((floats, *made["masks"]), (images_BCHW, *masks), strict=True)
            if not flipped and not all(one[index].equal(two[index]) for one, two in pairs):
                raise SystemExit(f"{batch[index].path}: image or masks of batch {number} differ")
        ratios["sample"].append(seconds["literal samples"] / (seconds["our samples"] + seconds["drawing"]))
        ratios["batch"].append(seconds["literal"] / seconds["ours"])
        ratios["normalised"].append(seconds["literal"] / (seconds["ours"] + seconds["normalising"]))
        ours.append(seconds["ours"] / len(batch))
        joints.append(float(made["joints"][..., 1].sum()) / len(batch))
    low, middle, high = statistics.quantiles(ratios["batch"], n=4)
    print(
        f"{name}, {statistics.mean(joints):.0f} visible joints a sample, {len(batches)} batches of {BATCH}, targets equal: "
        f"literal / ours {middle:.2f} (quartiles {low:.2f} to {high:.2f}), samples only "
        f"{statistics.median(ratios['sample']):.2f}, with the images normalised on this core "
        f"{statistics.median(ratios['normalised']):.2f}; ours {1e3 * statistics.median(ours):.1f} ms a sample"
    )


def main() -> None:
    """Real images where a folder is given, else drawn ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder with COCO's annotations and the split's images")
    parser.add_argument("--split", default="train2017")
    parser.add_argument("--rounds", type=int, default=3, help="draws for each image")
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
