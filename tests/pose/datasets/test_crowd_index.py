"""The crowd index of files that have none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supernet.pose.datasets.crowd_index import crowd_index, with_crowd_index
from supernet.pose.datasets.crowdpose import CrowdPose
from supernet.pose.datasets.kind import Files
from tests.paths import IMAGES


@pytest.mark.real_images
@pytest.mark.parametrize("split", ["trainval", "test"])
def test_it_is_the_official_one_to_two_decimals(split: str) -> None:
    raw = json.loads((IMAGES / "crowdpose" / "json" / f"crowdpose_{split}.json").read_text())
    for image in raw["images"]:
        people = [entry for entry in raw["annotations"] if entry["image_id"] == image["id"] and entry["num_keypoints"]]
        assert crowd_index(people) == pytest.approx(image["crowdIndex"], abs=0.006)


def person(x: float, image: int = 1) -> dict[str, object]:
    keypoints = [value for joint in range(14) for value in (x + joint, 10 + joint, 2)]
    return {"image_id": image, "keypoints": keypoints, "bbox": [x, 10, 14, 14], "num_keypoints": 12}


def test_nobody_one_and_people_upon_one_another() -> None:
    assert crowd_index([]) == 0 and crowd_index([person(0)]) == 0
    assert crowd_index([person(0), person(0)]) == 1 and crowd_index([person(0), person(100)]) == 0
    truth = {"images": [{"id": 1, "crowdIndex": 0.7}, {"id": 2}], "annotations": [person(0, 2), person(0, 2)]}
    assert [image["crowdIndex"] for image in with_crowd_index(truth)["images"]] == [0.7, 1.0]
    assert "crowdIndex" not in truth["images"][1]


def test_a_file_without_crowd_index_is_evaluated(tmp_path: Path) -> None:
    joints = CrowdPose.skeleton.joints
    people = [{**person(20 * i), "id": i, "category_id": 1, "iscrowd": 0} for i in range(4)]
    raw = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 100, "height": 60}],
        "annotations": people,
        "categories": [{"id": 1, "name": "person", "keypoints": list(joints)}],
    }
    (tmp_path / "x.json").write_text(json.dumps(raw))
    kind = CrowdPose()
    evaluator = kind.evaluator(kind.images(Files(tmp_path / "x.json", tmp_path)))
    results = [{"image_id": 1, "category_id": 1, "keypoints": one["keypoints"], "score": 1.0} for one in people]
    scores = evaluator.evaluate(results)
    assert scores["AP"] == pytest.approx(1) and scores["APeasy"] == pytest.approx(1)
