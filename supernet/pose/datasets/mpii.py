"""MPII human pose, from the annotation files of HRNet and mmpose (``annot/{train,valid,test,trainval}.json``).

Source: MPII (Andriluka et al., CVPR 2014) in the form of HRNet's programs: a list with one entry per person, 1-based
pixels, ``center`` of the body and ``scale`` = its height / 200. Shape legend: K joints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.io.files import read_json
from supernet.pose.datasets.images import find_images, image_path
from supernet.pose.datasets.kind import DatasetKind, Files, refuse_crowdposetools
from supernet.pose.datasets.people import PeopleDataset, PersonInstance
from supernet.pose.geometry import CROP_UNITS
from supernet.pose.keypoints import MPII, Skeleton
from supernet.pose.metrics.mpii import MpiiEvaluator
from supernet.pose.metrics.pckh import PCKH_METRICS
from supernet.pose.metrics.people import HEAD_PCK, AnnotatedPeople, PeopleEvaluator, WithPeople, person_metrics
from supernet.pose.metrics.score import Score
from supernet.pose.metrics.submissions import write_mpii
from supernet.pose.protocols import Evaluator, KeypointDataset

_LARGEST_FILE = 2**28  # bytes; MPII's own are below 20 MiB
_LARGEST_NUMBER = 1e9  # pixels
_LOWERED = 15  # pixels per unit of scale: the centre moves down, as annotated it lies above the body's middle
_PADDING = 1.25


class Mpii(DatasetKind):
    """``annot/<split>.json`` in the form of HRNet and mmpose, ``images``, and ``annot/gt_<split>.mat`` for the metric."""

    name = "mpii"
    approaches = {"mpii": "top-down"}
    skeleton = MPII
    score = Score("Mean", percent=True)
    annotated_crops = True
    one_result_each = True
    submission_suffix = "-pred.mat"

    def files(self, root: Path, split: str) -> Files:
        """Where a split lies."""
        return Files(root / "annot" / f"{split}.json", root / "images")

    def people(self, files: Files) -> PeopleDataset:
        """Everybody in the annotation file, in its order."""
        return mpii_people(files.annotations, files.images)

    def withheld(self, dataset: KeypointDataset[Any], split: str) -> bool:
        """Whether it is the test split."""
        return "test" in split

    def metrics(self, skeleton: Skeleton) -> tuple[str, ...]:
        """PCKh by joint, mean OKS and PCK; PCKh at 0.5 is ``Mean``, of head boxes and not of the joints' own segment."""
        return (*PCKH_METRICS, *(name for name in person_metrics(skeleton) if name != HEAD_PCK))

    def evaluator(
        self, dataset: KeypointDataset[Any], *, backend: str = "pycocotools", ground_truth: Path | None = None
    ) -> Evaluator:
        """PCKh, whose ground truth is ``gt_<split>.mat`` beside the annotation file, mean OKS and PCK, in percent.

        People's boxes and areas follow from their joints (:func:`supernet.pose.metrics.people.box_of_joints`).
        """
        refuse_crowdposetools(backend)
        people = cast(PeopleDataset, dataset)  # by mpii_people
        file = ground_truth or people.source.with_name(f"gt_{people.source.stem}.mat")
        official = MpiiEvaluator(file, [person.annotation_id for person in people], people.people_in_file)
        joints = [(person.image_id, person.annotation_id, person.keypoints_K3) for person in people]
        return WithPeople(official, PeopleEvaluator(AnnotatedPeople.of_joints(MPII, joints), head=False), percent=True)

    def write_submission(self, path: Path, results: Sequence[Mapping[str, Any]]) -> None:
        """Write ``pred.mat``."""
        keypoints = np.array([result["keypoints"] for result in results], np.float32)
        write_mpii(path, keypoints.reshape(-1, MPII.num_joints, 3))


def mpii_people(annotations: Path, images: Path) -> PeopleDataset:
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
    return PeopleDataset(people, MPII, numbers.values(), annotations)


@dataclass(frozen=True, eq=False)
class MpiiPerson:
    """One entry of the file.

    Attributes:
        image: File name of the image.
        center: float64 (2,): x, y of the crop's middle, 0-based pixels; lowered, so that legs are not cut.
        scale: float64 (2,): the crop's side / 200 pixels, twice the same number, padded by 1.25.
        keypoints_K3: float32 (x, y, v), 0-based pixels, v 0 or 1; all 0 in a file of the test set.
    """

    image: str
    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    keypoints_K3: NDArray[np.float32]


def read_mpii(annotations: Path) -> list[MpiiPerson]:
    """Everybody in the file, in its order, which is the order of the columns of ``gt_valid.mat``.

    Raises:
        UserError: The file is missing or not MPII's, or an entry cannot be used; the line names it by its position.
    """
    raw = read_json(annotations, max_bytes=_LARGEST_FILE)
    if not isinstance(raw, list) or not raw:
        raise UserError(f"{annotations}: no list of people: give MPII's annot/*.json in the form of HRNet or mmpose")
    return [_person(entry, f"{annotations}: entry {number}") for number, entry in enumerate(raw)]


def _person(entry: Any, where: str) -> MpiiPerson:
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        raise UserError(f"{where} has no 'image': give MPII's annot/*.json in the form of HRNet or mmpose")
    center = _numbers(entry, "center", (2,), where)
    scale = _numbers(entry, "scale", (), where).repeat(2)
    if center[0] != -1:  # -1: the file does not say where the person is, and the official program leaves it so
        if scale[0] <= 0:
            raise UserError(f"{where} ('{entry['image']}') has scale {entry['scale']}: correct or remove it")
        center[1] += _LOWERED * scale[1]
        scale *= _PADDING
    center -= 1
    keypoints_K3 = np.zeros((MPII.num_joints, 3), np.float32)
    if "joints" in entry:
        keypoints_K3[:, :2] = _numbers(entry, "joints", (MPII.num_joints, 2), where) - 1
        keypoints_K3[:, 2] = _numbers(entry, "joints_vis", (MPII.num_joints,), where) > 0
    return MpiiPerson(entry["image"], center, scale, keypoints_K3)


def _numbers(entry: dict[str, Any], key: str, shape: tuple[int, ...], where: str) -> NDArray[np.float64]:
    """The finite numbers of an entry's key, as float64 of this shape (joints may carry more columns)."""
    try:
        values = np.asarray(entry.get(key), np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.empty(0)
    if key == "joints" and values.ndim == 2:
        values = values[:, :2]
    if values.shape != shape or not (np.abs(values) <= _LARGEST_NUMBER).all():  # nan is not
        wanted = " x ".join(map(str, shape)) or "1"
        raise UserError(f"{where} ('{entry['image']}') has no usable '{key}', which is {wanted} numbers: correct it")
    return values
