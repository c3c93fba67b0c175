"""The people on the images of a COCO-format file, one by one: in their annotated boxes, or in those of a detector.

Source: the loaders of HRNet (Sun et al., CVPR 2019), whose rules decide who is left out. Coordinates are x before y in
pixels of the image, 0-based.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from supernet.errors import UserError
from supernet.io.files import read_json
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.people import PeopleDataset, PersonInstance
from supernet.pose.geometry import Box

_LARGEST_FILE = 4 * 2**30  # bytes; detections on COCO's test-dev2017 are 0.1 GiB


def annotated_people(dataset: PoseDataset) -> PeopleDataset:
    """Everybody annotated in a COCO-format file, in his own box.

    As in HRNet's loader, these are left out: crowds, people of whom no joint is labelled, of no area, or whose box
    lies outside of the image; and (where that loader crops nothing) a box of a single pixel.

    Raises:
        UserError: Nobody is left.
    """
    people = []
    entries = iter(dataset.ground_truth()["annotations"])
    for image in dataset:
        for person, entry in zip(image.people, entries, strict=False):  # people first: it ends with the image
            bbox = clipped_box(person.bbox, image.width, image.height)
            if person.iscrowd or bbox is None or person.area <= 0 or person.keypoints_K3.max() <= 0:
                continue
            joints_K3 = person.keypoints_K3
            people.append(
                PersonInstance(image.path, image.id, entry["id"], bbox, None, None, joints_K3, 1.0, person.area)
            )
    if not people:
        raise UserError(
            f"{dataset.source}: the annotations of {len(dataset)} images have no person with a box and a labelled "
            "joint: give a file of people with keypoints, or boxes of a detector"
        )
    return PeopleDataset(people, dataset.skeleton, dataset.image_ids, dataset.source, dataset)


def detected_people(dataset: PoseDataset, file: Path, lowest_score: float) -> PeopleDataset:
    """The boxes of a detector: a JSON list of ``{image_id, category_id, bbox, score}``.

    As in HRNet's loader, boxes of other categories and of lower scores are left out, and boxes are not clipped.
    Boxes on images that the dataset does not have are left out too.

    Args:
        dataset: The images.
        file: The detector's.
        lowest_score: Of a box that is kept (TEST.IMAGE_THRE).

    Raises:
        UserError: The file is missing or no such list, an entry cannot be used, or no box is left.
    """
    raw = read_json(file, max_bytes=_LARGEST_FILE)
    if not isinstance(raw, list) or not raw:
        raise UserError(f"{file}: no list of boxes: give a detector's file (image_id, category_id, bbox, score)")
    paths = {image.id: image.path for image in dataset}
    nowhere_K3 = np.zeros((dataset.skeleton.num_joints, 3), np.float32)
    nowhere_K3.flags.writeable = False
    people, known = [], False
    for number, entry in enumerate(raw):
        bbox, score = _detection(entry, f"{file}: entry {number}")
        path = paths.get(entry["image_id"])
        if path is None:
            continue
        known = True
        if entry["category_id"] != dataset.category_id or score < lowest_score:
            continue
        if not (bbox[2] > 0 or bbox[3] > 0):
            raise UserError(
                f"{file}: entry {number} (image {entry['image_id']}) is a box of {bbox[2]:g} x {bbox[3]:g} pixels, "
                "which has no inside: remove it"
            )
        area = bbox[2] * bbox[3]
        id = entry["image_id"]
        people.append(PersonInstance(path, id, number, bbox, None, None, nowhere_K3, score, area, detected=True))
    if not known:
        raise UserError(
            f"{file}: entry 0 is for image {raw[0]['image_id']}, and no entry is for any of the {len(dataset)} "
            "images to be evaluated: give the detections of these images"
        )
    if not people:
        raise UserError(
            f"{file}: no box of category {dataset.category_id} on these images has a score of at least "
            f"{lowest_score:g}: set TEST.IMAGE_THRE lower"
        )
    return PeopleDataset(people, dataset.skeleton, dataset.image_ids, file, dataset)


def clipped_box(bbox: Box, width: int, height: int) -> Box | None:
    """An annotated box as HRNet clips it to an image; None where nothing of it is left.

    The far edges are those of the last pixel inside, x + width - 1, so width and height lose one pixel.
    """
    left, top = max(0.0, bbox[0]), max(0.0, bbox[1])
    right = min(width - 1, left + max(0.0, bbox[2] - 1))
    bottom = min(height - 1, top + max(0.0, bbox[3] - 1))
    if not (right >= left and bottom >= top) or (right == left and bottom == top):
        return None
    return left, top, right - left, bottom - top


def _detection(entry: Any, where: str) -> tuple[Box, float]:
    """The numbers of an entry of a detector's file, checked."""
    for key in ("image_id", "category_id", "bbox", "score"):
        if not isinstance(entry, dict) or key not in entry:
            raise UserError(f"{where} has no '{key}': give a detector's file (image_id, category_id, bbox, score)")
    try:
        x, y, width, height, score = map(float, (*entry["bbox"], entry["score"]))
        usable = isinstance(entry["image_id"], int) and math.isfinite(x + y + width + height + score)
    except (TypeError, ValueError, OverflowError):
        usable = False
    if not usable:
        raise UserError(
            f"{where} (image {entry['image_id']!r}) needs an integer image_id, 4 finite numbers in 'bbox' and a finite "
            "'score': correct or remove it"
        )
    return (x, y, width, height), score
