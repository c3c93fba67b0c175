"""The programs that match people by OKS and accumulate precision and recall: pycocotools, or faster-coco-eval.

Shape legend: T OKS thresholds, R recall points, C categories, A area ranges.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO as CocoIndex
from pycocotools.cocoeval import COCOeval

from supernet.errors import UserError

FloatArray = NDArray[np.float64]
Tables = tuple[FloatArray, FloatArray]  # precision (T, R, C, A, 1) and recall (T, C, A, 1); -1 where undefined
UNDEFINED: Tables = (np.full((1,) * 5, -1.0), np.full((1,) * 4, -1.0))  # of a group without images
Backend = Callable[[CocoIndex, CocoIndex, FloatArray, list[tuple[float, float]], list[list[int]]], list[Tables]]


def index_of(images: list[Any], categories: list[Any], annotations: list[dict[str, Any]]) -> CocoIndex:
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


BACKENDS: dict[str, Backend] = {"pycocotools": _evaluate_pycocotools, "faster": _evaluate_faster}
