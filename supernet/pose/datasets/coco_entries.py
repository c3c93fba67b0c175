"""The entries of a COCO-format file as reading, training and evaluation all take them: checked, and with what is optional.

Optional, with what stands in for them: ``num_keypoints`` (the labelled joints are counted), ``area`` (CrowdPose's share of
the box, for people without one), ``iscrowd`` (0), ``keypoints`` (nobody is labelled, as COCO writes with zeros).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from supernet.errors import UserError
from supernet.pose.datasets.coco_checks import NUMBER, check_numbers, checked, require, with_whole_numbers
from supernet.pose.datasets.images import image_path
from supernet.pose.datasets.masks import complaint
from supernet.pose.datasets.plausibility import share_of
from supernet.pose.keypoints import Skeleton
from supernet.pose.metrics.oks import BOX_SHARE

_LEAST_AREA = 1e-3  # of the box: less is no person's, where most people have it

Annotations = tuple[list[dict[str, Any]], tuple[str, ...]]


def read_images(raw: Sequence[Any], folder: Path, file: Path) -> dict[int, dict[str, Any]]:
    """The file's images by id.

    Raises:
        UserError: One lacks a key, has another's id, a size that no image has, or a name that leads out of the folder.
    """
    images: dict[int, dict[str, Any]] = {}

    def check(entry: Any) -> None:
        image = with_whole_numbers(entry, ["id"])
        require(image, {"id": int, "file_name": str, "width": NUMBER, "height": NUMBER}, file, "image")
        if image["id"] in images:
            raise UserError(f"{file}: two images have the id {image['id']}: remove one")
        if not (0 < image["width"] < 1e6 and 0 < image["height"] < 1e6):
            raise UserError(
                f"{file}: image {image['id']} has the size {image['width']} x {image['height']}: give it in pixels"
            )
        try:
            image_path(folder, image["file_name"])
        except UserError as error:
            raise UserError(f"{file}: image {image['id']}: {error}") from None
        images[image["id"]] = image

    checked(raw, check, "images")
    return images


def read_annotations(
    raw: Sequence[Any],
    images: Mapping[int, Any],
    categories: Collection[int],
    named: Mapping[int, str],
    skeleton: Skeleton,
    file: Path,
) -> Annotations:
    """The people of a file, all of one category, in its order.

    Args:
        raw: The file's list.
        images: By id.
        categories: Those with joints: one class, whose id is the smallest of theirs.
        named: Names of the file's categories.
        skeleton: Of everybody.
        file: What messages name.

    Returns:
        The annotations (the file's own objects where nothing is changed in them), and what was passed over or replaced,
        one line each.

    Raises:
        UserError: The first entry that cannot be used, and how many there are.
    """
    counts: Counter[str] = Counter()
    others: Counter[str] = Counter()
    seen: set[int] = set()

    def check(raw_entry: Any) -> dict[str, Any] | None:
        entry: dict[str, Any] = with_whole_numbers(
            raw_entry, ("id", "image_id", "category_id", "num_keypoints", "iscrowd")
        )
        require(entry, {"id": int, "image_id": int, "category_id": int}, file, "annotation")
        if entry["category_id"] not in categories:
            others[named.get(entry["category_id"], str(entry["category_id"]))] += 1
            return None
        if not entry.get("keypoints", ()) and isinstance(entry.get("keypoints", []), list | type(None)):
            counts["without"] += 1
            if not _is_box(entry.get("bbox")):
                return None
            entry = {**entry, "keypoints": [0] * (3 * skeleton.num_joints), "num_keypoints": 0}
        require(entry, {"keypoints": list, "bbox": list}, file, "annotation")
        check_numbers(entry, skeleton.num_joints, file)
        entry = _counted(entry, skeleton, file, counts)
        if entry["category_id"] != min(categories):
            entry = {**entry, "category_id": min(categories)}
        if wrong := (entry.get("iscrowd") or not entry["num_keypoints"]) and complaint(entry.get("segmentation")):
            raise UserError(f"{file}: the segmentation of annotation {entry['id']} {wrong}: correct or remove it")
        if entry["image_id"] not in images:
            raise UserError(
                f"{file}: annotation {entry['id']} refers to image {entry['image_id']}, which the file's "
                "'images' does not list: add the image or remove the annotation"
            )
        if entry["id"] in seen:
            raise UserError(f"{file}: two annotations have the id {entry['id']}: remove one")
        seen.add(entry["id"])
        return entry

    people = [entry for entry in checked(raw, check, "annotations") if entry is not None]
    _refuse_zero_for_all(people, counts, file)
    people = _with_areas(people, counts)
    return people, tuple(_lines(counts, others, len(people), skeleton))


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(type(number) in NUMBER for number in value)


def _counted(entry: dict[str, Any], skeleton: Skeleton, file: Path, counts: Counter[str]) -> dict[str, Any]:
    """The entry with a ``num_keypoints`` above 0 only where a joint is labelled."""
    visible = entry["keypoints"][2::3]
    labelled = sum(v > 0 for v in visible)
    if any(v not in (0, 1, 2) for v in visible):
        counts["visibility"] += 1
    if entry.get("num_keypoints") is None:
        return {**entry, "num_keypoints": labelled}
    require(entry, {"num_keypoints": int}, file, "annotation")
    number = entry["num_keypoints"]
    # CrowdPose does not count head and neck, its last two joints.
    uncounted = sum(v > 0 for v in visible[-2:]) if skeleton.name == "crowdpose" else 0
    counts["counted as 0"] += number == 0 and labelled > uncounted and not entry.get("iscrowd")
    counts["differ"] += not labelled - uncounted <= number <= labelled and not entry.get("iscrowd")
    return {**entry, "num_keypoints": 0} if number > 0 and not labelled else entry


def _refuse_zero_for_all(people: Sequence[Mapping[str, Any]], counts: Counter[str], file: Path) -> None:
    labelled = sum(any(v > 0 for v in person["keypoints"][2::3]) for person in people)
    if counts["counted as 0"] and not any(person["num_keypoints"] for person in people):
        raise UserError(
            f"{file}: all {len(people)} people have num_keypoints 0, though {labelled} of them have labelled joints, so "
            "nobody would be evaluated: remove 'num_keypoints', or write how many joints are labelled"
        )


def _with_areas(people: list[dict[str, Any]], counts: Counter[str]) -> list[dict[str, Any]]:
    """The people with areas: a share of the box for who has none, and for all where most areas are none."""
    given = [entry for entry in people if entry.get("area") is not None]
    posed = [entry for entry in given if entry["num_keypoints"] and not entry.get("iscrowd")]
    empty = sum(entry["area"] <= _LEAST_AREA * max(0, entry["bbox"][2] * entry["bbox"][3]) for entry in posed)
    useless = 2 * empty > len(posed)
    counts["no area"], counts["area 0"] = len(people) - len(given), empty
    counts["with area"], counts["areas replaced"] = len(posed), useless

    def completed(entry: dict[str, Any]) -> dict[str, Any]:
        box = max(0.0, entry["bbox"][2]) * max(0.0, entry["bbox"][3])
        area = entry.get("area")
        if area is None or (useless and area <= _LEAST_AREA * box):
            return {**entry, "area": BOX_SHARE * box}
        return entry

    return [completed(entry) for entry in people]


def _lines(counts: Counter[str], others: Counter[str], people: int, skeleton: Skeleton) -> list[str]:
    lines = []
    if others:
        named = ", ".join(f"{number} of '{name}'" for name, number in others.most_common(5))
        lines.append(f"{others.total()} annotations of other categories are passed over ({named})")
    if counts["without"]:
        lines.append(
            f"{share_of(counts['without'], people)} have no 'keypoints': nothing is trained or evaluated on them"
        )
    if (
        counts["no area"] and skeleton.name != "crowdpose"
    ):  # whose official files have none, and whose program takes this
        lines.append(f"{share_of(counts['no area'], people)} have no 'area': {BOX_SHARE} of the box is taken")
    if counts["areas replaced"]:
        wrong = share_of(counts["area 0"], counts["with area"])
        lines.append(f"{wrong} have area 0 (or next to it): {BOX_SHARE} of the box is taken")
    elif counts["area 0"]:
        wrong = share_of(counts["area 0"], counts["with area"])
        lines.append(f"{wrong} have area 0: as in the official programs they are not trained on")
    if counts["differ"]:
        lines.append(
            f"{share_of(counts['differ'], people)} have a 'num_keypoints' that is not the number of labelled joints: who "
            "has no labelled joint is not evaluated"
        )
    if counts["counted as 0"]:
        lines.append(
            f"{share_of(counts['counted as 0'], people)} have num_keypoints 0 and labelled joints: as in the official "
            "programs they are not evaluated; correct the number, or remove it"
        )
    if counts["visibility"]:
        lines.append(
            f"{share_of(counts['visibility'], people)} have a visibility other than 0 (not labelled), 1 (hidden) and 2 "
            "(visible): above 0 counts as labelled"
        )
    return lines
