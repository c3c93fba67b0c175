"""The names of the joints in an annotation file, compared with those of the skeleton that it is read by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supernet.errors import UserError
from supernet.pose.keypoints import Skeleton, spelled_alike
from supernet.pose.protocols import KeypointDataset


def categories_of(categories: Any) -> list[Mapping[str, Any]]:
    """The categories of a COCO-format file that name their joints."""
    entries = categories if isinstance(categories, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and _names(entry)]


def compare_joint_names(dataset: KeypointDataset[Any], skeleton: Skeleton, remedy: str) -> None:
    """Refuse a dataset whose file calls the joints otherwise; case, and what stands between words, may differ.

    Args:
        dataset: of COCO's format.
        skeleton: that it was read by.
        remedy: what to do about it.

    Raises:
        UserError: a joint has another name; the first that differs is told.
    """
    if not dataset.has_annotations:
        return
    truth = dataset.ground_truth()
    for category in categories_of(truth.get("categories")):
        for index, (found, wanted) in enumerate(zip(category["keypoints"], skeleton.joints, strict=False)):
            if not spelled_alike(found, wanted):
                raise UserError(
                    f"{dataset.source}: joint {index + 1} of category {category.get('name')!r} is {found!r} where "
                    f"{skeleton.name} has {wanted!r}: {remedy}; where only the spelling differs, set DATASET.JOINT_NAMES ignore"
                )


def _names(category: Mapping[str, Any]) -> bool:
    names = category.get("keypoints")
    return isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names)
