"""Annotations of one image, whatever file they came from: people with keypoints, boxes and masks.

Coordinates are x before y in pixels of the image. Shape legend: P people, K joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Person:
    """One annotated person, or a region of a crowd.

    Attributes:
        keypoints_K3: float32 (x, y, v); v is 0 not labelled, 1 hidden, 2 visible.
        bbox: x, y, width, height.
        area: Square pixels; where the file has none, CrowdPose's share of the box.
        iscrowd: A region with many people, not one person.
        num_keypoints: As the file says, but 0 where no joint is labelled. CrowdPose does not count head and neck.
        segmentation: The file's own polygons or run lengths; None where it has none.
    """

    keypoints_K3: NDArray[np.float32]
    bbox: tuple[float, float, float, float]
    area: float
    iscrowd: bool
    num_keypoints: int
    segmentation: Any

    @property
    def ignored(self) -> bool:
        """Whether nothing is trained or evaluated here: a crowd, or a person without labelled keypoints."""
        return self.iscrowd or self.num_keypoints == 0


@dataclass(frozen=True, eq=False)
class PoseImage:
    """One image: its file, its size in pixels, and everybody annotated on it (also who is ignored)."""

    id: int
    path: Path
    width: int
    height: int
    people: tuple[Person, ...]

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height that the annotations are for."""
        return self.width, self.height


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """One image for reports and drawings.

    Attributes:
        id: Of the annotation file; where it numbers none, the place in the order in which it names images.
        path: For :func:`supernet.pose.datasets.images.read_image`.
        keypoints_PK3: float32 (P, K, 3): (x, y, v) of the annotated people.
        size_wh: Width and height that the annotations are for; None where their file does not say it.
    """

    id: int
    path: Path
    keypoints_PK3: NDArray[np.float32]
    size_wh: tuple[int, int] | None = None
