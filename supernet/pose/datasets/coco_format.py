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
from supernet.pose.datasets.coco_checks import NUMBER, check_numbers, pose_categories, require
from supernet.pose.datasets.images import find_images, image_path
from supernet.pose.datasets.masks import complaint
from supernet.pose.datasets.splitting import drawn_parts
from supernet.pose.keypoints import Skeleton
from supernet.pose.metrics.oks import BOX_SHARE

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
        category_id: Of people, as results for this file have to say it.
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
        self._images: dict[int, dict[str, Any]] = {}
        for image in raw["images"]:
            require(image, {"id": int, "file_name": str, "width": NUMBER, "height": NUMBER}, annotations, "image")
            if image["id"] in self._images:
                raise UserError(f"{annotations}: two images have the id {image['id']}: remove one")
            try:
                image_path(images, image["file_name"])
            except UserError as error:
                raise UserError(f"{annotations}: image {image['id']}: {error}") from None
            self._images[image["id"]] = image
        self._annotations: dict[int, list[dict[str, Any]]] = {id: [] for id in self._images}
        self.image_ids: tuple[int, ...] = tuple(self._images)
        self.category_id = 1
        self.has_annotations = "annotations" in raw
        if self.has_annotations:
            self._read_people(raw)

    def _read_people(self, raw: dict[str, Any]) -> None:
        """Check the people and keep them by image; boxes of other categories are passed over."""
        categories = pose_categories(raw.get("categories"), self.source, self.skeleton)
        self.category_id = min(categories)
        seen = set()
        for entry in raw["annotations"]:
            require(entry, {"id": int, "image_id": int, "category_id": int}, self.source, "annotation")
            if entry["category_id"] not in categories:
                continue
            counted = {"num_keypoints": int} if "num_keypoints" in entry else {}
            require(entry, {"keypoints": list, "bbox": list, **counted}, self.source, "annotation")
            check_numbers(entry, self.skeleton.num_joints, self.source)
            if wrong := _person(entry).ignored and complaint(entry.get("segmentation")):
                raise UserError(
                    f"{self.source}: the segmentation of annotation {entry['id']} {wrong}: correct or remove it"
                )
            if entry["image_id"] not in self._images:
                raise UserError(
                    f"{self.source}: annotation {entry['id']} refers to image {entry['image_id']}, which the file's "
                    "'images' does not list: add the image or remove the annotation"
                )
            if entry["id"] in seen:
                raise UserError(f"{self.source}: two annotations have the id {entry['id']}: remove one")
            seen.add(entry["id"])
            self._annotations[entry["image_id"]].append(entry)

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
            yield AnnotatedImage(image.id, image.path, joints_PK3)

    def ground_truth(self) -> dict[str, Any]:
        """The file's own dictionary, restricted to these images and to people, for the official evaluator.

        The entries are the dataset's own objects: an evaluator that writes into them must copy them first.

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
        area=float(entry.get("area", BOX_SHARE * width * height)),
        iscrowd=bool(entry.get("iscrowd", 0)),
        num_keypoints=int(entry.get("num_keypoints", np.count_nonzero(keypoints_K3[:, 2] > 0))),
        segmentation=entry.get("segmentation"),
    )
