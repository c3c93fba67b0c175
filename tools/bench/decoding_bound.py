"""How good can a network of this output resolution be? Official AP of the decoder on perfect heatmaps and tags, per input size.

python tools/bench/decoding_bound.py --root <coco> [--split train2017] [--sizes 256 384 512]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from supernet.pose.bottom_up.grouping import GroupingSettings
from supernet.pose.bottom_up.inference import predict, results
from supernet.pose.bottom_up.inference_settings import InferenceSettings
from supernet.pose.bottom_up.resize import affine, resized_size
from supernet.pose.bottom_up.targets import TargetSettings, make_targets
from supernet.pose.datasets.annotations import PoseImage
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.images import read_image
from supernet.pose.geometry import warp_keypoints
from supernet.pose.keypoints import COCO
from supernet.pose.metrics.oks import OksEvaluator

TAG_STEP = 3.0  # tags of two people differ by at least this
SPREAD = 2  # cells around a joint that carry its tag


def perfect_outputs(image: PoseImage, input_size: int) -> list[torch.Tensor]:
    """What a network would have to say: the training targets as heatmaps, one tag per person around its joints."""
    resize = resized_size(image.width, image.height, input_size)
    width, height = resize.size_wh
    people = [person.keypoints_K3 for person in image.people if not person.ignored]
    keypoints_PK3 = np.stack(people) if people else np.zeros((0, COCO.num_joints, 3), np.float32)
    keypoints_PK3 = warp_keypoints(keypoints_PK3, np.asarray(affine(resize), dtype=np.float64))
    targets = make_targets(keypoints_PK3, None, (height, width), TargetSettings())
    tags = np.zeros((COCO.num_joints, height // 4, width // 4), np.float32)
    for number, person in enumerate(keypoints_PK3, 1):
        for joint, (x, y, visible) in enumerate(person):
            if visible:
                rows = slice(max(0, int(y / 4) - SPREAD), int(y / 4) + SPREAD + 1)
                columns = slice(max(0, int(x / 4) - SPREAD), int(x / 4) + SPREAD + 1)
                tags[joint, rows, columns] = TAG_STEP * number
    first = np.concatenate([targets.heatmaps[0], tags])
    return [torch.from_numpy(first)[None], torch.from_numpy(targets.heatmaps[1])[None]]


def bound(dataset: PoseDataset, input_size: int, project: bool) -> float:
    """Official AP of the decoded perfect maps."""
    grouping = GroupingSettings(num_joints=COCO.num_joints, refine=False)
    settings = InferenceSettings(input_size, grouping, COCO.flip_index, project_to_image=project)
    found: list[dict[str, Any]] = []
    for image in dataset:
        outputs = perfect_outputs(image, input_size)
        found += results(image.id, predict(lambda _, o=outputs: o, [read_image(image.path)], settings)[0])  # type: ignore[misc]
    return OksEvaluator(dataset.ground_truth(), COCO).evaluate(found)["AP"]


def main() -> None:
    """One row per input size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--split", default="train2017")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 384, 512])
    options = parser.parse_args()
    annotations = options.root / "annotations" / f"person_keypoints_{options.split}.json"
    dataset = PoseDataset(annotations, options.root / options.split, COCO)
    for size in options.sizes:
        scores = {project: bound(dataset, size, project) for project in (False, True)}
        print(f"input {size}: AP {scores[False]:.3f}, with PROJECT2IMAGE {scores[True]:.3f}")


if __name__ == "__main__":
    main()
