"""Exports of CVAT and COCO Annotator, which are COCO's format with additions of their own, are read as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.pipeline.run import Run
from tests.paths import ROOT

CFG = ROOT / "experiments" / "synthetic" / "litepose.yaml"
JOINTS = ["nose", "left_ear", "right_ear"]
POINTS = [70.0, 60.5, 2, 20.25, 30, 1, 0, 0, 0]


def cvat(points: list[float]) -> dict[str, Any]:
    """As CVAT writes "COCO Keypoints 1.0": a skeleton whose edges count from 1, an ``attributes`` object, dates as texts."""
    return {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
        "categories": [
            {"id": 1, "name": "cat", "supercategory": "", "keypoints": JOINTS, "skeleton": [[1, 2], [1, 3]]},
            {"id": 2, "name": "basket", "supercategory": "", "keypoints": [], "skeleton": []},
        ],
        "images": [
            {
                "id": 1, "width": 200, "height": 100, "file_name": "a.png", "license": 0, "flickr_url": "", "coco_url": "",
                "date_captured": 0,
            }
        ],
        "annotations": [
            {
                "id": 1, "image_id": 1, "category_id": 1, "segmentation": [], "area": 4000.0, "bbox": [10.0, 20.0, 100.0, 60.0],
                "iscrowd": 0, "attributes": {"occluded": False, "keyframe": True}, "keypoints": points, "num_keypoints": 2,
            },
            {
                "id": 2, "image_id": 1, "category_id": 2, "segmentation": [], "area": 400.0, "bbox": [0.0, 0.0, 20.0, 20.0],
                "iscrowd": 0, "attributes": {"occluded": False},
            },
        ],
    }  # fmt: skip


def coco_annotator(points: list[float]) -> dict[str, Any]:
    """As COCO Annotator writes it: colours and metadata; objects without keypoints stand beside those with them."""
    return {
        "images": [
            {
                "id": 9, "dataset_id": 1, "category_ids": [3], "path": "/datasets/cats/a.png", "width": 200, "height": 100,
                "file_name": "a.png",
            }
        ],
        "categories": [
            {
                "id": 3, "name": "cat", "supercategory": "", "color": "#4d2c91", "metadata": {}, "keypoints": JOINTS,
                "skeleton": [[1, 2], [1, 3]], "keypoint_colors": ["#bf5c4d", "#d99100", "#4d8068"],
            }
        ],
        "annotations": [
            {
                "id": 4, "image_id": 9, "category_id": 3, "segmentation": [[10, 20, 110, 20, 110, 80, 10, 80]], "area": 6000,
                "bbox": [10, 20, 100, 60], "iscrowd": False, "isbbox": False, "color": "#1fbe1f", "metadata": {},
                "keypoints": [int(number) if float(number).is_integer() else number for number in points], "num_keypoints": 2,
            },
            {
                "id": 5, "image_id": 9, "category_id": 3, "segmentation": [], "area": 0, "bbox": [0, 0, 20, 20], "iscrowd": False,
                "isbbox": True, "color": "#aa1f1f", "metadata": {},
            },
        ],
    }  # fmt: skip


def run_on(folder: Path, content: dict[str, Any]) -> Run:
    for part in ("train", "val"):
        (folder / "images" / part).mkdir(parents=True)
        cv2.imwrite(str(folder / "images" / part / "a.png"), np.zeros((100, 200, 3), np.uint8))
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"{part}.json").write_text(json.dumps(content))
    own = ["DATASET.SYNTHETIC.TRAIN", "0", "DATASET.DATASET", "keypoints_bottom_up", "DATASET.ROOT", str(folder)]
    return Run(
        load_config(CFG, [*own, "DATASET.TRAIN", "train", "DATASET.TEST", "val", "DATASET.SEARCH_IMAGES", "0"]), CFG
    )


@pytest.mark.parametrize("export", [cvat, coco_annotator])
def test_the_export_is_read_as_it_is(tmp_path: Path, export: Any) -> None:
    run = run_on(tmp_path, export(POINTS))
    assert run.skeleton.joints == tuple(JOINTS) and run.skeleton.flip_index == (0, 2, 1)
    assert run.skeleton.limbs == ((0, 1), (0, 2))
    for dataset in (run.train, run.test):
        (image,) = dataset
        posed = [person for person in image.people if not person.ignored]
        assert [person.keypoints_K3.ravel().tolist() for person in posed] == [POINTS]
        assert posed[0].bbox == (10, 20, 100, 60)


@pytest.mark.parametrize("export", [cvat, coco_annotator])
def test_an_export_with_too_few_numbers_is_one_line(tmp_path: Path, export: Any) -> None:
    with pytest.raises(
        UserError, match=r"train.json: annotation [14] has 6 keypoint numbers and 4 box numbers, not 9 and 4"
    ):
        len(run_on(tmp_path, export(POINTS[:6])).train)
