"""Average precision of boxes and masks: pycocotools called directly has the same, and unusual files are no surprise."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from supernet import UserError
from supernet.detection.decoding import Detections
from supernet.detection.evaluation import STATISTICS, evaluate, results_of

IDS = (1, 3, 90)  # with gaps, as COCO's


def ellipse(cx: float, cy: float, w: float, h: float) -> list[float]:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return [float(value) for angle in angles for value in (cx + w / 2 * np.cos(angle), cy + h / 2 * np.sin(angle))]


def scene() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """50 images with up to four things, one crowd in six; detections near them, with masks, and false ones."""
    rng = np.random.default_rng(0)
    truth: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": id, "name": f"c{id}"} for id in IDS],
    }
    results: list[dict[str, Any]] = []
    for image in range(50):
        truth["images"].append({"id": image, "width": 160, "height": 120, "file_name": f"{image}.jpg"})
        boxes, labels = [], []
        for _ in range(rng.integers(0, 5)):
            cx, cy, w, h = rng.uniform(20, 140), rng.uniform(20, 100), *rng.uniform(8, 120, 2)
            label = int(rng.integers(3))
            entry = {
                "id": len(truth["annotations"]) + 1, "image_id": image, "category_id": IDS[label], "iscrowd": 0,
                "bbox": [cx - w / 2, cy - h / 2, w, h], "area": w * h * 0.78, "segmentation": [ellipse(cx, cy, w, h)],
            }  # fmt: skip
            if rng.random() < 1 / 6:
                runs = [100, 4000, 160 * 120 - 4100]
                entry |= {"iscrowd": 1, "segmentation": {"size": [120, 160], "counts": runs}, "area": 4000.0}
            truth["annotations"].append(entry)
            shift = rng.normal(0, 5, 4)
            boxes.append(np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]) + shift)
            labels.append(label)
        boxes.append(rng.uniform(0, 60, 4) + np.array([0, 0, 60, 60]))
        labels.append(int(rng.integers(3)))
        corners = torch.tensor(np.array(boxes))
        y, x = torch.meshgrid(torch.arange(120) + 0.5, torch.arange(160) + 0.5, indexing="ij")
        inside = [((x - b[0]) * (b[2] - x) > 0) & ((y - b[1]) * (b[3] - y) > 0) for b in corners]
        found = Detections(corners, torch.from_numpy(rng.random(len(boxes))), torch.tensor(labels))
        results += results_of(image, found, IDS, torch.stack(inside))
    return truth, results


def directly(truth: dict[str, Any], results: list[dict[str, Any]], kind: str, folder: Path) -> list[float]:
    """Through files, as its documentation shows; results of one kind."""
    unwanted = "segmentation" if kind == "bbox" else "bbox"
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(
        json.dumps([{key: value for key, value in entry.items() if key != unwanted} for entry in results])
    )
    with contextlib.redirect_stdout(io.StringIO()):
        index = COCO(str(folder / "truth.json"))
        evaluator = COCOeval(index, index.loadRes(str(folder / "results.json")), kind)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [float(value) for value in evaluator.stats]


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_precision_is_pycocotools(kind: Any, tmp_path: Path) -> None:
    """Difference 0.0; what was given is not changed."""
    truth, results = scene()
    before = copy.deepcopy((truth, results))
    found = evaluate(truth, results, kind)
    assert list(found) == list(STATISTICS)
    assert list(found.values()) == directly(truth, results, kind, tmp_path)
    assert 0.05 < found["AP"] < found["AP50"] < 1
    assert (truth, results) == before


def test_a_file_without_areas() -> None:
    """Those of the boxes, or of the masks; AP of all sizes does not depend on them."""
    truth, results = scene()
    whole = evaluate(truth, results, "bbox")
    for entry in truth["annotations"]:
        del entry["area"]
        if not entry["iscrowd"]:
            del entry["iscrowd"]
    assert evaluate(truth, results, "bbox")["AP"] == whole["AP"]
    assert 0 < evaluate(truth, results, "segm")["AP50"] < 1


def test_nothing_found_and_nothing_to_find() -> None:
    truth, results = scene()
    assert evaluate(truth, [], "bbox")["AP"] == 0
    assert evaluate({**truth, "annotations": []}, results, "segm")["AP"] == -1


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"image_id": 999}, "bbox", "image 999 is not in the annotations; evaluate on the file predicted on"),
        ({"category_id": 2}, "bbox", "category 2 is not in the annotations; they have 1, 3, 90"),
    ],
)
def test_results_of_something_else(change: dict[str, Any], kind: Any, message: str) -> None:
    truth, results = scene()
    with pytest.raises(UserError, match=message):
        evaluate(truth, [*results, {**results[0], **change}], kind)


def test_masks_that_are_not_there() -> None:
    truth, results = scene()
    without = [{key: value for key, value in entry.items() if key != "segmentation"} for entry in results]
    with pytest.raises(UserError, match="those of image 0 have no masks; evaluate their boxes"):
        evaluate(truth, without, "segm")
    truth["annotations"][4] = {**truth["annotations"][4], "segmentation": []}
    with pytest.raises(UserError, match="annotations: 5 has no segmentation; evaluate boxes"):
        evaluate(truth, results, "segm")
