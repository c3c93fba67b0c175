"""Mean OKS and PCK of annotated people, for every dataset: scores that tell networks apart long before their AP does.

AP of a briefly trained network is near 0, as it counts who is found with an OKS of 0.5 and more. The mean OKS and the share of
joints near their place move from the first hundred steps on. Each annotated person has one prediction or none:

- their own, where results say whose they are (``annotation_id``: a top-down network in annotated boxes);
- otherwise the one of the highest OKS with them among those of their image, the first of equal ones. Two people may share one:
  bottom-up networks, boxes of a detector, and people whose own prediction was dropped as the repetition of another one.

A person whose image has no prediction has an OKS of 0 and no joint right. Who is a crowd or has no labelled joint
(``num_keypoints`` 0) is not counted, as in the official programs. Labelled joints count whether visible or not.

Shape legend: P people, K joints, R results, N pairs of a person and a result. Coordinates are x before y in pixels of the image.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..keypoints import COCO, CROWDPOSE, Skeleton
from ..protocols import Evaluator
from .oks import BOX_SHARE

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

MEAN_OKS, TORSO_PCK, BOX_PCK, HEAD_PCK = "mOKS", "PCK@0.2", "PCK-box@0.2", "PCKh@0.5"
NEAR, NEAR_HEAD = 0.2, 0.5  # how far a joint may be off, in torsos or boxes and in heads
TORSOS = (("left_shoulder", "right_hip"), ("right_shoulder", "left_hip"))
HEADS = (("neck", "head_top"), ("neck", "head"), ("upper_neck", "head_top"))
BOX_MARGIN = 0.15  # of the longer side, on every side: the box of a person who has none in the annotations
OTHER_SIGMA = (
    0.079  # of joints that neither COCO nor CrowdPose has: that of the shoulders, as CrowdPose has for head and neck
)
_SIGMAS = {
    joint.removeprefix("left_").removeprefix("right_"): sigma
    for skeleton in (CROWDPOSE, COCO)
    for joint, sigma in zip(skeleton.joints, skeleton.oks_sigmas, strict=True)
}
_AT_ONCE = 2**16  # pairs


def person_metrics(skeleton: Skeleton) -> tuple[str, ...]:
    """What :class:`PeopleEvaluator` returns for people of this skeleton."""
    head = (HEAD_PCK,) if _segment(skeleton, HEADS) else ()
    return (MEAN_OKS, TORSO_PCK, BOX_PCK, *head)


def sigmas_of(skeleton: Skeleton) -> tuple[float, ...]:
    """OKS constants of any skeleton: its own, or else those that COCO and CrowdPose have for the same kind of joint."""
    if skeleton.sigmas:
        return skeleton.oks_sigmas
    kinds = [joint.removeprefix("left_").removeprefix("right_") for joint in skeleton.joints]
    return tuple(_SIGMAS.get(kind, OTHER_SIGMA) for kind in kinds)


def box_of_joints(keypoints_K3: NDArray[Any]) -> tuple[float, float, float, float]:
    """A person's box from joints: the extent of the labelled ones, and 0.15 of its longer side more on every side.

    Returns:
        x, y, width, height; all 0 where no joint is labelled.
    """
    labelled_N2 = np.asarray(keypoints_K3, np.float64)[np.asarray(keypoints_K3)[:, 2] > 0, :2]
    if not len(labelled_N2):
        return 0.0, 0.0, 0.0, 0.0
    (left, top), (width, height) = labelled_N2.min(0).tolist(), np.ptp(labelled_N2, axis=0).tolist()
    margin = BOX_MARGIN * max(width, height)
    return left - margin, top - margin, width + 2 * margin, height + 2 * margin


@dataclass(frozen=True, eq=False)
class AnnotatedPeople:
    """The people whom results are compared with.

    Attributes:
        skeleton: of everybody.
        images: id of each person's image.
        ids: of each person's annotation.
        keypoints_PK3: float64 (x, y, v); v above 0 is labelled.
        sides_P: the longer side of each person's box.
        areas_P: square pixels for OKS.
    """

    skeleton: Skeleton
    images: Sequence[int]
    ids: Sequence[int]
    keypoints_PK3: FloatArray
    sides_P: FloatArray
    areas_P: FloatArray

    @classmethod
    def of_coco(
        cls, ground_truth: Mapping[str, Any], skeleton: Skeleton, box_share: float | None = None
    ) -> AnnotatedPeople:
        """The people of COCO-format annotations who count.

        Args:
            ground_truth: the annotation file's content.
            skeleton: of everybody.
            box_share: the area is this share of the box, as CrowdPose's program has it; None takes ``area``, where there is one.
        """
        people, joints_P = [], []
        for entry in ground_truth["annotations"]:
            joints_K3 = np.asarray(entry["keypoints"], np.float64).reshape(-1, 3)
            labelled = int((joints_K3[:, 2] > 0).sum())
            if labelled and entry.get("num_keypoints", labelled) and not entry.get("iscrowd", 0):
                people.append(entry)
                joints_P.append(joints_K3)
        boxes_P2 = np.array([entry["bbox"][2:4] for entry in people], np.float64).reshape(-1, 2)
        areas_P = (BOX_SHARE if box_share is None else box_share) * boxes_P2[:, 0] * boxes_P2[:, 1]
        if box_share is None:
            areas_P = np.array(
                [entry.get("area", area) for entry, area in zip(people, areas_P, strict=True)], np.float64
            )
        images, ids = [entry["image_id"] for entry in people], [entry["id"] for entry in people]
        return cls(skeleton, images, ids, _stacked(joints_P, skeleton), boxes_P2.max(1, initial=0), areas_P)

    @classmethod
    def of_joints(cls, skeleton: Skeleton, people: Iterable[tuple[int, int, NDArray[Any]]]) -> AnnotatedPeople:
        """People of whom only the joints are annotated: id of the image, own id, keypoints (K, 3). See :func:`box_of_joints`."""
        counted = [person for person in people if (person[2][:, 2] > 0).any()]
        boxes_P4 = np.array([box_of_joints(joints_K3) for _, _, joints_K3 in counted]).reshape(-1, 4)
        return cls(
            skeleton,
            [image for image, _, _ in counted],
            [id for _, id, _ in counted],
            _stacked([joints_K3 for _, _, joints_K3 in counted], skeleton),
            boxes_P4[:, 2:].max(1, initial=0),
            BOX_SHARE * boxes_P4[:, 2] * boxes_P4[:, 3],
        )


class PeopleEvaluator:
    """Mean OKS and PCK of one set of people, prepared once to evaluate many results.

    Args:
        people: who is annotated.
        head: whether PCK of the head segment is among the numbers, where the skeleton has one.
    """

    def __init__(self, people: AnnotatedPeople, *, head: bool = True) -> None:
        """Measure torsos and heads."""
        self._people = people
        self._labelled_PK = people.keypoints_PK3[..., 2] > 0
        self._falloff_K = 2 * (2 * np.array(sigmas_of(people.skeleton))) ** 2
        torsos_P = self._lengths(TORSOS) if _segment(people.skeleton, TORSOS) else people.sides_P
        self._limits_P = {TORSO_PCK: NEAR * torsos_P, BOX_PCK: NEAR * people.sides_P}
        if head and _segment(people.skeleton, HEADS):
            self._limits_P[HEAD_PCK] = NEAR_HEAD * self._lengths(HEADS)

    def evaluate(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Compare results with everybody.

        Args:
            results: ``image_id`` and ``keypoints`` (x, y, anything) * K of each; with ``annotation_id``, those of that person.

        Returns:
            Fractions of 1, NaN where nobody counts:

            - ``mOKS``: mean over people of their object keypoint similarity (Lin et al., ECCV 2014; pycocotools).
            - ``PCK@0.2``: share of the labelled joints within 0.2 torsos of their place, the length from left shoulder to
              right hip as on LSP, or else from right shoulder to left hip (Sapp and Taskar, CVPR 2013). People of whom neither
              is labelled do not count. For a skeleton without these joints, of the box.
            - ``PCK-box@0.2``: the same within 0.2 of the longer side of the box (Yang and Ramanan, TPAMI 2013).
            - ``PCKh@0.5``, if the skeleton has neck and head: the same within half of that segment (Andriluka et al., CVPR 2014).
        """
        if not len(self._labelled_PK):
            return dict.fromkeys((MEAN_OKS, *self._limits_P), math.nan)
        oks_P, right = self._compared(results)
        scores = {MEAN_OKS: float(oks_P.mean())}
        for name, (right_P, counted_P) in right.items():
            scores[name] = float(right_P.sum() / counted_P.sum()) if counted_P.any() else math.nan
        return scores

    def by_person(self, results: Sequence[Mapping[str, Any]]) -> dict[str, FloatArray]:
        """The same of each person (P,), in their order: OKS, and shares of the labelled joints; NaN who does not count.

        For paired comparisons and split halves. The mean of these shares weighs people equally, :meth:`evaluate` joints.
        """
        oks_P, right = self._compared(results)
        with np.errstate(invalid="ignore"):  # 0 / 0 of those who do not count
            return {MEAN_OKS: oks_P, **{name: right_P / counted_P for name, (right_P, counted_P) in right.items()}}

    def _compared(
        self, results: Sequence[Mapping[str, Any]]
    ) -> tuple[FloatArray, dict[str, tuple[IntArray, IntArray]]]:
        """OKS (P,) of everybody, and for each kind of PCK how many joints of theirs are right and how many count."""
        joints = self._people.skeleton.num_joints
        found_RK2 = np.array([result["keypoints"] for result in results], np.float64).reshape(-1, joints, 3)[..., :2]
        oks_P, match_P = self._matched(results, found_RK2)
        distances_PK = np.full(self._labelled_PK.shape, math.inf)
        matched_P = match_P >= 0
        distances_PK[matched_P] = np.sqrt(self._squares(np.flatnonzero(matched_P), found_RK2[match_P[matched_P]]))
        right: dict[str, tuple[IntArray, IntArray]] = {}
        for name, limits_P in self._limits_P.items():
            counted_PK = self._labelled_PK & (limits_P > 0)[:, None]  # NaN is not
            right[name] = (counted_PK & (distances_PK <= limits_P[:, None])).sum(1), counted_PK.sum(1)
        return oks_P, right

    def _matched(self, results: Sequence[Mapping[str, Any]], found_RK2: FloatArray) -> tuple[FloatArray, IntArray]:
        """OKS (P,) of everybody with their prediction, and which result that is; 0 and -1 of whoever has none."""
        of_image: defaultdict[int, list[int]] = defaultdict(list)
        own: dict[int, int] = {}
        for place, result in enumerate(results):
            of_image[result["image_id"]].append(place)
            if "annotation_id" in result:
                own[result["annotation_id"]] = place
        candidates = [
            [own[id]] if id in own else of_image.get(image, [])
            for image, id in zip(self._people.images, self._people.ids, strict=True)
        ]
        counts_P = np.array([len(places) for places in candidates], np.intp)
        persons_N = np.repeat(np.arange(len(candidates)), counts_P)
        places_N = np.array([place for places in candidates for place in places], np.intp)
        oks_N = np.concatenate(
            [
                self._oks(persons_N[first : first + _AT_ONCE], found_RK2[places_N[first : first + _AT_ONCE]])
                for first in range(0, len(persons_N) or 1, _AT_ONCE)
            ]
        )
        oks_P, match_P = np.zeros(len(candidates)), np.full(len(candidates), -1, np.intp)
        # the best last, of equal ones the first: what is written last stays
        order_N = np.lexsort((-np.arange(len(oks_N)), oks_N))
        oks_P[persons_N[order_N]] = oks_N[order_N]
        match_P[persons_N[order_N]] = places_N[order_N]
        return oks_P, match_P

    def _oks(self, persons_N: IntArray, found_NK2: FloatArray) -> FloatArray:
        """OKS (N,) of pairs: the mean over labelled joints."""
        labelled_NK = self._labelled_PK[persons_N]
        falloff_NK = self._falloff_K * (self._people.areas_P[persons_N, None] + np.spacing(1))
        similarity_NK = np.exp(-self._squares(persons_N, found_NK2) / falloff_NK)
        return np.asarray((similarity_NK * labelled_NK).sum(1) / labelled_NK.sum(1))

    def _squares(self, persons_N: IntArray, found_NK2: FloatArray) -> FloatArray:
        """Squared distances (N, K); infinite where a prediction is no number."""
        offsets_NK2 = found_NK2 - self._people.keypoints_PK3[persons_N, :, :2]
        squares_NK = np.einsum("nkc,nkc->nk", offsets_NK2, offsets_NK2)
        return np.where(np.isnan(squares_NK), math.inf, squares_NK)

    def _lengths(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """Length (P,) of the first of some pairs of joints that is labelled and no point; NaN where there is none."""
        joints, lengths_P = self._people.skeleton.joints, np.full(len(self._labelled_PK), math.nan)
        for pair in reversed(pairs):
            if set(pair) <= set(joints):
                first, second = (joints.index(name) for name in pair)
                offset_P2 = self._people.keypoints_PK3[:, first, :2] - self._people.keypoints_PK3[:, second, :2]
                length_P = np.hypot(offset_P2[:, 0], offset_P2[:, 1])
                known_P = self._labelled_PK[:, first] & self._labelled_PK[:, second] & (length_P > 0)
                lengths_P[known_P] = length_P[known_P]
        return lengths_P


@dataclass(frozen=True)
class WithPeople:
    """The official metric of a dataset, and beside it mean OKS and PCK of its people in the same unit.

    Attributes:
        official: whose numbers stay as they are.
        people: evaluates the others.
        percent: the official numbers go from 0 to 100.
    """

    official: Evaluator
    people: PeopleEvaluator
    percent: bool = False

    def evaluate(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The scores of results; where a name is in both, it is the official number.

        Raises:
            UserError: the official metric cannot be computed.
        """
        scores, unit = self.official.evaluate(results), 100.0 if self.percent else 1.0
        others = {name: unit * value for name, value in self.people.evaluate(results).items()}
        return scores | {name: value for name, value in others.items() if name not in scores}


def _segment(skeleton: Skeleton, pairs: Iterable[tuple[str, str]]) -> bool:
    """Whether the skeleton has one of some pairs of joints."""
    return any(set(pair) <= set(skeleton.joints) for pair in pairs)


def _stacked(joints: Sequence[NDArray[Any]], skeleton: Skeleton) -> FloatArray:
    return np.array(joints, np.float64).reshape(-1, skeleton.num_joints, 3)
