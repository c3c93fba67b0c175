"""The people that a top-down network is shown, one crop each: annotated, detected, or MPII's.

Sources: the loaders of HRNet (Sun et al., CVPR 2019), whose rules decide who is left out. Coordinates are x before y in
pixels of the image, 0-based. Shape legend: K joints.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.io.files import read_json
from supernet.pose.datasets.annotations import AnnotatedImage
from supernet.pose.datasets.coco import PoseDataset, drawn_parts
from supernet.pose.datasets.images import find_images, image_path
from supernet.pose.datasets.mpii import read_mpii
from supernet.pose.geometry import CROP_UNITS, Box
from supernet.pose.keypoints import MPII, Skeleton

_LARGEST_FILE = 4 * 2**30  # bytes; detections on COCO's test-dev2017 are 0.1 GiB


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


class PeopleDataset(Sequence[PersonInstance]):
    """People of many images, in the order of their file; made by one of the ``from_`` methods.

    Attributes:
        skeleton: Of everybody.
        image_ids: The images, also those without a person: results are evaluated on all of them.
        category_id: Of people, as results have to say it.
        source: The file of the people: annotations, or a detector's.
    """

    def __init__(
        self,
        people: Sequence[PersonInstance],
        skeleton: Skeleton,
        image_ids: Iterable[int],
        source: Path,
        photographs: PoseDataset | None,
    ) -> None:
        """Used by the ``from_`` methods; ``photographs`` are the images and annotations, where those are COCO's format."""
        self.skeleton = skeleton
        self.image_ids: tuple[int, ...] = tuple(image_ids)
        self._people = tuple(people)
        self.category_id = photographs.category_id if photographs else 1
        self.source = source
        self._photographs = photographs

    @classmethod
    def from_annotations(cls, dataset: PoseDataset) -> PeopleDataset:
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
        return cls(people, dataset.skeleton, dataset.image_ids, dataset.source, dataset)

    @classmethod
    def from_detections(cls, dataset: PoseDataset, file: Path, lowest_score: float) -> PeopleDataset:
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
            people.append(PersonInstance(path, entry["image_id"], number, bbox, None, None, nowhere_K3, score, area))
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
        return cls(people, dataset.skeleton, dataset.image_ids, file, dataset)

    @classmethod
    def from_mpii(cls, annotations: Path, images: Path) -> PeopleDataset:
        """Everybody in an MPII annotation file, also who has no visible joint: the official metric counts rows.

        Args:
            annotations: ``annot/{train,valid,test,trainval}.json``.
            images: The folder of the images, or their zip archive (also ``images.zip`` beside a missing ``images``).

        Raises:
            UserError: A file or folder is missing, or an entry cannot be used.
        """
        images = find_images(images)
        if not images.exists():
            raise UserError(f"MPII's image folder {images} does not exist: set DATASET.ROOT to the folder around it")
        numbers: dict[str, int] = {}
        people = []
        for number, person in enumerate(read_mpii(annotations)):
            people.append(
                PersonInstance(
                    path=image_path(images, person.image),
                    image_id=numbers.setdefault(person.image, len(numbers)),
                    annotation_id=number,
                    bbox=None,
                    center=person.center,
                    scale=person.scale,
                    keypoints_K3=person.keypoints_K3,
                    score=1.0,
                    area=float((person.scale * CROP_UNITS).prod()),
                )
            )
        return cls(people, MPII, numbers.values(), annotations, None)

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
        """The images with anybody to be shown, in order, with these people as annotated; without joints where detected."""
        of_image: dict[int, list[PersonInstance]] = {}
        for person in self._people:
            of_image.setdefault(person.image_id, []).append(person)
        for image_id, people in of_image.items():
            yield AnnotatedImage(image_id, people[0].path, np.stack([person.keypoints_K3 for person in people]))

    def split(self, parts: Mapping[str, int | float], seed: int) -> dict[str, PeopleDataset]:
        """Disjoint random parts of the images, each with everybody on them; none is in two parts.

        The images are those that :meth:`supernet.pose.datasets.coco.PoseDataset.split` draws for the same ids.

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
            UserError: These are MPII's people, whose metric reads another file.
        """
        if self._photographs is None:
            raise UserError(f"{self.source} has no COCO-format annotations: evaluate MPII by PCKh")
        return self._photographs.subset(self.image_ids).ground_truth()

    def _of(self, people: Sequence[PersonInstance]) -> PeopleDataset:
        """Some of the people, and their images."""
        return self._part(people, dict.fromkeys(person.image_id for person in people))

    def _part(self, people: Sequence[PersonInstance], image_ids: Iterable[int]) -> PeopleDataset:
        part = copy.copy(self)
        part._people, part.image_ids = tuple(people), tuple(image_ids)
        return part


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
