"""Images with people's keypoints, from COCO-format annotations (COCO: 17 joints, CrowdPose: 14).

Sources: COCO keypoint annotations (Lin et al., ECCV 2014) and CrowdPose (Li et al., CVPR 2019; the same format without
``area`` and ``segmentation``). Coordinates are x before y in pixels of the image. Shape legend: K joints.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from supernet.errors import UserError
from supernet.io.files import read_json
from supernet.pose.datasets.annotations import AnnotatedImage, Person, PoseImage
from supernet.pose.datasets.coco_checks import pose_categories
from supernet.pose.datasets.coco_entries import read_annotations, read_images
from supernet.pose.datasets.images import find_images, image_path
from supernet.pose.datasets.plausibility import check_people
from supernet.pose.datasets.splitting import drawn_parts
from supernet.pose.keypoints import Skeleton

_LARGEST_FILE = 4 * 2**30  # bytes; COCO train2017 is 0.23 GiB


class PoseDataset(Sequence[PoseImage]):
    """The images of one annotation file, in its order; pixels are read by :func:`supernet.pose.datasets.images.read_image`.

    A file without ``annotations`` (COCO's ``image_info_test-dev2017.json``) has images on which nobody is
    annotated: they can be predicted on, not trained or evaluated on.

    Args:
        annotations: The JSON file.
        images: The folder, or zip archive, in which the file's ``file_name`` entries lie; for a folder that does not
            exist the archive beside it is taken (``val2017.zip`` for ``val2017``).
        skeleton: The joints that the file must have.
        content: What the file says, where it was made from another format; without it the file is read.

    Attributes:
        skeleton: Of everybody.
        image_ids: The images, in the order of the file.
        category_id: Of people, as results for this file have to say it: the smallest of those with joints.
        category_ids: All that have joints; they are one class.
        notes: What was passed over, replaced or is unusual in the file, one line each.
        has_annotations: Whether the file has any.
        source: The annotation file.

    Raises:
        UserError: A file or folder is missing, the file is no COCO-format JSON, is empty, has another number of joints,
            or contradicts itself.
    """

    def __init__(self, annotations: Path, images: Path, skeleton: Skeleton, content: Any = None) -> None:
        """Read and check the annotation file."""
        images = find_images(images)
        if not images.exists():
            raise UserError(f"dataset folder {images} does not exist: set DATASET.ROOT to the folder that holds it")
        raw = _read(annotations) if content is None else content
        if not isinstance(raw, dict) or "images" not in raw or not {"annotations", "categories"} & raw.keys():
            raise UserError(f"{annotations}: no 'images' and 'annotations': give a COCO-format keypoint file")
        for key in {"images", "annotations"} & raw.keys():
            if not isinstance(raw[key], list) or not raw[key]:
                raise UserError(f"{annotations}: its list '{key}' is empty: give a file with images and people")
        self.skeleton = skeleton
        self._folder = images
        self.source = annotations
        self._header = {key: value for key, value in raw.items() if key not in ("images", "annotations")}
        self._images = read_images(raw["images"], images, annotations)
        self._annotations: dict[int, list[dict[str, Any]]] = {id: [] for id in self._images}
        self.image_ids: tuple[int, ...] = tuple(self._images)
        self.category_id = 1
        self.category_ids: frozenset[int] = frozenset((1,))
        self.notes: tuple[str, ...] = ()
        self.has_annotations = "annotations" in raw
        if self.has_annotations:
            self._read_people(raw)

    def _read_people(self, raw: dict[str, Any]) -> None:
        """Check the people and keep them by image; all categories with joints become the smallest of their ids."""
        categories = pose_categories(raw.get("categories"), self.source, self.skeleton)
        listed = [entry for entry in raw["categories"] if isinstance(entry, dict)]
        named = {entry["id"]: str(entry.get("name")) for entry in listed if isinstance(entry.get("id"), int | float)}
        self.category_id, self.category_ids = min(categories), frozenset(categories)
        people, notes = read_annotations(
            raw["annotations"], self._images, categories, named, self.skeleton, self.source
        )
        self._header["categories"] = [
            {**entry, "id": self.category_id} for entry in listed if entry.get("id") == self.category_id
        ]
        if len(categories) > 1:
            together = ", ".join(f"'{named[id]}'" for id in sorted(categories))
            notes = (f"the categories {together} have the same joints and are one class", *notes)
        self.notes = notes + self._implausible(people)
        for entry in people:
            self._annotations[entry["image_id"]].append(entry)

    def _implausible(self, people: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        posed = [entry for entry in people if entry["num_keypoints"] and not entry.get("iscrowd")]
        shown = (self._images[entry["image_id"]] for entry in posed)
        return check_people(
            np.array([entry["keypoints"] for entry in posed], np.float64).reshape(-1, self.skeleton.num_joints, 3),
            np.array([entry["bbox"] for entry in posed], np.float64).reshape(-1, 4),
            np.array([(image["width"], image["height"]) for image in shown], np.float64).reshape(-1, 2),
            self.source,
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.image_ids)

    @overload
    def __getitem__(self, index: int) -> PoseImage: ...
    @overload
    def __getitem__(self, index: slice) -> PoseDataset: ...
    def __getitem__(self, index: int | slice) -> PoseImage | PoseDataset:
        """The image at a position, or a dataset of some of them."""
        if isinstance(index, slice):
            return self.subset(self.image_ids[index])
        id = self.image_ids[index]
        image = self._images[id]
        people = tuple(_person(entry) for entry in self._annotations[id])
        path = image_path(self._folder, image["file_name"])
        return PoseImage(id, path, int(image["width"]), int(image["height"]), people)

    def images(self) -> Iterator[AnnotatedImage]:
        """Every image in order, with everybody annotated on it."""
        for image in self:
            people = [person.keypoints_K3 for person in image.people]
            joints_PK3 = np.array(people, np.float32).reshape(-1, self.skeleton.num_joints, 3)
            yield AnnotatedImage(image.id, image.path, joints_PK3, (image.width, image.height))

    def ground_truth(self) -> dict[str, Any]:
        """The file's dictionary, restricted to these images and to people, for the official evaluator.

        It holds what the reader holds: areas and numbers of joints that the file lacks are those of :class:`Person`. The
        entries are the dataset's own objects: an evaluator that writes into them must copy them first.

        Raises:
            UserError: The file has no annotations.
        """
        self._need_annotations()
        return {
            **self._header,
            "images": [self._images[id] for id in self.image_ids],
            "annotations": [entry for id in self.image_ids for entry in self._annotations[id]],
        }

    def subset(self, ids: Iterable[int]) -> PoseDataset:
        """The images with these ids, in this order.

        Raises:
            UserError: An id is not in this dataset.
        """
        chosen = tuple(dict.fromkeys(ids))
        unknown = sorted(set(chosen) - set(self.image_ids))
        if unknown:
            raise UserError(f"{self.source}: no image {unknown[0]} ({len(unknown)} such ids): choose among its images")
        part = copy.copy(self)
        part.image_ids = chosen
        return part

    def annotated(self) -> PoseDataset:
        """The images on which anybody is annotated: HigherHRNet trains on these only.

        Raises:
            UserError: The file has no annotations.
        """
        self._need_annotations()
        return self.subset(id for id in self.image_ids if self._annotations[id])

    def _need_annotations(self) -> None:
        if not self.has_annotations:
            raise UserError(f"{self.source} has no 'annotations': it can be predicted on, not trained or evaluated on")

    def split(self, parts: Mapping[str, int | float], seed: int) -> dict[str, PoseDataset]:
        """Disjoint random parts, the same for the same images and seed whatever the order of the file.

        Args:
            parts: Name and size of each part: an int is a number of images, a float a share of this dataset. What
                they leave over is in no part.
            seed: Of the draw.

        Returns:
            The parts by name, each sorted by id.

        Raises:
            UserError: A part would be empty, or they are more than there are images.
        """
        drawn = drawn_parts(self.image_ids, parts, seed, self.source)
        return {name: self.subset(ids) for name, ids in drawn.items()}


def _read(annotations: Path) -> Any:
    if not annotations.is_file():
        raise UserError(f"annotation file {annotations} does not exist: set DATASET.ROOT to its dataset's folder")
    return read_json(annotations, max_bytes=_LARGEST_FILE)


def _person(entry: Mapping[str, Any]) -> Person:
    keypoints_K3 = np.asarray(entry["keypoints"], np.float32).reshape(-1, 3)
    x, y, width, height = (float(value) for value in entry["bbox"])
    return Person(
        keypoints_K3=keypoints_K3,
        bbox=(x, y, width, height),
        area=float(entry["area"]),
        iscrowd=bool(entry.get("iscrowd", 0)),
        num_keypoints=int(entry["num_keypoints"]),
        segmentation=entry.get("segmentation"),
    )
