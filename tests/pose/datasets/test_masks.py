"""Regions of crowds: as pycocotools draws them, and refused where it would end the process or show stray memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from supernet.errors import UserError
from supernet.pose.datasets.annotations import Person
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.masks import complaint, region
from supernet.pose.keypoints import COCO


def crowd(segmentation: Any, bbox: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)) -> Person:
    return Person(np.zeros((17, 3), np.float32), bbox, 1.0, True, 0, segmentation)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools 2.0.11 under numpy 2
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_run_lengths_are_read_as_pycocotools_reads_them(share: float) -> None:
    """As numbers and as COCO's text, short and long runs, increasing and decreasing."""
    rng = np.random.default_rng(0)
    drawn = np.asfortranarray(np.repeat(rng.random((61, 12)) < share, 7, axis=1)[:, :80])
    encoded = coco_mask.encode(drawn.astype(np.uint8))
    text = {"size": [61, 80], "counts": encoded["counts"].decode()}
    flat = drawn.ravel(order="F").astype(np.int8)
    edges = np.flatnonzero(np.diff(flat, prepend=0))
    numbers = {"size": [61, 80], "counts": np.diff([0, *edges, flat.size]).tolist()}
    for segmentation in (text, numbers):
        assert complaint(segmentation) is None
        np.testing.assert_array_equal(region([crowd(segmentation)], (61, 80)), drawn)


def test_regions_of_several_people_add_up() -> None:
    people = [
        crowd([[2, 2, 6, 2, 6, 6, 2, 6]]),
        crowd({"size": [10, 12], "counts": [100, 20]}),
        crowd(None, (-3.0, 8.0, 5.0, 1e308)),
    ]
    expected = np.zeros((10, 12), bool)
    expected[2:6, 2:6] = expected[:, 10:] = expected[8:, :2] = True
    np.testing.assert_array_equal(region(people, (10, 12)), expected)


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1e9, 0, 1, 1, 2, 2]],  # pycocotools ends the process
        [[0, 0, 1, 1, float("nan"), 2]],
        [[0, 0, 1, 1, "x", 2]],
        [[0, 0, 1, 1, [2], 2]],
        [1, 2, 3, 4, 5, 6],
        "polygon",
        7,
        {"counts": [768]},
        {"size": [24], "counts": [768]},
        {"size": [-24, -32], "counts": [768]},
        {"size": [24, 32], "counts": [100]},  # stray memory
        {"size": [24, 32], "counts": [1000]},
        {"size": [24, 32], "counts": [800, -32]},
        {"size": [24, 32], "counts": [767.5, 0.5]},
        {"size": [24, 32], "counts": ["768"]},
        {"size": [24, 32], "counts": None},
        {"size": [24, 32], "counts": "x"},
        {"size": [10**6, 10**6], "counts": [10**12]},
    ],
)
def test_what_cannot_be_drawn_is_refused_when_the_file_is_read(segmentation: Any, tmp_path: Path) -> None:
    person = {"id": 5, "image_id": 1, "category_id": 1, "keypoints": [0] * 51, "num_keypoints": 0, "iscrowd": 1,
              "bbox": [1, 1, 9, 9], "segmentation": segmentation}  # fmt: skip
    data = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 32, "height": 24}],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.joints)}],
        "annotations": [person],
    }
    (tmp_path / "x.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match=r"x.json: the segmentation of annotation 5 is no.*: correct or remove it"):
        PoseDataset(tmp_path / "x.json", tmp_path, COCO)
