"""COCO keypoints: Lin et al., ECCV 2014; people with 17 joints."""

from __future__ import annotations

from pathlib import Path

from supernet.pose.datasets.coco_kind import CocoKind
from supernet.pose.datasets.images import find_images
from supernet.pose.datasets.kind import Files
from supernet.pose.keypoints import COCO


class Coco(CocoKind):
    """``annotations/person_keypoints_<split>.json``, and ``images/<split>`` or ``<split>``, as COCO's archives unpack.

    The test splits (test-dev2017, test2017) have ``image_info_<split>.json`` without annotations, and share their images.
    """

    name = "coco"
    approaches = {"coco_kpt": "bottom-up", "coco": "top-down"}
    skeleton = COCO

    def files(self, root: Path, split: str) -> Files:
        """Where a split lies."""
        test = "test" in split
        file = f"{'image_info' if test else 'person_keypoints'}_{split}.json"
        folder = "test2017" if test else split
        return Files(root / "annotations" / file, find_images(root / "images" / folder, root / folder))
