"""Own keypoints in COCO's format: whatever joints the category of the annotation file names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from supernet.errors import UserError
from supernet.io.files import read_json
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.coco_kind import CocoKind
from supernet.pose.datasets.images import find_images
from supernet.pose.datasets.joint_names import categories_of, compare_joint_names
from supernet.pose.datasets.kind import Files
from supernet.pose.keypoints import Skeleton
from supernet.pose.protocols import KeypointDataset

_LARGEST_FILE = 4 * 2**30  # bytes


class OwnKeypoints(CocoKind):
    """Joints of one's own: ``annotations/<split>.json`` and ``images/<split>``, ``<split>`` or ``images``.

    COCO's ``annotations/person_keypoints_<split>.json`` and ``<split>.json`` are found, too; DATASET.ANNOTATIONS and
    DATASET.IMAGES name any other file and folder.

    Args:
        find: gives the skeleton, on first use.
    """

    name = "keypoints"
    approaches = {"keypoints_bottom_up": "bottom-up", "keypoints": "top-down"}
    own_skeleton = True

    def __init__(self, find: Callable[[], Skeleton] | None = None) -> None:
        self._find = find
        self._contents: dict[Path, Any] = {}

    @cached_property
    def skeleton(self) -> Skeleton:
        """The keypoints."""
        assert self._find is not None, "the kind of a run's data knows its skeleton"
        return self._find()

    def files(self, root: Path, split: str) -> Files:
        """Where a split lies: the first of the usual places that there is."""
        folder = root / "annotations"
        names = (folder / f"{split}.json", folder / f"person_keypoints_{split}.json", root / f"{split}.json")
        annotations = next((name for name in names if name.is_file()), names[0])
        return Files(annotations, find_images(root / "images" / split, root / split, root / "images"))

    def category(self, annotations: Path) -> Mapping[str, Any]:
        """The category with keypoints of an annotation file, whose content is kept for :meth:`images`.

        Raises:
            UserError: there is no such file or category, or there are two with different joints.
        """
        if not annotations.is_file():
            raise UserError(f"annotation file {annotations} does not exist: set DATASET.ROOT or DATASET.ANNOTATIONS")
        content = self._contents[annotations] = read_json(annotations, max_bytes=_LARGEST_FILE)
        posed = categories_of(content.get("categories") if isinstance(content, dict) else None)
        if not posed:
            raise UserError(
                f"{annotations}: no category has 'keypoints', so that joints are not known: add them to the category, or give "
                "joints in DATASET.SKELETON"
            )
        for entry in posed[1:]:
            if entry["keypoints"] != posed[0]["keypoints"]:
                raise UserError(
                    f"{annotations}: categories {posed[0].get('name')!r} and {entry.get('name')!r} have different joints, and a "
                    "network has one skeleton: give a file for each"
                )
        return posed[0]

    def images(self, files: Files) -> PoseDataset:
        """The images of a split, with everybody on them."""
        skeleton = self.skeleton  # which may read the file
        content = self._contents.pop(files.annotations, None)
        if content is None and files.annotations.is_file():
            content = read_json(files.annotations, max_bytes=_LARGEST_FILE)
        return PoseDataset(files.annotations, files.images, skeleton, _named(content, skeleton))

    def compare_joint_names(self, dataset: KeypointDataset[Any]) -> None:
        """Refuse a file whose joints are not those of the skeleton."""
        compare_joint_names(dataset, self.skeleton, "give files with the same joints in the same order")


def _named(content: Any, skeleton: Skeleton) -> Any:
    """The content of a file; where no category names joints, those with annotated keypoints have the skeleton's."""
    if not isinstance(content, dict) or categories_of(content.get("categories")):
        return content
    annotations = content.get("annotations")
    entries = [entry for entry in annotations if isinstance(entry, dict)] if isinstance(annotations, list) else []
    used = {
        entry["category_id"] for entry in entries if "keypoints" in entry and isinstance(entry.get("category_id"), int)
    }
    if not used:
        return content
    posed = [{"id": id, "name": skeleton.name, "keypoints": list(skeleton.joints)} for id in sorted(used)]
    others = content.get("categories")
    kept = (
        [entry for entry in others if isinstance(entry, dict) and entry.get("id") not in used]
        if isinstance(others, list)
        else []
    )
    return {**content, "categories": [*posed, *kept]}
