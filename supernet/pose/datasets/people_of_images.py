"""The people on the images of a COCO-format file, one by one: in their annotated boxes, or in those of a detector.

Source: the loaders of HRNet (Sun et al., CVPR 2019), whose rules decide who is left out. Coordinates are x before y in
pixels of the image, 0-based.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from supernet.errors import UserError
from supernet.io.files import read_json
from supernet.pose.datasets.coco_checks import checked, with_whole_numbers
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.people import PeopleDataset, PersonInstance
from supernet.pose.datasets.plausibility import box_faults, listed
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
    left_out: Counter[str] = Counter()
    entries = iter(dataset.ground_truth()["annotations"])
    for image in dataset:
        for person, entry in zip(image.people, entries, strict=False):  # people first: it ends with the image
            bbox = clipped_box(person.bbox, image.width, image.height)
            joints_K3 = person.keypoints_K3
            if person.iscrowd:
                left_out["crowds"] += 1
            elif joints_K3.max() <= 0:
                left_out["without a labelled joint"] += 1
            elif bbox is None:
                left_out["with an empty box, or one outside of the image"] += 1
            elif person.area <= 0:
                left_out["of area 0"] += 1
            else:
                people.append(
                    PersonInstance(
                        image.path, image.id, entry["id"], bbox, None, None, joints_K3, 1.0, person.area, image.size_wh
                    )
                )
    reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
    if not people:
        raise UserError(
            f"{dataset.source}: the annotations of {len(dataset)} images have no person with a box and a labelled "
            f"joint ({reasons or 'nobody is annotated'}): give a file of people with keypoints, or boxes of a detector"
        )
    notes = (f"{left_out.total()} of {left_out.total() + len(people)} annotations have no crop: {reasons}",)
    return PeopleDataset(
        people, dataset.skeleton, dataset.image_ids, dataset.source, dataset, notes if left_out else ()
    )


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
    places = {image.id: image for image in dataset}
    nowhere_K3 = np.zeros((dataset.skeleton.num_joints, 3), np.float32)
    nowhere_K3.flags.writeable = False
    entries = checked(enumerate(raw), lambda numbered: _detection(numbered[0], numbered[1], file), "entries")
    known = [entry for entry in entries if entry.image_id in places]
    if not known:
        raise UserError(
            f"{file}: entry 0 is for image {raw[0]['image_id']}, and no entry is for any of the {len(dataset)} "
            "images to be evaluated: give the detections of these images"
        )
    fitting = [entry for entry in known if entry.category in dataset.category_ids]
    kept = [entry for entry in fitting if entry.score >= lowest_score]
    _check_left(kept, fitting, known, dataset, file, lowest_score)
    checked(kept, lambda entry: _check_inside(entry, file), "boxes")
    people = []
    for entry in kept:
        image, bbox = places[entry.image_id], entry.bbox
        area = bbox[2] * bbox[3]
        people.append(
            PersonInstance(
                image.path,
                image.id,
                entry.number,
                bbox,
                None,
                None,
                nowhere_K3,
                entry.score,
                area,
                image.size_wh,
                detected=True,
            )
        )
    bare = len(places) - len({entry.image_id for entry in kept})
    notes = [f"{len(raw) - len(known)} of {len(raw)} boxes are on other images and are passed over"] * (
        len(known) < len(raw)
    )
    notes += [f"{len(known) - len(fitting)} of {len(known)} boxes are of other categories and are passed over"] * (
        len(fitting) < len(known)
    )
    notes += [f"{bare} of {len(places)} images have no box: nobody is found on them"] * (bare > 0)
    lines = tuple(f"{file.name}: {note}" for note in notes)
    return PeopleDataset(people, dataset.skeleton, dataset.image_ids, file, dataset, lines)


@dataclass(frozen=True)
class _Detection:
    """An entry of a detector's file."""

    number: int
    image_id: int
    category: Any
    bbox: Box
    score: float


def _check_left(
    kept: Sequence[_Detection],
    fitting: Sequence[_Detection],
    known: Sequence[_Detection],
    dataset: PoseDataset,
    file: Path,
    lowest_score: float,
) -> None:
    """Refuse boxes of which none is left, by the reason that it has; and boxes that are no x, y, width, height."""
    wanted = " or ".join(map(str, sorted(dataset.category_ids)))
    if not fitting:
        found = listed(sorted({entry.category for entry in known}, key=str))
        raise UserError(
            f"{file}: none of the {len(known)} boxes on these images is of category {wanted}, which people have in "
            f"{dataset.source.name}; the boxes are of category {found}: write {dataset.category_id} as 'category_id' of "
            "people"
        )
    if not kept:
        highest = max(entry.score for entry in fitting)
        raise UserError(
            f"{file}: no box of category {wanted} on these images has a score of at least "
            f"{lowest_score:g}: set TEST.IMAGE_THRE to at most {highest:g}, the highest of {len(fitting)} boxes"
            if highest > 0
            else f"{file}: all {len(fitting)} boxes of category {wanted} on these images have a score of 0 or less: give "
            "the detector's scores"
        )
    sizes = {image.id: image.size_wh for image in dataset}
    faults = box_faults(
        np.array([entry.bbox for entry in kept], np.float64),
        np.array([sizes[entry.image_id] for entry in kept], np.float64),
    )
    if faults.shares:
        raise UserError(
            f"{file}: all {len(kept)} boxes lie between 0 and 1: multiply 'bbox' by the image's width and height, a "
            "detector's file has pixels"
        )
    if faults.corners:
        raise UserError(f"{file}: the {len(kept)} boxes are corners (x1 y1 x2 y2): write x, y, width, height in 'bbox'")


def _check_inside(entry: _Detection, file: Path) -> None:
    width, height = entry.bbox[2:]
    if not (width > 0 or height > 0):
        raise UserError(
            f"{file}: entry {entry.number} (image {entry.image_id}) is a box of {width:g} x {height:g} pixels, "
            "which has no inside: remove it"
        )


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


def _detection(number: int, entry: Any, file: Path) -> _Detection:
    """An entry of a detector's file, checked."""
    where = f"{file}: entry {number}"
    entry = with_whole_numbers(entry, ("image_id", "category_id"))
    for key in ("image_id", "category_id", "bbox", "score"):
        if not isinstance(entry, dict) or key not in entry:
            raise UserError(f"{where} has no '{key}': give a detector's file (image_id, category_id, bbox, score)")
    try:
        x, y, width, height, score = map(float, (*entry["bbox"], entry["score"]))
        usable = isinstance(entry["image_id"], int) and math.isfinite(x + y + width + height + score)
        hash(entry["category_id"])
    except (TypeError, ValueError, OverflowError):
        usable = False
    if not usable:
        raise UserError(
            f"{where} (image {entry['image_id']!r}) needs an integer image_id, 4 finite numbers in 'bbox' and a finite "
            "'score': correct or remove it"
        )
    return _Detection(number, entry["image_id"], entry["category_id"], (x, y, width, height), score)
