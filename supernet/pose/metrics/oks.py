"""The official OKS average precision of COCO and CrowdPose.

Sources: COCO keypoint evaluation (Lin et al., ECCV 2014; pycocotools), CrowdPose (Li et al., CVPR 2019).
Shape legend: K joints.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from supernet.errors import UserError
from supernet.pose.keypoints import COCO, CROWDPOSE, Skeleton
from supernet.pose.metrics.oks_backends import BACKENDS, FloatArray, index_of

Range = tuple[float, float]  # low, high

EVERY_SIZE: Range = (0.0, 1e5**2)  # square pixels
BOX_SHARE = 0.53  # CrowdPose has no segmentation: area = this share of the bounding box


@dataclass(frozen=True)
class OksRules:
    """In what the programs that evaluate by OKS differ.

    Attributes:
        sizes: area ranges by what is added to AP and AR: square pixels, low <= area <= high; all of them first.
        box_share: people have this share of their box as area; None takes the ``area`` of the annotation.
        crowd_classes: names of further APs, over images with low <= ``crowdIndex`` < high.
    """

    sizes: Mapping[str, Range] = field(default_factory=lambda: {"": EVERY_SIZE})
    box_share: float | None = None
    crowd_classes: Mapping[str, Range] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the numbers that :class:`OksEvaluator` returns under these rules, in its order."""
        parts = ("", "50", "75", *(size for size in self.sizes if size))
        return (*(f"{kind}{part}" for kind in ("AP", "AR") for part in parts), *self.crowd_classes)


COCO_RULES = OksRules(sizes={"": EVERY_SIZE, "M": (32.0**2, 96.0**2), "L": (96.0**2, 1e5**2)})
CROWDPOSE_RULES = OksRules(
    box_share=BOX_SHARE,
    crowd_classes={"APeasy": (-math.inf, 0.2), "APmedium": (0.2, 0.8), "APhard": (0.8, math.inf)},
)


def coco_ap(
    ground_truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    image_ids: Sequence[int] | None = None,
    *,
    backend: str = "pycocotools",
) -> dict[str, float]:
    """COCO keypoint AP and AR; a thin call of :class:`OksEvaluator`, which says what is expected and raised.

    Returns:
        ``AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL`` as fractions of 1.
    """
    return OksEvaluator(ground_truth, COCO, image_ids, backend=backend).evaluate(results)


def crowdpose_ap(
    ground_truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    image_ids: Sequence[int] | None = None,
    *,
    backend: str = "pycocotools",
) -> dict[str, float]:
    """CrowdPose AP and AR; a thin call of :class:`OksEvaluator`, which says what is expected and raised.

    Returns:
        ``AP, AP50, AP75, AR, AR50, AR75, APeasy, APmedium, APhard`` as fractions of 1; the last three (crowd index
        below 0.2, below 0.8, the rest) are rounded to 4 decimals as the official program does.
    """
    return OksEvaluator(ground_truth, CROWDPOSE, image_ids, rules=CROWDPOSE_RULES, backend=backend).evaluate(results)


class OksEvaluator:
    """The ground truth of a set of images, prepared once to evaluate many results.

    Args:
        ground_truth: a COCO-format annotation file's content (``images, annotations, categories``); not changed.
        skeleton: the joints, with ``sigmas``.
        image_ids: evaluate these images only (default all); results for the others are then passed over.
        rules: areas and groups of images, as the dataset's official program has them.
        backend: ``"pycocotools"``, or ``"faster"`` for faster-coco-eval, which gives the same numbers and starts
            one thread per core.

    Raises:
        UserError: the ground truth, the skeleton, an image id or the backend is not usable.
    """

    def __init__(
        self,
        ground_truth: Mapping[str, Any],
        skeleton: Skeleton,
        image_ids: Sequence[int] | None = None,
        *,
        rules: OksRules = COCO_RULES,
        backend: str = "pycocotools",
    ) -> None:
        if not skeleton.sigmas:
            raise UserError(
                f"skeleton {skeleton.name!r} has no OKS sigmas: evaluate it by another metric, or give sigmas"
            )
        if backend not in BACKENDS:
            raise UserError(f"backend {backend!r} is not known: choose one of {', '.join(BACKENDS)}")
        self.skeleton = skeleton
        self.rules = rules
        self._evaluate = BACKENDS[backend]
        self._sigmas: FloatArray = np.array(skeleton.oks_sigmas)

        for key in ("images", "annotations", "categories"):
            if key not in ground_truth:
                raise UserError(f"the ground truth has no {key!r}: give a keypoint annotation file")
        self._known_ids = {image["id"] for image in ground_truth["images"]}
        chosen = self._known_ids if image_ids is None else set(image_ids)
        if not chosen:
            raise UserError("the ground truth has no image to evaluate: give an annotation file with images")
        if unknown := chosen - self._known_ids:
            raise UserError(
                f"image id {min(unknown, key=str)!r} to evaluate is not among the ground truth's images: check the ids"
            )
        self._images = [image for image in ground_truth["images"] if image["id"] in chosen]
        self._categories = [dict(category) for category in ground_truth["categories"]]
        self._chosen = chosen
        people = [person for person in ground_truth["annotations"] if person["image_id"] in chosen]
        # Numbered anew from 1: the evaluators take a person with id 0 for "not matched".
        prepared = [self._person(number, person) for number, person in enumerate(people, start=1)]
        self._ground_truth = index_of(self._images, self._categories, prepared)
        self._groups = [sorted(chosen), *self._crowd_classes()]

    def evaluate(self, results: Sequence[Mapping[str, Any]], *, rounded: bool = True) -> dict[str, float]:
        """Evaluate detections.

        Args:
            results: one mapping per person: ``image_id``, ``keypoints`` (x, y, anything) * K in pixels of the
                image, ``score``, optionally ``category_id`` (default 1) and ``bbox`` (x, y, width, height; the
                area it gives decides, as officially, whether the first result has one). Not changed. An empty
                sequence scores zero.
            rounded: False leaves CrowdPose's ``APeasy, APmedium, APhard`` unrounded.

        Returns:
            The numbers that :func:`coco_ap` or :func:`crowdpose_ap` names. One is NaN (the official programs print
            -1) where the ground truth has no person of that kind, so that a missing kind is not taken for a failure.

        Raises:
            UserError: a result lacks an entry, has another number of joints, a number that is not finite (the
                official programs count such a person as a perfect match), or an image id that is not known.
        """
        detections = index_of(self._images, self._categories, self._detections(results))
        areas = list(self.rules.sizes.values())
        with contextlib.redirect_stdout(io.StringIO()):  # the evaluators report their progress by print
            tables = self._evaluate(self._ground_truth, detections, self._sigmas, areas, self._groups)
        precision, recall = tables[0]
        scores: dict[str, float] = {}
        for kind, table in (("AP", precision), ("AR", recall)):
            scores[kind] = _mean(table[..., 0, :])
            scores[f"{kind}50"] = _mean(table[0, ..., 0, :])
            scores[f"{kind}75"] = _mean(table[5, ..., 0, :])
            scores |= {f"{kind}{size}": _mean(table[..., i, :]) for i, size in enumerate(self.rules.sizes) if i}
        for name, (split_precision, _) in zip(self.rules.crowd_classes, tables[1:], strict=True):
            score = _mean(split_precision)
            scores[name] = round(score, 4) if rounded else score
        return scores

    def _person(self, number: int, person: Mapping[str, Any]) -> dict[str, Any]:
        """A private copy of a ground truth person with what the evaluators need."""
        prepared = {"iscrowd": 0, **person, "id": number}
        prepared.pop("segmentation", None)
        needed = ("keypoints", "num_keypoints", "bbox", "category_id") + (
            ("area",) if self.rules.box_share is None else ()
        )
        for key in needed:
            if key not in prepared:
                raise UserError(f"ground truth annotation {person.get('id')!r} has no {key!r}: give a keypoint file")
        prepared["keypoints"] = np.array(person["keypoints"])
        if prepared["keypoints"].shape != (3 * self.skeleton.num_joints,):
            raise UserError(
                f"ground truth annotation {person.get('id')!r} has {prepared['keypoints'].size / 3:g} joints, skeleton "
                f"{self.skeleton.name!r} has {self.skeleton.num_joints}: give the file or the skeleton that fits"
            )
        if self.rules.box_share is not None:
            width, height = person["bbox"][2:4]
            prepared["area"] = width * height * self.rules.box_share
        return prepared

    def _crowd_classes(self) -> list[list[int]]:
        """Ids of the images of each crowd class."""
        if not self.rules.crowd_classes:
            return []
        for image in self._images:
            if "crowdIndex" not in image:
                raise UserError(f"ground truth image {image['id']!r} has no 'crowdIndex': give CrowdPose's own file")
        return [
            sorted(image["id"] for image in self._images if low <= image["crowdIndex"] < high)
            for low, high in self.rules.crowd_classes.values()
        ]

    def _detections(self, results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Private, checked copies of the results, with the areas that ``COCO.loadRes`` gives them."""
        boxed = bool(results) and len(results[0].get("bbox", ())) > 0
        detections: list[dict[str, Any]] = []
        for number, result in enumerate(results):
            for key in ("image_id", "keypoints", "score", *(("bbox",) if boxed else ())):
                if key not in result:
                    raise UserError(f"result {number} has no {key!r}: give image_id, keypoints and score of every one")
            image_id = result["image_id"]
            if image_id not in self._known_ids:
                raise UserError(
                    f"result {number} is for image {image_id!r}, which is not in the ground truth: check the ids"
                )
            keypoints = np.asarray(result["keypoints"], dtype=np.float64).reshape(-1)
            if keypoints.size != 3 * self.skeleton.num_joints:
                raise UserError(
                    f"result {number} (image {image_id!r}) has {keypoints.size / 3:g} joints, skeleton "
                    f"{self.skeleton.name!r} has {self.skeleton.num_joints}: give x, y, score of each"
                )
            if boxed:
                width, height = result["bbox"][2:4]
            else:
                width, height = np.ptp(keypoints[0::3]), np.ptp(keypoints[1::3])
            if not (np.isfinite(keypoints).all() and math.isfinite(result["score"]) and math.isfinite(width * height)):
                raise UserError(
                    f"result {number} (image {image_id!r}) has a number that is not finite: check the network's weights"
                )
            if image_id not in self._chosen:
                continue
            detections.append(
                {
                    "id": len(detections) + 1,
                    "image_id": image_id,
                    "category_id": result.get("category_id", 1),
                    "keypoints": keypoints,
                    "score": float(result["score"]),
                    "area": float(width * height),
                    "iscrowd": 0,
                }
            )
        return detections


def _mean(table: FloatArray) -> float:
    """Mean of the defined entries, NaN where there are none."""
    defined = table[table > -1]
    return float(np.mean(defined)) if defined.size else math.nan
