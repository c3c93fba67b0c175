"""Dataset kinds whose annotations have COCO's format: all that they share but where their files lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.joint_names import compare_joint_names
from supernet.pose.datasets.kind import DatasetKind, Files, refuse_crowdposetools
from supernet.pose.datasets.people import PeopleDataset
from supernet.pose.datasets.people_of_images import annotated_people, detected_people
from supernet.pose.keypoints import Skeleton
from supernet.pose.metrics.oks import COCO_RULES, OksEvaluator, OksRules
from supernet.pose.metrics.people import AnnotatedPeople, PeopleEvaluator, WithPeople, person_metrics
from supernet.pose.metrics.score import Score
from supernet.pose.metrics.submissions import write_coco
from supernet.pose.protocols import Evaluator, KeypointDataset


class CocoKind(DatasetKind):
    """COCO's format, evaluated by the average precision of OKS; a subclass names itself and says where files lie.

    Attributes:
        rules: of the OKS metric.
    """

    score = Score("AP")
    rules: ClassVar[OksRules] = COCO_RULES

    def images(self, files: Files) -> PoseDataset:
        """The images of a split, with everybody on them."""
        return PoseDataset(files.annotations, files.images, self.skeleton)

    def people(self, files: Files) -> PeopleDataset:
        """The people of a split in their annotated boxes."""
        return annotated_people(self.images(files))

    def detected_people(self, files: Files, boxes: Path, lowest_score: float) -> PeopleDataset:
        """The people of a split in a detector's boxes."""
        return detected_people(self.images(files), boxes, lowest_score)

    def compare_joint_names(self, dataset: KeypointDataset[Any]) -> None:
        """Refuse a file whose category names other joints."""
        own = "keypoints, or keypoints_bottom_up for a network that sees the whole image"
        compare_joint_names(dataset, self.skeleton, f"set DATASET.DATASET to use the file's own joints ({own})")

    def withheld(self, dataset: KeypointDataset[Any], split: str) -> bool:
        """Whether the file lists images only."""
        return not dataset.has_annotations

    def metrics(self, skeleton: Skeleton) -> tuple[str, ...]:
        """Average precision and recall, mean OKS and PCK."""
        return (*self.rules.metrics, *person_metrics(skeleton))

    def evaluator(
        self, dataset: KeypointDataset[Any], *, backend: str = "pycocotools", ground_truth: Path | None = None
    ) -> Evaluator:
        """Average precision and recall of OKS, mean OKS and PCK."""
        content, skeleton = dataset.ground_truth(), dataset.skeleton
        official = self.official(content, skeleton, backend)
        return WithPeople(official, PeopleEvaluator(AnnotatedPeople.of_coco(content, skeleton, self.rules.box_share)))

    def official(self, content: Mapping[str, Any], skeleton: Skeleton, backend: str) -> Evaluator:
        """The official metric on an annotation file's content."""
        refuse_crowdposetools(backend)
        return OksEvaluator(content, skeleton, rules=self.rules, backend=backend)

    def write_submission(self, path: Path, results: Sequence[Mapping[str, Any]]) -> None:
        """Write COCO's results format."""
        write_coco(path, results)
