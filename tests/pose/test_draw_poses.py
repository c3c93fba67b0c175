"""tools/draw_poses.py for both approaches, with networks that know the truth: what is found lies where the truth lies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces import hrnet, litepose
from supernet.errors import UserError
from supernet.pipeline.run import Run
from supernet.pose.datasets.images import read_image
from supernet.pose.synthetic.dataset import make_synthetic
from tests.paths import ROOT
from tests.pose.top_down.test_task import Oracle
from tools import draw_poses
from tools.bench.decoding_bound import perfect_outputs

INPUT_HW = (128, 96)
CELL, SHOWN = 160, 3
TOP_DOWN = "TEST.FLIP_TEST", "false", "TEST.POST_PROCESS", "true"
CASES = {
    "coco": ("hrnet", "train2017", "val2017", "17", ("TEST.USE_GT_BBOX", "true", *TOP_DOWN)),
    "crowdpose": ("hrnet", "trainval", "test", "14", ("TEST.USE_GT_BBOX", "true", *TOP_DOWN)),
    "mpii": ("hrnet", "train", "valid", "16", TOP_DOWN),
    "coco_kpt": ("litepose", "train2017", "val2017", "17", ("TEST.FLIP_TEST", "false")),
}


class CrowdOracle(nn.Module):
    """Outputs the true maps of images of one size, in order."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.outputs = [perfect_outputs(image, INPUT_HW[0]) for image in run.test]

    def forward(self, images: Tensor) -> list[Tensor]:
        answered, self.outputs = self.outputs[: len(images)], self.outputs[len(images) :]
        return [torch.cat(maps) for maps in zip(*answered, strict=True)]


def oracle(run: Run, _: Any) -> tuple[nn.Module, Any]:
    if run.data.approach == "top-down":
        return Oracle(run.test, INPUT_HW), replace(hrnet.SMALL.smallest, resolution=INPUT_HW)
    return CrowdOracle(run), litepose.SMALL.restrict({"resolution": [INPUT_HW[0]]}).smallest


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("draw") / "data"
    make_synthetic(folder, train=1, val=5, width=CELL, height=CELL, max_people=3, seed=5)
    yield folder


def draw(data: Path, dataset: str, out: Path, *more: str) -> Path:
    family, train, test, joints, settings = CASES[dataset]
    root = data / {"coco_kpt": "coco"}.get(dataset, dataset)
    given = ["--cfg", str(ROOT / "experiments" / "synthetic" / f"{family}.yaml"), "--out", str(out), *more]
    given += ["DATASET.DATASET", dataset, "DATASET.ROOT", str(root), "DATASET.TRAIN", train, "DATASET.TEST", test]
    given += ["MODEL.NUM_JOINTS", joints, "DATASET.SYNTHETIC.TRAIN", "0", "WORKERS", "0", "DEVICE", "cpu", *settings]
    draw_poses.main(given)
    return out


def marks(sheet: Any, column: int, row: int, image: Any) -> Any:
    """Which pixels of a cell have been drawn on."""
    cell = sheet[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
    return np.abs(cell.astype(int) - image).max(axis=2) > 60


@pytest.mark.parametrize("dataset", list(CASES))
def test_what_is_found_lies_on_the_truth(
    dataset: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(draw_poses, "network_of", oracle)
    out = draw(data, dataset, tmp_path / "poses.png", "--images", str(SHOWN), "--cell", str(CELL))
    assert capsys.readouterr().out == f"{out}\n"
    sheet = cv2.cvtColor(cv2.imread(str(out)), cv2.COLOR_BGR2RGB)
    assert sheet.shape == (2 * CELL, SHOWN * CELL, 3)
    paths = sorted((data / "coco" / "images" / "val2017").iterdir())  # the same images in all layouts, in this order
    for column, path in enumerate(paths[:SHOWN]):
        truth, found = (marks(sheet, column, row, read_image(path)) for row in (0, 1))
        assert truth.sum() > 50
        near = cv2.dilate(truth.astype(np.uint8), np.ones((7, 7)))
        assert found[near > 0].sum() > 0.95 * found.sum() and found.sum() > 0.6 * truth.sum()


def test_a_detectors_people_stand_below_the_annotated_ones(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations = json.loads((data / "coco" / "annotations" / "person_keypoints_val2017.json").read_text())
    boxes = [{key: one[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9} for one in annotations["annotations"]]  # fmt: skip # noqa: E501
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    seen = []
    monkeypatch.setattr(draw_poses, "draw_poses", lambda image, people, _: seen.append(people) or image)
    monkeypatch.setattr(
        draw_poses, "network_of", lambda run, _: (hrnet.build(arch := oracle(run, _)[1], joints=17).eval(), arch)
    )
    boxes_given = ["TEST.COCO_BBOX_FILE", str(tmp_path / "boxes.json"), "TEST.USE_GT_BBOX", "false"]
    draw(data, "coco", tmp_path / "poses.png", "--images", "2", *boxes_given)
    assert len(seen) == 4 and all((people[..., 2] > 0).any() for people in seen[:2])


def test_no_image_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--images 0: give 1 or more"):
        draw(data, "coco", tmp_path / "poses.png", "--images", "0")
