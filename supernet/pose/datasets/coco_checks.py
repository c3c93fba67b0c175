"""What entries of a COCO-format annotation file must have, checked before anything is done with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from supernet.errors import UserError
from supernet.pose.keypoints import Skeleton

_LARGEST_NUMBER = 1e9  # pixels, or square pixels
NUMBER = (int, float)
Entry = TypeVar("Entry")


def require(entry: Any, keys: Mapping[str, type | tuple[type, ...]], file: Path, kind: str) -> None:
    """Refuse an entry of the file that lacks a key, or has something of another kind there."""
    for key, wanted in keys.items():
        if not isinstance(entry, dict) or key not in entry:
            name = entry.get("id", "without id") if isinstance(entry, dict) else repr(entry)[:40]
            raise UserError(f"{file}: {kind} {name} has no '{key}': give a COCO-format keypoint file")
        if not isinstance(entry[key], wanted):
            raise UserError(
                f"{file}: {kind} {entry.get('id')!r} has {repr(entry[key])[:40]} as its '{key}': give "
                f"{_KINDS[wanted]} there, as COCO's files do"
            )


_KINDS = {int: "a whole number", str: "text", list: "a list of numbers", NUMBER: "a number"}


def with_whole_numbers(entry: Any, keys: Iterable[str]) -> Any:
    """An entry in which 17.0 is written 17 under these keys, as MATLAB and pandas write whole numbers; itself if none is."""
    if not isinstance(entry, dict):
        return entry
    changed = {key: int(value) for key in keys if type(value := entry.get(key)) is float and value.is_integer()}
    return {**entry, **changed} if changed else entry


def checked(entries: Iterable[Any], check: Callable[[Any], Entry], kind: str) -> list[Entry]:
    """What ``check`` makes of every entry.

    Raises:
        UserError: that of the first entry that ``check`` refuses, and how many it refuses.
    """
    kept: list[Entry] = []
    first, refused = None, 0
    for entry in entries:
        try:
            kept.append(check(entry))
        except UserError as error:
            first, refused = first or error, refused + 1
    if first is not None:
        raise UserError(
            f"{first} ({refused} of {refused + len(kept)} {kind} are refused)" if refused > 1 else str(first)
        )
    return kept


def check_numbers(entry: Mapping[str, Any], num_joints: int, file: Path) -> None:
    """Refuse a person whose keypoints or box are not so many finite numbers."""
    if len(entry["keypoints"]) != 3 * num_joints or len(entry["bbox"]) != 4:
        raise UserError(
            f"{file}: annotation {entry['id']} has {len(entry['keypoints'])} keypoint numbers and "
            f"{len(entry['bbox'])} box numbers, not {3 * num_joints} and 4: correct or remove it"
        )
    numbers = (*entry["keypoints"], *entry["bbox"], entry.get("area") or 0)
    try:  # the sum, since nan is neither smaller nor larger
        usable = math.isfinite(sum(numbers)) and -_LARGEST_NUMBER <= min(numbers) <= max(numbers) <= _LARGEST_NUMBER
    except (TypeError, OverflowError):
        usable = False
    if not usable:
        raise UserError(
            f"{file}: annotation {entry['id']} has a keypoint, box or area that is not a finite number up to "
            f"{_LARGEST_NUMBER:g}: correct or remove it"
        )


def pose_categories(categories: Any, file: Path, skeleton: Skeleton) -> set[int]:
    """Ids of the categories that have the skeleton's joints: they are one class. Others are passed over.

    A label of boxes may have an empty list of keypoints.

    Raises:
        UserError: No category has keypoints, or none as many as the skeleton, or two call the same joints otherwise.
    """
    posed = [
        entry
        for entry in (with_whole_numbers(each, ["id"]) for each in (categories if isinstance(categories, list) else ()))
        if isinstance(entry, dict)
        and isinstance(entry.get("keypoints"), list)
        and entry["keypoints"]
        and isinstance(entry.get("id"), int)
    ]
    if not posed:
        raise UserError(f"{file}: no category has 'keypoints': give the file of person keypoints, not of boxes")
    fitting = [entry for entry in posed if len(entry["keypoints"]) == skeleton.num_joints]
    if not fitting:
        entry = posed[0]
        raise UserError(
            f"{file}: category '{entry.get('name')}' has {len(entry['keypoints'])} keypoints, but skeleton "
            f"'{skeleton.name}' has {skeleton.num_joints}: set DATASET.DATASET to the dataset of this file, or to keypoints "
            "(keypoints_bottom_up) for the file's own joints"
        )
    first = fitting[0]
    for entry in fitting[1:]:
        for mine, other in zip(first["keypoints"], entry["keypoints"], strict=True):
            if str(mine).lower() != str(other).lower():
                raise UserError(
                    f"{file}: the categories '{first.get('name')}' and '{entry.get('name')}' have other joints ('{mine}' and "
                    f"'{other}'), so they are not one class: take the 'keypoints' out of the one that is not wanted"
                )
    return {entry["id"] for entry in fitting}
