"""Annotations of labelling tools, gathered to people and written in COCO's keypoint format.

Coordinates are x before y, in pixels of the image; boxes are x, y, width, height.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from supernet.errors import UserError
from supernet.pose.datasets.images import image_path
from supernet.pose.metrics.oks import BOX_SHARE

Box = tuple[float, float, float, float]
HIDDEN, VISIBLE = 1, 2
_MARGIN = 0.1  # of the joints' extent, on every side, where a person has no box


@dataclass(frozen=True)
class Point:
    """A labelled joint.

    Attributes:
        joint: its name.
        x: pixels.
        y: pixels.
        visibility: 1 hidden, 2 visible.
        group: what the tool says that it belongs to; None where it says nothing.
    """

    joint: str
    x: float
    y: float
    visibility: int = VISIBLE
    group: object = None


@dataclass(frozen=True)
class Labelled:
    """One image with its labels.

    Attributes:
        place: what messages call it: file and entry.
        file_name: in the folder of images.
        width: pixels.
        height: pixels.
        points: all labelled joints.
        boxes: group -> box; a box without a group of its own has an unused one.
    """

    place: str
    file_name: str
    width: int
    height: int
    points: Sequence[Point]
    boxes: Mapping[object, Box] = field(default_factory=dict)


Read = tuple[list[Labelled], Counter[str]]  # the images, and how many labels of which other kind were passed over


def joints_of(images: Iterable[Labelled]) -> tuple[str, ...]:
    """The names of all joints, in the order in which they are met."""
    return tuple(dict.fromkeys(point.joint for image in images for point in image.points))


def to_coco(images: Sequence[Labelled], joints: Sequence[str], name: str) -> dict[str, Any]:
    """The content of a COCO-format keypoint file with one category.

    Joints with a group are one person each group. One without lies in exactly one box, and belongs to it; where an image has
    neither boxes nor groups, all its joints are one person. Who has no box gets the extent of the joints and a tenth of it on
    every side, within the image.

    Args:
        images: with their labels.
        joints: names, in the order in which they are written.
        name: of the category.

    Raises:
        UserError: a joint is not one of these or not a finite number, a person has one twice, it is not known whose a joint is,
            a box is empty, or an image is there twice.
    """
    records: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    for id, image in enumerate(images, start=1):
        if image.file_name in seen:
            raise UserError(f"{image.place}: image {image.file_name} is in {seen[image.file_name]}, too; remove one")
        seen[image.file_name] = image.place
        records.append({"id": id, "file_name": image.file_name, "width": image.width, "height": image.height})
        for box, points in _people(image):
            person = _person(image, points, box, joints)
            people.append({"id": len(people) + 1, "image_id": id, "category_id": 1, "iscrowd": 0, **person})
    category = {"id": 1, "name": name, "keypoints": list(joints), "skeleton": []}
    return {"images": records, "annotations": people, "categories": [category]}


def _people(image: Labelled) -> list[tuple[Box | None, list[Point]]]:
    """Who is on an image: box, where there is one, and joints."""
    groups: dict[object, list[Point]] = {group: [] for group in image.boxes}
    grouped = bool(image.boxes) or any(point.group is not None for point in image.points)
    for point in image.points:
        groups.setdefault(_group(image, point) if grouped else None, []).append(point)
    return [(image.boxes.get(group), points) for group, points in groups.items()]


def _group(image: Labelled, point: Point) -> object:
    if point.group is not None:
        return point.group
    around = [group for group, (x, y, w, h) in image.boxes.items() if x <= point.x <= x + w and y <= point.y <= y + h]
    if len(around) != 1:
        raise UserError(
            f"{image.place}: point {point.joint!r} at {point.x:.1f}, {point.y:.1f} has no group and lies in {len(around)} boxes; "
            "give it the group of its person"
        )
    return around[0]


def _person(image: Labelled, points: Sequence[Point], box: Box | None, joints: Sequence[str]) -> dict[str, Any]:
    """Keypoints, their number, box and area of one person."""
    places = {joint: index for index, joint in enumerate(joints)}
    keypoints = [0.0] * (3 * len(joints))
    for point in points:
        if point.joint not in places:
            near = get_close_matches(point.joint, joints, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"the joints are {', '.join(joints)}"
            raise UserError(f"{image.place}: point {point.joint!r} is no joint; {advice}")
        if not (math.isfinite(point.x) and math.isfinite(point.y)):
            raise UserError(f"{image.place}: point {point.joint!r} is at {point.x}, {point.y}; correct or remove it")
        at = 3 * places[point.joint]
        if keypoints[at + 2]:
            raise UserError(
                f"{image.place}: one person has {point.joint!r} twice; give every person's points a group or a box of their own"
            )
        keypoints[at : at + 3] = point.x, point.y, point.visibility
    x, y, w, h = box or _extent(image, points)
    if not (w > 0 and h > 0 and math.isfinite(x + y + w + h)):
        raise UserError(f"{image.place}: a box of {w:g} x {h:g} pixels at {x:g}, {y:g} has no inside; draw it anew")
    return {
        "keypoints": keypoints,
        "num_keypoints": len(points),
        "bbox": [x, y, w, h],
        "area": BOX_SHARE * w * h,
    }


def _extent(image: Labelled, points: Sequence[Point]) -> Box:
    """The box around points, with a margin of at least a pixel, within the image where they are."""
    ends = []
    for values, size in (([p.x for p in points], image.width), ([p.y for p in points], image.height)):
        margin = max(1.0, _MARGIN * (max(values) - min(values)))
        low, high = min(values), max(values)
        ends.append((min(low, max(0.0, low - margin)), max(high, min(float(size), high + margin))))
    (left, right), (top, bottom) = ends
    return left, top, right - left, bottom - top


def find_image(where: object, images: Path, names: Sequence[str]) -> str:
    """The first of the names that an image of a folder has.

    Args:
        where: what a message calls the place that names it.
        images: the folder.
        names: relative to it, with either separator.

    Raises:
        UserError: the folder has none of them.
    """
    for name in dict.fromkeys(name.replace("\\", "/") for name in names):
        try:
            path = image_path(images, name)
        except UserError:  # absolute, or out of the folder
            continue
        if os.path.isfile(path):
            return name
    raise UserError(f"{where}: image {names[0]!r} is not in {images}; give its folder with --images")
