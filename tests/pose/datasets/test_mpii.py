"""MPII's annotation files: the official rule of centre and scale, and how files that cannot be used are refused."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from supernet.errors import UserError
from supernet.pose.datasets.images import read_image
from supernet.pose.datasets.people import PeopleDataset
from supernet.pose.keypoints import MPII
from tests.paths import IMAGES


def entry(**changes: Any) -> dict[str, Any]:
    joints = [[11.0 + joint, 21.0] for joint in range(16)]
    return {
        "image": "a.jpg",
        "center": [51, 61],
        "scale": 2.0,
        "joints": joints,
        "joints_vis": [1] * 15 + [0],
        **changes,
    }


def mpii_file(folder: Path, *entries: Any) -> Path:
    path = folder / "mpii.json"
    path.write_text(json.dumps(list(entries)))
    return path


def test_mpii_is_read_by_the_official_rule(tmp_path: Path) -> None:
    unplaced = entry(center=[-1, -1], scale=-1)
    untold = {key: value for key, value in entry(image="b.jpg").items() if not key.startswith("joints")}
    people = PeopleDataset.from_mpii(mpii_file(tmp_path, entry(), untold, entry(), unplaced), tmp_path)
    person = people[0]
    assert person.center is not None and person.scale is not None and person.bbox is None
    assert person.center.tolist() == [50, 60 + 15 * 2] and person.scale.tolist() == [2.5, 2.5]
    assert person.keypoints_K3[4].tolist() == [14, 20, 1] and person.keypoints_K3[15, 2] == 0
    assert people.skeleton is MPII and person.area == 500**2
    assert [person.image_id for person in people] == [0, 1, 0, 0]
    assert [person.annotation_id for person in people] == [0, 1, 2, 3]
    assert people[1].path == tmp_path / "b.jpg" and not people[1].keypoints_K3.any()
    assert people[3].center is not None and people[3].center.tolist() == [-2, -2]
    assert len(people.annotated()) == 3
    with pytest.raises(UserError, match=r"mpii\.json has no COCO-format annotations: evaluate MPII by PCKh"):
        people.ground_truth()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "no list of people"),
        ([entry(), {"center": [1, 2]}], "entry 1 has no 'image'"),
        ([entry(center=[1])], r"entry 0 \('a\.jpg'\) has no usable 'center', which is 2 numbers"),
        ([entry(scale=None)], r"entry 0 \('a\.jpg'\) has no usable 'scale', which is 1 numbers"),
        ([entry(scale=0)], r"entry 0 \('a\.jpg'\) has scale 0: correct"),
        ([entry(joints=[[1, 2]] * 17)], r"entry 0 \('a\.jpg'\) has no usable 'joints', which is 16 x 2 numbers"),
        ([entry(joints_vis=None)], r"entry 0 \('a\.jpg'\) has no usable 'joints_vis'"),
        ([entry(center=[10**400, 2])], r"entry 0 \('a\.jpg'\) has no usable 'center'"),
        ([entry(center=[float("nan"), 2])], r"entry 0 \('a\.jpg'\) has no usable 'center'"),
    ],
)
def test_mpii_files_that_cannot_be_used_are_refused(tmp_path: Path, entries: list[Any], message: str) -> None:
    file = mpii_file(tmp_path, *entries)
    with pytest.raises(UserError, match=rf"^{re.escape(str(file))}: {message}"):
        PeopleDataset.from_mpii(file, tmp_path)


def test_a_coco_file_is_not_mpiis(tmp_path: Path) -> None:
    (tmp_path / "people.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(UserError, match=r"people\.json: no list of people: give MPII's annot"):
        PeopleDataset.from_mpii(tmp_path / "people.json", tmp_path)
    with pytest.raises(UserError, match="MPII's image folder .*nowhere does not exist: set DATASET.ROOT"):
        PeopleDataset.from_mpii(mpii_file(tmp_path, entry()), tmp_path / "nowhere")


def test_mpii_images_may_lie_in_an_archive(tmp_path: Path) -> None:
    image = np.full((4, 6, 3), 80, np.uint8)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a.jpg", cv2.imencode(".jpg", image)[1].tobytes())
    people = PeopleDataset.from_mpii(mpii_file(tmp_path, entry()), tmp_path / "images")
    assert (read_image(people[0].path) == image).all()


@pytest.mark.real_images
def test_real_mpii() -> None:
    people = PeopleDataset.from_mpii(IMAGES / "mpii" / "annot" / "valid.json", IMAGES / "mpii" / "images")
    assert len(people) == len(people.annotated()) == 5
    for person in people:
        height, width = read_image(person.path).shape[:2]
        shown = person.keypoints_K3[person.keypoints_K3[:, 2] > 0, :2]
        assert (shown >= 0).all() and (shown < (width, height)).all()
        assert person.center is not None and person.scale is not None
        assert (abs(shown - person.center) < 100 * person.scale).all()  # inside of the crop
