"""Detections and masks in COCO's results format, and COCO's average precision of boxes and masks (pycocotools)."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO as CocoIndex
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from ..errors import UserError
from .decoding import Detections

#: In the order of COCOeval's statistics; -1 where the ground truth has nothing of that kind.
STATISTICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def results_of(
    image_id: int, found: Detections, category_ids: Sequence[int], masks: Tensor | None = None
) -> list[dict[str, Any]]:
    """Detections of one image as entries of COCO's results format: x, y, width, height in pixels, run lengths of masks.

    Args:
        image_id: of the annotation file.
        found: in pixels of the image.
        category_ids: of each class, by its label; ids may have gaps.
        masks: (N, H, W), bool, of the whole image (:func:`.masks.paste`), or None.
    """
    boxes, scores = found.boxes.cpu().double().numpy(), found.scores.cpu().double().numpy()
    entries: list[dict[str, Any]] = [
        {
            "image_id": image_id,
            "category_id": int(category_ids[label]),
            "bbox": [float(x0), float(y0), float(x1 - x0), float(y1 - y0)],
            "score": float(score),
        }
        for (x0, y0, x1, y1), score, label in zip(boxes, scores, found.labels.tolist(), strict=True)
    ]
    if masks is not None:
        for entry, mask in zip(entries, masks.cpu().numpy(), strict=True):
            lengths = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            entry["segmentation"] = {"size": list(lengths["size"]), "counts": lengths["counts"].decode()}
    return entries


def evaluate(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], kind: Literal["bbox", "segm"]
) -> dict[str, float]:
    """COCO's average precision and recall, by the names of :data:`STATISTICS`.

    Args:
        ground_truth: what an ``instances_*.json`` holds: images, categories, annotations. An annotation without ``area`` has
            that of its mask (``segm``) or box, one without ``iscrowd`` is no crowd. It is not changed.
        results: entries as :func:`results_of` makes them; none are a result, too.
        kind: boxes or masks.

    Raises:
        UserError: an image or category of the results, or a segmentation, is not there; the line names it.
    """
    images = {image["id"]: image for image in ground_truth["images"]}
    categories = {category["id"] for category in ground_truth["categories"]}
    for entry in results:
        if entry["image_id"] not in images:
            raise UserError(
                f"results: image {entry['image_id']} is not in the annotations; evaluate on the file predicted on"
            )
        if entry["category_id"] not in categories:
            raise UserError(
                f"results: category {entry['category_id']} is not in the annotations; they have "
                f"{', '.join(map(str, sorted(categories)))}"
            )
        if kind == "segm" and "segmentation" not in entry:
            raise UserError(f"results: those of image {entry['image_id']} have no masks; evaluate their boxes")
    annotations = [_complete(entry, images, kind) for entry in ground_truth["annotations"]]
    truth, found = CocoIndex(), CocoIndex()
    header = {"images": list(ground_truth["images"]), "categories": list(ground_truth["categories"])}
    truth.dataset = {**header, "annotations": annotations}
    found.dataset = {**header, "annotations": []}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found.createIndex()
        if results:
            found = truth.loadRes([copy.deepcopy(dict(entry)) for entry in _of_kind(results, kind)])
        evaluator = COCOeval(truth, found, kind)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return dict(zip(STATISTICS, map(float, evaluator.stats), strict=True))


def _of_kind(results: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    """Entries without what would make pycocotools take areas from the other kind: of boxes from masks, of masks from boxes."""
    unwanted = "segmentation" if kind == "bbox" else "bbox"
    return [{key: value for key, value in entry.items() if key != unwanted} for entry in results]


def _complete(entry: Mapping[str, Any], images: Mapping[int, Any], kind: str) -> dict[str, Any]:
    """An annotation with area and iscrowd."""
    complete = {"iscrowd": 0, **copy.deepcopy(dict(entry))}
    shape = complete.get("segmentation")
    if kind == "segm" and not shape:
        raise UserError(f"annotations: {entry['id']} has no segmentation; evaluate boxes, or give a file with masks")
    if complete.get("area") is None:
        _, _, width, height = complete["bbox"]
        area = float(width * height)
        if kind == "segm":
            size = images[entry["image_id"]]["height"], images[entry["image_id"]]["width"]
            area = float(coco_mask.area(_run_lengths(shape, *size)))
        complete["area"] = area
    return complete


def _run_lengths(shape: Any, height: int, width: int) -> Any:
    """Compressed run lengths of polygons, or of run lengths as they stand in files."""
    if isinstance(shape, list):
        return coco_mask.merge(coco_mask.frPyObjects(shape, height, width))
    return coco_mask.frPyObjects(shape, height, width) if isinstance(shape["counts"], list) else shape
