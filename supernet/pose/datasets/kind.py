"""What a dataset kind is: where its files lie, how they are read, and by which metric results on it are evaluated.

One file of this folder describes one kind, as a class derived from :class:`DatasetKind`, or from
:class:`.coco_kind.CocoKind` where the annotations have COCO's format; :data:`.kinds.KINDS` lists them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from supernet.errors import UserError
from supernet.pose.datasets.annotations import PoseImage
from supernet.pose.datasets.people import PersonInstance
from supernet.pose.keypoints import Skeleton
from supernet.pose.metrics.score import Score
from supernet.pose.protocols import Approach, Evaluator, KeypointDataset


class Files(NamedTuple):
    """Where a split lies: its annotation file, the folder or zip archive of its images, and its name where a file has several."""

    annotations: Path
    images: Path
    part: str = ""


class DatasetKind(ABC):
    """One kind of dataset.

    Attributes:
        name: by which published scores, and the folder of its synthetic form, are found.
        approaches: the values of DATASET.DATASET that mean this kind, and what a network is shown then.
        own_skeleton: the joints are those that the annotation file names.
        score: by which networks are compared.
        annotated_crops: people have their own crops also in testing, so that a detector's boxes are not used.
        one_result_each: the metric wants one result for each person of the dataset, in order; otherwise people of an image
            who repeat one another are left out.
        submission_suffix: ends the name of the file that :meth:`write_submission` writes.
    """

    name: ClassVar[str]
    approaches: ClassVar[Mapping[str, Approach]]
    own_skeleton: ClassVar[bool] = False
    score: ClassVar[Score]
    annotated_crops: ClassVar[bool] = False
    one_result_each: ClassVar[bool] = False
    submission_suffix: ClassVar[str] = ".json"

    @property
    @abstractmethod
    def skeleton(self) -> Skeleton:
        """The keypoints; a kind with fixed ones has them as a class attribute."""

    @abstractmethod
    def files(self, root: Path, split: str) -> Files:
        """Where a split lies under the dataset's folder, DATASET.ROOT."""

    def images(self, files: Files) -> KeypointDataset[PoseImage]:
        """The images of a split, with everybody on them: what a bottom-up network is shown.

        Raises:
            UserError: a file is missing or cannot be used, or the kind is top-down only.
        """
        raise UserError(f"dataset {self.name} has people one by one, no images: set DATASET.DATASET to a top-down name")

    @abstractmethod
    def people(self, files: Files) -> KeypointDataset[PersonInstance]:
        """The people of a split, each in the box or crop of the annotations.

        Raises:
            UserError: a file is missing or cannot be used.
        """

    def detected_people(self, files: Files, boxes: Path, lowest_score: float) -> KeypointDataset[PersonInstance]:
        """The people of a split in the boxes of a detector's file, those with at least this score.

        Raises:
            UserError: a file is missing or cannot be used.
        """
        raise UserError(f"dataset {self.name} has crops of its own: leave TEST.COCO_BBOX_FILE empty")

    def compare_joint_names(self, dataset: KeypointDataset[Any]) -> None:  # noqa: B027  # not every format has names
        """Refuse a dataset whose file calls the joints otherwise than :attr:`skeleton`; where there are no names, nothing is.

        Raises:
            UserError: a joint has another name; the first that differs is told.
        """

    def withheld(self, dataset: KeypointDataset[Any], split: str) -> bool:
        """Whether the annotations of a test split are not public: a submission is written then, and no score computed."""
        return False

    def metrics(self, skeleton: Skeleton) -> tuple[str, ...]:
        """Names of the numbers that the evaluator returns for people of this skeleton, those that TEST.SCORE may name."""
        return (self.score.name,)

    @abstractmethod
    def evaluator(
        self, dataset: KeypointDataset[Any], *, backend: str = "pycocotools", ground_truth: Path | None = None
    ) -> Evaluator:
        """The official metric on a dataset, or on a part of it, mean OKS and PCK beside it (:mod:`supernet.pose.metrics.people`).

        Args:
            dataset: as this kind has read it.
            backend: TEST.METRIC_BACKEND.
            ground_truth: in place of the metric's own file, where it has one (DATASET.MPII_GT).

        Raises:
            UserError: there is no ground truth, or the backend is not for this kind.
        """

    @abstractmethod
    def write_submission(self, path: Path, results: Sequence[Mapping[str, Any]]) -> None:
        """Write results as the dataset's own server takes them.

        Raises:
            UserError: the file cannot be written.
        """


def refuse_crowdposetools(backend: str) -> None:
    """Refuse CrowdPose's own program as the backend of another dataset.

    Raises:
        UserError: it is that.
    """
    if backend == "crowdposetools":
        raise UserError("TEST.METRIC_BACKEND crowdposetools evaluates CrowdPose only; write pycocotools")
