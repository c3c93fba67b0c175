"""The people of a top-down network: who is shown, where, and how files that cannot be used are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from supernet.errors import UserError
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.images import read_image
from supernet.pose.datasets.mpii import mpii_people
from supernet.pose.datasets.people_of_images import annotated_people, clipped_box, detected_people
from supernet.pose.keypoints import COCO, CROWDPOSE, MPII
from supernet.pose.metrics.oks import OksEvaluator
from supernet.pose.synthetic.dataset import make_synthetic
from tests.paths import IMAGES


def test_upper_body_and_joint_weights_are_hrnets() -> None:
    assert COCO.upper_body == tuple(range(11))
    assert MPII.upper_body == tuple(range(7, 16))
    assert CROWDPOSE.upper_body == (0, 1, 2, 3, 4, 5, 12, 13)
    assert COCO.joint_weights == (1, 1, 1, 1, 1, 1, 1, 1.2, 1.2, 1.5, 1.5, 1, 1, 1.2, 1.2, 1.5, 1.5)
    assert MPII.joint_weights == (1.5, 1.2, 1, 1, 1.2, 1.5, 1, 1, 1, 1, 1.5, 1.2, 1, 1, 1.2, 1.5)


@pytest.mark.parametrize(
    ("bbox", "clipped"),
    [
        ((10, 20, 30, 40), (10, 20, 29, 39)),
        ((-10, -20, 30, 40), (0, 0, 29, 39)),  # officially the size is not cut at the left and upper edge
        ((90, 70, 30, 40), (90, 70, 9, 9)),
        ((0, 0, 100, 80), (0, 0, 99, 79)),
        ((10, 20, 0.5, 40), (10, 20, 0, 39)),
        ((99, 20, 5, 40), (99, 20, 0, 39)),
        ((100, 20, 5, 40), None),
        ((10, 80, 5, 40), None),
        ((10, 20, 0, 0), None),
        ((10, 20, -5, 0.5), None),
    ],
)
def test_boxes_are_clipped_as_hrnet_clips_them(bbox: Any, clipped: Any) -> None:
    assert clipped_box(bbox, 100, 80) == clipped


def coco_file(folder: Path, changes: dict[int, dict[str, Any]] | None = None, people: int = 3) -> PoseDataset:
    """Images with the ids 0, 1, ...; on each one person of that id, as changed."""
    keypoints = [float(value) for joint in range(17) for value in (10 + joint, 20 + joint, 2)]
    entries = [
        {"id": i, "image_id": i, "category_id": 1, "keypoints": keypoints, "bbox": [5, 6, 30, 20], "iscrowd": 0,
         "area": 400, "num_keypoints": 17, **(changes or {}).get(i, {})}
        for i in range(people)
    ]  # fmt: skip
    raw = {
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.joints)}, {"id": 2, "name": "cat"}],
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 48} for i in range(people)],
        "annotations": entries,
    }
    path = folder / "people.json"
    path.write_text(json.dumps(raw))
    return PoseDataset(path, folder, COCO)


@pytest.mark.parametrize(
    "change",
    [
        {"iscrowd": 1},
        {"keypoints": [0] * 51, "num_keypoints": 0},
        {"area": 0},
        {"bbox": [70, 6, 30, 20]},
        {"bbox": [5, 6, 0, 0]},
        {"category_id": 2},
    ],
)
def test_who_cannot_be_shown_is_left_out(tmp_path: Path, change: dict[str, Any]) -> None:
    dataset = annotated_people(coco_file(tmp_path, {1: change}))
    assert [(person.image_id, person.annotation_id) for person in dataset] == [(0, 0), (2, 2)]
    assert dataset.image_ids == (0, 1, 2) and len(dataset.ground_truth()["images"]) == 3
    person = dataset[0]
    assert person.bbox == (5, 6, 29, 19) and person.score == 1 and person.area == 400
    assert person.path == tmp_path / "0.jpg" and (person.keypoints_K3[3] == (13, 23, 2)).all()


def test_a_file_in_which_nobody_is_left_is_refused(tmp_path: Path) -> None:
    dataset = coco_file(tmp_path, dict.fromkeys(range(3), {"keypoints": [0] * 51, "num_keypoints": 0}))
    with pytest.raises(UserError, match="annotations of 3 images have no person with a box and a labelled joint"):
        annotated_people(dataset)


@pytest.mark.real_images
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_real_people_are_those_of_the_official_loader(split: str) -> None:
    file = IMAGES / "coco" / "annotations" / f"person_keypoints_{split}.json"
    raw = json.loads(file.read_text())
    expected = []
    for image in raw["images"]:
        for entry in raw["annotations"]:
            if entry["image_id"] != image["id"] or entry["iscrowd"] or max(entry["keypoints"]) == 0:
                continue
            x, y, w, h = entry["bbox"]
            x1, y1 = max(0, x), max(0, y)
            x2, y2 = min(image["width"] - 1, x1 + max(0, w - 1)), min(image["height"] - 1, y1 + max(0, h - 1))
            if entry["area"] > 0 and x2 >= x1 and y2 >= y1:
                expected.append((image["id"], entry["id"], (x1, y1, x2 - x1, y2 - y1)))
    dataset = annotated_people(PoseDataset(file, IMAGES / "coco" / split, COCO))
    assert [(person.image_id, person.annotation_id, person.bbox) for person in dataset] == expected
    assert len(expected) == {"train2017": 57, "val2017": 46}[split] and len(dataset.image_ids) == 50


@pytest.mark.real_images
def test_a_person_of_whom_only_the_head_is_labelled_is_shown() -> None:
    """CrowdPose's num_keypoints does not count head and neck; its loaders look at the joints."""
    folder = IMAGES / "crowdpose"
    dataset = PoseDataset(folder / "json" / "crowdpose_test.json", folder / "images", CROWDPOSE)
    people = annotated_people(dataset)
    labelled = [person for image in dataset for person in image.people if person.keypoints_K3.any()]
    assert len(people) == len(labelled) == 4 and people.skeleton is CROWDPOSE
    assert people[0].area == pytest.approx(labelled[0].bbox[2] * labelled[0].bbox[3] * 0.53)


# ------------------------------------------------------------------------------------------------------- detected boxes


def detections(folder: Path, *entries: Any) -> Path:
    path = folder / "boxes.json"
    path.write_text(json.dumps(list(entries)))
    return path


def box(**changes: Any) -> dict[str, Any]:
    return {"image_id": 0, "category_id": 1, "bbox": [-3.5, 2, 100, 20], "score": 0.5, **changes}


@pytest.mark.real_images
@pytest.mark.parametrize(("lowest", "number"), [(0.0, 118), (0.5, 18), (0.9, 14)])
def test_real_detections(lowest: float, number: int) -> None:
    folder = IMAGES / "coco-detections"
    dataset = PoseDataset(folder / "annotations" / "person_keypoints_val2017.json", folder / "val2017", COCO)
    file = folder / "person_detection_results" / "COCO_val2017_detections_AP_H_56_person.json"
    people = detected_people(dataset, file, lowest)
    expected = [
        (i, e["image_id"], e["score"]) for i, e in enumerate(json.loads(file.read_text())) if e["score"] >= lowest
    ]
    assert [(person.annotation_id, person.image_id, person.score) for person in people] == expected
    assert len(people) == number and not any(person.keypoints_K3.any() for person in people)
    assert all(read_image(person.path).ndim == 3 for person in people[:3])


def test_detected_boxes_are_kept_as_they_are(tmp_path: Path) -> None:
    file = detections(
        tmp_path,
        box(),
        box(score=0.19),
        box(category_id=2),
        box(image_id=77),
        box(image_id=77, bbox=[0, 0, 0, 0]),
        box(image_id=2, score=0.2),
    )
    people = detected_people(coco_file(tmp_path), file, 0.2)
    assert [(person.image_id, person.annotation_id, person.score) for person in people] == [(0, 0, 0.5), (2, 5, 0.2)]
    assert people[0].bbox == (-3.5, 2, 100, 20) and people[0].area == 2000
    assert people.image_ids == (0, 1, 2)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "no list of boxes"),
        ([7], "entry 0 has no 'image_id'"),
        ([box(), {"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]}], "entry 1 has no 'score'"),
        ([box(), box(bbox=[1, 2, 3])], r"entry 1 \(image 0\) needs an integer image_id, 4 finite numbers"),
        ([box(bbox=[1, 2, 3, float("nan")])], r"entry 0 \(image 0\) needs an integer image_id, 4 finite numbers"),
        ([box(score=None)], r"entry 0 \(image 0\) needs an integer image_id"),
        ([box(bbox=[1, 2, 3, 10**400])], r"entry 0 \(image 0\) needs an integer image_id, 4 finite numbers"),
        ([box(image_id="0")], r"entry 0 \(image '0'\) needs an integer image_id"),
        ([box(), box(bbox=[1, 2, 0, 0])], r"entry 1 \(image 0\) is a box of 0 x 0 pixels, which has no inside"),
        ([box(image_id=9), box(image_id=8)], "entry 0 is for image 9, and no entry is for any of the 3 images"),
        (
            [box(score=0.1)],
            "no box of category 1 on these images has a score of at least 0.2: set TEST.IMAGE_THRE",
        ),
    ],
)
def test_detections_that_cannot_be_used_are_refused(tmp_path: Path, entries: list[Any], message: str) -> None:
    file = detections(tmp_path, *entries)
    with pytest.raises(UserError, match=rf"^{re.escape(str(file))}: {message}"):
        detected_people(coco_file(tmp_path), file, 0.2)


# ---------------------------------------------------------------------------------------------------------------- parts


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("crowd") / "made"
    make_synthetic(root, train=12, val=1, width=96, height=96)
    return root


def coco_crowd(root: Path) -> PoseDataset:
    folder = root / "coco"
    return PoseDataset(
        folder / "annotations" / "person_keypoints_train2017.json", folder / "images" / "train2017", COCO
    )


def test_parts_are_disjoint_by_image_and_those_of_the_images(crowd: Path) -> None:
    dataset = coco_crowd(crowd)
    people = annotated_people(dataset)
    parts = people.split({"search": 4, "train": 0.5}, seed=3)
    for name, part in dataset.split({"search": 4, "train": 0.5}, seed=3).items():
        assert parts[name].image_ids == part.image_ids
        expected = [person.annotation_id for person in people if person.image_id in part.image_ids]
        assert [person.annotation_id for person in parts[name]] == expected and expected
        assert parts[name].ground_truth() == part.ground_truth()
    assert parts["train"].image_ids != people.split({"search": 4, "train": 0.5}, seed=4)["train"].image_ids
    with pytest.raises(UserError, match=r"part 'search' \(13\) would be images 0 to 13 of 12"):
        people.split({"search": 13}, seed=0)
    with pytest.raises(UserError, match=r"part 'b' \(0\) would be images 6 to 6 of 12"):
        people.split({"a": 0.5, "b": 0}, seed=0)


def test_parts_of_mpii_never_share_an_image(crowd: Path) -> None:
    people = mpii_people(crowd / "mpii" / "annot" / "train.json", crowd / "mpii" / "images")
    parts = people.split({"a": 0.5, "b": 0.5}, seed=0)
    a, b = ({person.path for person in parts[name]} for name in "ab")
    assert a and b and not a & b and len(parts["a"]) + len(parts["b"]) == len(people)


def test_a_part_by_position_has_its_images(crowd: Path) -> None:
    people = annotated_people(coco_crowd(crowd))
    part = people[2:5]
    assert list(part) == [people[i] for i in (2, 3, 4)]
    assert part.image_ids == tuple(dict.fromkeys(people[i].image_id for i in (2, 3, 4)))
    assert [image["id"] for image in part.ground_truth()["images"]] == list(part.image_ids)
    assert people[-1] is people[len(people) - 1]


def test_a_part_by_image_has_everybody_on_them_in_order(crowd: Path) -> None:
    people = annotated_people(coco_crowd(crowd))
    last, first = people.image_ids[5], people.image_ids[1]
    part = people.subset([last, first])
    assert list(part) == [person for person in people if person.image_id in (last, first)]
    assert part.image_ids == (last, first)
    with pytest.raises(UserError, match=r"no image 999 \(1 such ids\): choose among its images"):
        people.subset([first, 999])


def test_images_hold_the_annotated_people(crowd: Path) -> None:
    dataset = coco_crowd(crowd)
    images = list(dataset.images())
    assert [image.id for image in images] == list(dataset.image_ids)
    people = annotated_people(dataset)
    shown = list(people.images())
    assert [image.id for image in shown] == list(dict.fromkeys(person.image_id for person in people))
    for image in shown:
        expected = [person.keypoints_K3 for person in people if person.image_id == image.id]
        np.testing.assert_array_equal(image.keypoints_PK3, expected)
        (whole,) = [other for other in images if other.id == image.id]
        assert whole.path == image.path and len(whole.keypoints_PK3) >= len(image.keypoints_PK3)


def test_the_people_themselves_score_one(crowd: Path) -> None:
    people = annotated_people(coco_crowd(crowd)).annotated()
    results = [
        {"image_id": person.image_id, "keypoints": person.keypoints_K3.ravel().tolist(), "score": person.score}
        for person in people
    ]
    assert OksEvaluator(people.ground_truth(), people.skeleton).evaluate(results)["AP"] == 1
