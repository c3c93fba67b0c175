"""The official OKS average precision of COCO and CrowdPose.

Sources: COCO keypoint evaluation (Lin et al., ECCV 2014; pycocotools), CrowdPose (Li et al., CVPR 2019).
Shape legend: N people, K joints, T OKS thresholds, R recall points, C categories, A area ranges.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO as CocoIndex
from pycocotools.cocoeval import COCOeval

from supernet.errors import UserError
from supernet.pose.keypoints import SKELETONS, Skeleton

FloatArray = NDArray[np.float64]
Tables = tuple[FloatArray, FloatArray]  # precision (T, R, C, A, 1) and recall (T, C, A, 1); -1 where undefined
UNDEFINED: Tables = (np.full((1,) * 5, -1.0), np.full((1,) * 4, -1.0))  # of a group without images
Evaluate = Callable[[CocoIndex, CocoIndex, FloatArray, list[tuple[float, float]], list[list[int]]], list[Tables]]

EVERY_SIZE = (0.0, 1e5**2)
SIZES = {"": EVERY_SIZE, "M": (32.0**2, 96.0**2), "L": (96.0**2, 1e5**2)}  # COCO's areas, square pixels
CROWDPOSE_AREA = 0.53  # CrowdPose has no segmentation: area = this share of the bounding box
CROWD_CLASSES = {"APeasy": (-math.inf, 0.2), "APmedium": (0.2, 0.8), "APhard": (0.8, math.inf)}  # low <= index < high


def coco_ap(
    ground_truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    image_ids: Sequence[int] | None = None,
    *,
    backend: str = "pycocotools",
) -> dict[str, float]:
    """COCO keypoint AP and AR; a thin call of :class:`Evaluate`, which says what is expected and raised.

    Returns:
        ``AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL`` as fractions of 1.
    """
    return OksEvaluator(ground_truth, "coco", image_ids, backend=backend).evaluate(results)


def crowdpose_ap(
    ground_truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    image_ids: Sequence[int] | None = None,
    *,
    backend: str = "pycocotools",
) -> dict[str, float]:
    """CrowdPose AP and AR; a thin call of :class:`Evaluate`, which says what is expected and raised.

    Returns:
        ``AP, AP50, AP75, AR, AR50, AR75, APeasy, APmedium, APhard`` as fractions of 1; the last three (crowd index
        below 0.2, below 0.8, the rest) are rounded to 4 decimals as the official program does.
    """
    return OksEvaluator(ground_truth, "crowdpose", image_ids, backend=backend).evaluate(results)


EVALUATORS: dict[str, Callable[..., dict[str, float]]] = {"coco": coco_ap, "crowdpose": crowdpose_ap}


class OksEvaluator:
    """The ground truth of a set of images, prepared once to evaluate many results.

    Args:
        ground_truth: a COCO-format annotation file's content (``images, annotations, categories``); not changed.
        skeleton: ``"coco"``, ``"crowdpose"`` or a skeleton of one's own with ``sigmas``, evaluated by COCO's protocol.
        image_ids: evaluate these images only (default all); results for the others are then passed over.
        backend: ``"pycocotools"``, or ``"faster"`` for faster-coco-eval, which gives the same numbers and starts
            one thread per core.

    Raises:
        UserError: the ground truth, the skeleton, an image id or the backend is not usable.
    """

    def __init__(
        self,
        ground_truth: Mapping[str, Any],
        skeleton: str | Skeleton,
        image_ids: Sequence[int] | None = None,
        *,
        backend: str = "pycocotools",
    ) -> None:
        if isinstance(skeleton, str):
            if skeleton not in SKELETONS:
                raise UserError(f"skeleton {skeleton!r} is not known: choose one of {', '.join(SKELETONS)}")
            skeleton = SKELETONS[skeleton]
        if not skeleton.sigmas:
            raise UserError(f"skeleton {skeleton.name!r} has no OKS sigmas: evaluate it by pckh, or give sigmas")
        if backend not in BACKENDS:
            raise UserError(f"backend {backend!r} is not known: choose one of {', '.join(BACKENDS)}")
        self.skeleton = skeleton
        self._crowded = skeleton.name == "crowdpose"
        self._evaluate = BACKENDS[backend]
        # The official programs write tenths and divide; 0.26 / 10 is not 0.026 in the last bit.
        self._sigmas: FloatArray = np.round(np.array(skeleton.sigmas) * 10, 2) / 10

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
        self._ground_truth = _index(self._images, self._categories, prepared)
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
        detections = _index(self._images, self._categories, self._detections(results))
        areas = [EVERY_SIZE] if self._crowded else list(SIZES.values())
        with contextlib.redirect_stdout(io.StringIO()):  # the evaluators report their progress by print
            tables = self._evaluate(self._ground_truth, detections, self._sigmas, areas, self._groups)
        precision, recall = tables[0]
        scores: dict[str, float] = {}
        for kind, table in (("AP", precision), ("AR", recall)):
            scores[kind] = _mean(table[..., 0, :])
            scores[f"{kind}50"] = _mean(table[0, ..., 0, :])
            scores[f"{kind}75"] = _mean(table[5, ..., 0, :])
            if not self._crowded:
                scores[f"{kind}M"] = _mean(table[..., 1, :])
                scores[f"{kind}L"] = _mean(table[..., 2, :])
        for name, (split_precision, _) in zip(CROWD_CLASSES, tables[1:], strict=False):
            score = _mean(split_precision)
            scores[name] = round(score, 4) if rounded else score
        return scores

    def _person(self, number: int, person: Mapping[str, Any]) -> dict[str, Any]:
        """A private copy of a ground truth person with what the evaluators need."""
        prepared = {"iscrowd": 0, **person, "id": number}
        prepared.pop("segmentation", None)
        needed = ("keypoints", "num_keypoints", "bbox", "category_id") + (() if self._crowded else ("area",))
        for key in needed:
            if key not in prepared:
                raise UserError(f"ground truth annotation {person.get('id')!r} has no {key!r}: give a keypoint file")
        prepared["keypoints"] = np.array(person["keypoints"])
        if prepared["keypoints"].shape != (3 * self.skeleton.num_joints,):
            raise UserError(
                f"ground truth annotation {person.get('id')!r} has {prepared['keypoints'].size / 3:g} joints, skeleton "
                f"{self.skeleton.name!r} has {self.skeleton.num_joints}: give the file or the skeleton that fits"
            )
        if self._crowded:
            width, height = person["bbox"][2:4]
            prepared["area"] = width * height * CROWDPOSE_AREA
        return prepared

    def _crowd_classes(self) -> list[list[int]]:
        """Ids of the images of each crowd class (CrowdPose only)."""
        if not self._crowded:
            return []
        for image in self._images:
            if "crowdIndex" not in image:
                raise UserError(f"ground truth image {image['id']!r} has no 'crowdIndex': give CrowdPose's own file")
        return [
            sorted(image["id"] for image in self._images if low <= image["crowdIndex"] < high)
            for low, high in CROWD_CLASSES.values()
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
                raise UserError(f"result {number} (image {image_id!r}) has a number that is not finite: mend the model")
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


def _index(images: list[Any], categories: list[Any], annotations: list[dict[str, Any]]) -> CocoIndex:
    """The evaluators' index over annotations, without reading a file."""
    index = CocoIndex()
    index.dataset = {"images": images, "categories": categories, "annotations": annotations}
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    return index


def _evaluate_pycocotools(
    ground_truth: CocoIndex,
    detections: CocoIndex,
    sigmas: FloatArray,
    areas: list[tuple[float, float]],
    groups: list[list[int]],
) -> list[Tables]:
    """Precision and recall over each group of image ids; the first group holds all of them.

    People are matched once; a group then accumulates its own images' matches, which is what a fresh evaluation gives.
    """
    evaluator = COCOeval(ground_truth, detections, "keypoints")
    evaluator.params.kpt_oks_sigmas = sigmas
    evaluator.params.areaRng = [list(area) for area in areas]
    evaluator.evaluate()
    every_id, every_match = list(evaluator.params.imgIds), evaluator.evalImgs
    tables = []
    for group in groups:
        members = set(group)
        wanted = [image_id in members for image_id in every_id] * (len(every_match) // len(every_id))
        evaluator.evalImgs = [match for match, take in zip(every_match, wanted, strict=True) if take]
        for params in (evaluator.params, evaluator._paramsEval):
            params.imgIds = list(group)
        if not group:
            tables.append(UNDEFINED)
            continue
        evaluator.accumulate()
        tables.append((evaluator.eval["precision"], evaluator.eval["recall"]))
    return tables


def _evaluate_faster(
    ground_truth: CocoIndex,
    detections: CocoIndex,
    sigmas: FloatArray,
    areas: list[tuple[float, float]],
    groups: list[list[int]],
) -> list[Tables]:
    """As :func:`_evaluate_pycocotools` by faster-coco-eval, which has to match anew for every group."""
    try:
        faster = importlib.import_module("faster_coco_eval")
    except ImportError:
        raise UserError("backend 'faster' needs faster-coco-eval: pip install faster-coco-eval") from None
    indices = [faster.COCO(index.dataset) for index in (ground_truth, detections)]
    tables = []
    for group in groups:
        if not group:
            tables.append(UNDEFINED)
            continue
        evaluator = faster.COCOeval_faster(*indices, iouType="keypoints", kpt_oks_sigmas=sigmas)
        evaluator.params.areaRng = [list(area) for area in areas]
        evaluator.params.imgIds = list(group)
        evaluator.evaluate()
        evaluator.accumulate()
        tables.append((np.asarray(evaluator.eval["precision"]), np.asarray(evaluator.eval["recall"])))
    return tables


BACKENDS: dict[str, Evaluate] = {"pycocotools": _evaluate_pycocotools, "faster": _evaluate_faster}
