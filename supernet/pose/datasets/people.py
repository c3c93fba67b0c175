"""The people that a top-down network is shown, one crop each: annotated, or detected.

Coordinates are x before y in pixels of the image, 0-based. Shape legend: K joints.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.pose.datasets.annotations import AnnotatedImage
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.splitting import drawn_parts
from supernet.pose.geometry import Box
from supernet.pose.keypoints import Skeleton


@dataclass(frozen=True, eq=False, slots=True)
class PersonInstance:
    """One person on one image. Who has no ``bbox`` has ``center`` and ``scale``, and the other way round.

    Attributes:
        path: Of the image, for :func:`supernet.pose.datasets.images.read_image`.
        image_id: Of the annotation file; for MPII, images are numbered in the order in which the file names them.
        annotation_id: Of the annotation file; the position in the file for a detection and for MPII.
        bbox: An annotated box clipped to the image, a detected one as it is; None for MPII.
        center: Middle of the crop, float64 (2,); MPII only.
        scale: Size of the crop / 200 pixels, float64 (2,), padding included; MPII only.
        keypoints_K3: float32 (x, y, v); v is 0 not labelled, 1 hidden (for MPII 1: labelled), 2 visible. Zeros for a
            detection.
        score: Of the detector; 1 for an annotated person.
        area: Square pixels: as annotated, of the detected box, or of MPII's crop.
        size_wh: Width and height that the annotations are for; None for MPII, whose file does not say it.
        detected: By a detector; otherwise annotated.
    """

    path: Path
    image_id: int
    annotation_id: int
    bbox: Box | None
    center: NDArray[np.float64] | None
    scale: NDArray[np.float64] | None
    keypoints_K3: NDArray[np.float32]
    score: float
    area: float
    size_wh: tuple[int, int] | None = None
    detected: bool = False


class PeopleDataset(Sequence[PersonInstance]):
    """People of many images, in the order of their file.

    Args:
        people: Everybody.
        skeleton: Of everybody.
        image_ids: The images, also those without a person.
        source: The file that the people were read from.
        images: The images with their annotations, where those have COCO's format.
        notes: What was passed over in the file of the people, one line each.

    Attributes:
        skeleton: Of everybody.
        image_ids: The images, also those without a person: results are evaluated on all of them.
        category_id: Of people, as results have to say it.
        has_annotations: Whether anybody is annotated on the images.
        source: The file of the people: annotations, or a detector's.
        notes: What was passed over, replaced or is unusual, one line each.
        people_in_file: How many that file has; a part of the dataset keeps this number.
    """

    def __init__(
        self,
        people: Sequence[PersonInstance],
        skeleton: Skeleton,
        image_ids: Iterable[int],
        source: Path,
        images: PoseDataset | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        """Keep them."""
        self.skeleton = skeleton
        self.image_ids: tuple[int, ...] = tuple(image_ids)
        self._people = tuple(people)
        self.category_id = images.category_id if images is not None else 1
        self.has_annotations = images.has_annotations if images is not None else True
        self.source = source
        self.people_in_file = len(people)
        self._images = images
        self.notes = (images.notes if images is not None else ()) + notes

    def __len__(self) -> int:
        """Number of people."""
        return len(self._people)

    @overload
    def __getitem__(self, index: int) -> PersonInstance: ...
    @overload
    def __getitem__(self, index: slice) -> PeopleDataset: ...
    def __getitem__(self, index: int | slice) -> PersonInstance | PeopleDataset:
        """The person at a position, or a dataset of some of them."""
        if isinstance(index, slice):
            return self._of(self._people[index])
        return self._people[index]

    @property
    def annotated_images(self) -> PoseDataset | None:
        """The images with all their annotations, where those have COCO's format."""
        return self._images

    def subset(self, image_ids: Iterable[int]) -> PeopleDataset:
        """The people on these images, in the order of this dataset.

        Raises:
            UserError: An id is not in this dataset.
        """
        chosen = dict.fromkeys(image_ids)
        unknown = sorted(set(chosen) - set(self.image_ids))
        if unknown:
            raise UserError(f"{self.source}: no image {unknown[0]} ({len(unknown)} such ids): choose among its images")
        return self._part([person for person in self._people if person.image_id in chosen], chosen)

    def annotated(self) -> PeopleDataset:
        """The people with a labelled joint, and their images: what can be trained on."""
        return self._of([person for person in self._people if (person.keypoints_K3[:, 2] > 0).any()])

    def images(self) -> Iterator[AnnotatedImage]:
        """The images that these people are on, in order, with these people; where a detector found them, with those annotated."""
        if self._images is not None and self.source != self._images.source:
            yield from self._images.subset(dict.fromkeys(person.image_id for person in self._people)).images()
            return
        of_image: dict[int, list[PersonInstance]] = {}
        for person in self._people:
            of_image.setdefault(person.image_id, []).append(person)
        for image_id, people in of_image.items():
            joints_PK3 = np.stack([person.keypoints_K3 for person in people])
            yield AnnotatedImage(image_id, people[0].path, joints_PK3, people[0].size_wh)

    def split(self, parts: Mapping[str, int | float], seed: int) -> dict[str, PeopleDataset]:
        """Disjoint random parts of the images, each with everybody on them; none is in two parts.

        The images are those that :meth:`supernet.pose.datasets.coco_format.PoseDataset.split` draws for the same ids.

        Args:
            parts: Name and size of each part: an int is a number of images, a float a share of them. What they
                leave over is in no part.
            seed: Of the draw, which does not depend on the order of the file.

        Returns:
            The parts by name, people in the order of this dataset.

        Raises:
            UserError: A part would be empty, or they are more than there are images.
        """
        result = {}
        for name, ids in drawn_parts(self.image_ids, parts, seed, self.source).items():
            chosen = set(ids)
            result[name] = self._part([person for person in self._people if person.image_id in chosen], ids)
        return result

    def ground_truth(self) -> dict[str, Any]:
        """The annotation file's dictionary for these images, for :class:`supernet.pose.metrics.oks.OksEvaluator`.

        Raises:
            UserError: They have another format, and another metric.
        """
        if self._images is None:
            raise UserError(f"{self.source} has no COCO-format annotations: evaluate it by its own metric")
        return self._images.subset(self.image_ids).ground_truth()

    def _of(self, people: Sequence[PersonInstance]) -> PeopleDataset:
        """Some of the people, and their images."""
        return self._part(people, dict.fromkeys(person.image_id for person in people))

    def _part(self, people: Sequence[PersonInstance], image_ids: Iterable[int]) -> PeopleDataset:
        part = copy.copy(self)
        part._people, part.image_ids = tuple(people), tuple(image_ids)
        return part
