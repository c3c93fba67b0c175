"""Reading COCO-format annotations and images: real files, exact content, and one-line errors."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from supernet.errors import UserError
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.images import read_image
from supernet.pose.keypoints import COCO, CROWDPOSE
from supernet.pose.metrics.oks import OksEvaluator
from tests.paths import IMAGES

COCO_FOLDER = IMAGES / "coco"
CROWDPOSE_FOLDER = IMAGES / "crowdpose"


def coco_val() -> PoseDataset:
    return PoseDataset(COCO_FOLDER / "annotations" / "person_keypoints_val2017.json", COCO_FOLDER / "val2017", COCO)


def raw_file(num_joints: int = 17, images: int = 10) -> dict[str, Any]:
    keypoints = [float(value) for joint in range(num_joints) for value in (joint, 2 * joint, 2)]
    return {
        "categories": [{"id": 1, "name": "person", "keypoints": [f"joint{i}" for i in range(num_joints)]}],
        "images": [{"id": 7 * i, "file_name": f"{i}.jpg", "width": 64, "height": 48} for i in range(images)],
        "annotations": [
            {"id": i, "image_id": 7 * i, "category_id": 1, "keypoints": keypoints, "bbox": [1, 2, 30, 20], "iscrowd": 0}
            for i in range(images)
        ],
    }  # fmt: skip


def write(folder: Path, raw: object, name: str = "file.json") -> Path:
    path = folder / name
    path.write_text(raw if isinstance(raw, str) else json.dumps(raw))
    return path


@pytest.mark.real_images
def test_real_coco_is_read_as_the_file_has_it() -> None:
    dataset = coco_val()
    raw = json.loads((COCO_FOLDER / "annotations" / "person_keypoints_val2017.json").read_text())
    assert len(dataset) == 50 and list(dataset.image_ids) == [image["id"] for image in raw["images"]]
    entries = {entry["id"]: entry for entry in raw["annotations"]}
    assert sum(len(image.people) for image in dataset) == len(entries) == 127
    assert sum(person.iscrowd for image in dataset for person in image.people) == 4
    assert sum(person.ignored for image in dataset for person in image.people) == 81
    image = next(image for image in dataset if image.id == 397133)
    person = next(person for person in image.people if person.area == entries[200887]["area"])
    assert person.keypoints_K3.dtype == np.float32
    np.testing.assert_array_equal(person.keypoints_K3.ravel(), entries[200887]["keypoints"])
    assert person.bbox == (388.66, 69.92, 109.41, 277.62) and person.num_keypoints == 13
    assert person.segmentation == entries[200887]["segmentation"]


@pytest.mark.real_images
def test_every_image_has_the_size_that_the_file_says() -> None:
    for image in coco_val():
        pixels = read_image(image.path)
        assert pixels.dtype == np.uint8 and pixels.shape == (image.height, image.width, 3)
    np.testing.assert_array_equal(pixels[..., ::-1], cv2.imread(str(image.path), cv2.IMREAD_COLOR))


@pytest.mark.real_images
def test_crowdpose_without_area_and_segmentation() -> None:
    dataset = PoseDataset(CROWDPOSE_FOLDER / "json" / "crowdpose_trainval.json", CROWDPOSE_FOLDER / "images", CROWDPOSE)
    assert len(dataset) == 2
    people = [person for image in dataset for person in image.people]
    assert len(people) == 5 and sum(person.ignored for person in people) == 1
    assert all(person.segmentation is None and person.keypoints_K3.shape == (14, 3) for person in people)
    person = max(people, key=lambda person: person.area)
    assert person.area == pytest.approx(0.53 * person.bbox[2] * person.bbox[3])


@pytest.mark.real_images
def test_ground_truth_feeds_the_official_evaluator() -> None:
    dataset = coco_val().annotated()
    assert 0 < len(dataset) < 50
    part = dataset[:4]
    truth = part.ground_truth()
    assert {image["id"] for image in truth["images"]} == set(part.image_ids)
    assert {entry["image_id"] for entry in truth["annotations"]} == set(part.image_ids)
    assert truth["categories"] == dataset.ground_truth()["categories"]
    results = [
        {"image_id": e["image_id"], "category_id": 1, "keypoints": e["keypoints"], "score": 1.0}
        for e in dataset.ground_truth()["annotations"] if e["num_keypoints"] and not e["iscrowd"]
    ]  # fmt: skip
    assert OksEvaluator(dataset.ground_truth(), COCO).evaluate(results)["AP"] == pytest.approx(1.0)


def test_split_is_disjoint_complete_and_independent_of_the_order_of_the_file(tmp_path: Path) -> None:
    raw = raw_file(images=20)
    first = PoseDataset(write(tmp_path, raw), tmp_path, COCO)
    backwards = {**raw, "images": raw["images"][::-1], "annotations": raw["annotations"][::-1]}
    second = PoseDataset(write(tmp_path, backwards, "backwards.json"), tmp_path, COCO)
    assert first.image_ids != second.image_ids
    shares = {"train": 0.7, "val": 0.2, "calibration": 0.1}
    parts, again = first.split(shares, seed=3), second.split(shares, seed=3)
    assert {name: len(part) for name, part in parts.items()} == {"train": 14, "val": 4, "calibration": 2}
    assert sorted(id for part in parts.values() for id in part.image_ids) == list(first.image_ids)
    assert {name: part.image_ids for name, part in parts.items()} == {
        name: part.image_ids for name, part in again.items()
    }
    assert first.split(shares, seed=4)["train"].image_ids != parts["train"].image_ids
    assert [len(part) for part in first.split({"a": 3, "b": 0.25}, seed=0).values()] == [3, 5]
    assert [person.num_keypoints for person in parts["val"][0].people] == [17]


@pytest.mark.parametrize("parts", [{"a": 21}, {"a": 0.8, "b": 0.3}, {"a": 0}, {"a": -1}, {"a": float("nan")}])
def test_split_refuses_sizes_that_do_not_fit(parts: dict[str, float], tmp_path: Path) -> None:
    dataset = PoseDataset(write(tmp_path, raw_file(images=20)), tmp_path, COCO)
    with pytest.raises(UserError, match=r"part '[ab]'.*of 20"):
        dataset.split(parts, seed=0)


def test_subset_keeps_the_order_given_and_refuses_strangers(tmp_path: Path) -> None:
    dataset = PoseDataset(write(tmp_path, raw_file()), tmp_path, COCO)
    assert [image.id for image in dataset.subset([14, 0])] == [14, 0]
    assert dataset.subset([14, 0])[0].path == tmp_path / "2.jpg"
    with pytest.raises(UserError, match="no image 1 "):
        dataset.subset([0, 1])


def without(kind: str, key: str) -> dict[str, Any]:
    raw = raw_file()
    del raw[kind][3][key]
    return raw


def changed(kind: str, key: str, value: object) -> dict[str, Any]:
    raw = raw_file()
    raw[kind][3][key] = value
    return raw


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("{not json", r"file\.json:1:2: not JSON"),
        ([], "no 'images' and 'annotations'"),
        ({"images": []}, "no 'images' and 'annotations'"),
        ({**raw_file(), "images": []}, "list 'images' is empty"),
        ({**raw_file(), "annotations": []}, "list 'annotations' is empty"),
        ({**raw_file(), "categories": [{"id": 1, "name": "dog"}]}, "no category has 'keypoints'"),
        (raw_file(num_joints=14), "'person' has 14 keypoints, but skeleton 'coco' has 17"),
        (changed("annotations", "image_id", 999), "annotation 3 refers to image 999"),
        (changed("annotations", "keypoints", [1, 2, 3]), "annotation 3 has 3 keypoint numbers"),
        (changed("images", "id", 0), "two images have the id 0"),
        (changed("images", "file_name", "../3.jpg"), r"image 21: image name '\.\./3\.jpg' leads out of"),
        (changed("images", "file_name", 3), "image 21 has 3 as its 'file_name': give text there"),
        (changed("images", "width", "64"), "image 21 has '64' as its 'width': give a number there"),
        (changed("annotations", "id", 0), "two annotations have the id 0: remove one"),
        (changed("annotations", "bbox", None), "annotation 3 has None as its 'bbox': give a list of numbers there"),
        (
            changed("annotations", "bbox", [1, 2, 30, "x"]),
            "annotation 3 has a keypoint, box or area that is not a finite",
        ),
        (
            changed("annotations", "bbox", [1, 2, 30, float("nan")]),
            "annotation 3 has a keypoint, box or area that is not",
        ),
        (without("annotations", "bbox"), "annotation 3 has no 'bbox'"),
        (without("images", "width"), "image 21 has no 'width'"),
    ],
)
def test_bad_files_are_refused_in_one_line(raw: object, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, raw)
    with pytest.raises(UserError, match=message) as error:
        PoseDataset(path, tmp_path, COCO)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_missing_places_are_named(tmp_path: Path) -> None:
    missing = re.escape(str(tmp_path / "no"))
    with pytest.raises(UserError, match=f"dataset folder {missing} does not exist: set DATASET.ROOT"):
        PoseDataset(write(tmp_path, raw_file()), tmp_path / "no", COCO)
    with pytest.raises(UserError, match=r"annotation file .*no\.json does not exist: set DATASET.ROOT"):
        PoseDataset(tmp_path / "no.json", tmp_path, COCO)


@pytest.mark.real_images
def test_an_archive_gives_the_same_images_as_the_folder(tmp_path: Path) -> None:
    folder = coco_val()[:3]
    with zipfile.ZipFile(tmp_path / "val2017.zip", "w") as archive:
        for image in folder:
            archive.write(image.path, f"val2017/{image.path.name}")
    file = COCO_FOLDER / "annotations" / "person_keypoints_val2017.json"
    for place in ("val2017", "val2017.zip", "val2017.zip@"):
        zipped = PoseDataset(file, tmp_path / place, COCO)[:3]
        for image, same in zip(folder, zipped, strict=True):
            assert same.path == tmp_path / "val2017.zip@" / image.path.name
            np.testing.assert_array_equal(read_image(same.path), read_image(image.path))


def test_ids_from_0_other_categories_and_images_without_people(tmp_path: Path) -> None:
    raw = raw_file()
    raw["categories"] = [{"id": 0, "name": "dog"}, {**raw["categories"][0], "id": 4}]
    for number, entry in enumerate(raw["annotations"]):
        entry.update(category_id=4, area=400.0, num_keypoints=17, id=number)
    del raw["annotations"][5]
    raw["annotations"].append({"id": 99, "image_id": 7, "category_id": 0, "bbox": [0, 0, 5, 5]})  # a dog without joints
    dataset = PoseDataset(write(tmp_path, raw), tmp_path, COCO)
    assert dataset.category_id == 4 and dataset.has_annotations
    assert [len(image.people) for image in dataset] == [1, 1, 1, 1, 1, 0, 1, 1, 1, 1]
    assert len(dataset.annotated()) == 9
    results = [
        {
            "image_id": entry["image_id"],
            "category_id": dataset.category_id,
            "keypoints": entry["keypoints"],
            "score": 1.0,
        }
        for entry in raw["annotations"][:-1]
    ]
    assert OksEvaluator(dataset.ground_truth(), COCO).evaluate(results)["AP"] == pytest.approx(1.0)


def test_a_file_without_annotations_can_be_predicted_on_only(tmp_path: Path) -> None:
    raw = {"images": raw_file()["images"], "categories": [{"id": 1, "name": "person"}], "info": {}}
    dataset = PoseDataset(write(tmp_path, raw, "image_info_test-dev2017.json"), tmp_path, COCO)
    assert not dataset.has_annotations and dataset.category_id == 1
    assert len(dataset) == 10 and dataset[3].people == () and dataset[3].path == tmp_path / "3.jpg"
    for refused in (dataset.annotated, dataset.ground_truth, dataset[:2].ground_truth):
        with pytest.raises(UserError, match=r"image_info_test-dev2017\.json has no 'annotations'"):
            refused()


def test_the_file_of_another_data_set_is_refused_in_one_line(tmp_path: Path) -> None:
    people = [{"image": "a.jpg", "center": [1, 2], "scale": 1.0, "joints": [[0, 0]] * 16, "joints_vis": [1] * 16}]
    boxes = [{"image_id": 0, "category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.5}]
    for name, content in (("mpii.json", people), ("detections.json", boxes)):
        with pytest.raises(UserError, match=rf"{name}: no 'images' and 'annotations': give a COCO-format"):
            PoseDataset(write(tmp_path, content, name), tmp_path, COCO)
    savemat(tmp_path / "gt_valid.mat", {"jnt_missing": np.zeros((16, 1))}, do_compression=True)
    with pytest.raises(UserError, match=r"gt_valid\.mat: not text in UTF-8"):
        PoseDataset(tmp_path / "gt_valid.mat", tmp_path, COCO)


def test_content_made_from_another_format_is_read_like_a_file(tmp_path: Path) -> None:
    """A reader of another format hands over what a COCO-format file would say; messages name its own file."""
    raw, source = raw_file(images=3), tmp_path / "joints.mat"
    of_file, made = PoseDataset(write(tmp_path, raw), tmp_path, COCO), PoseDataset(source, tmp_path, COCO, raw)
    assert made.source == source and made.image_ids == of_file.image_ids
    assert made.ground_truth() == of_file.ground_truth()
    with pytest.raises(UserError, match=r"joints.mat: its list 'images' is empty"):
        PoseDataset(source, tmp_path, COCO, raw | {"images": []})
