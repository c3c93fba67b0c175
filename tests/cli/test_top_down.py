"""The programs from end to end on people in boxes: the same loop as for images, with MPII's metric where it is MPII."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from search_spaces import hrnet
from supernet.cli import search, train, valid

TINY = {
    "DEVICE": "cpu", "WORKERS": 0, "THREADS": 1,
    "SPACE": {"FAMILY": "hrnet", "NAME": "small"},
    "TRAIN": {"LR": 0.002, "IMAGES_PER_GPU": 4, "END_EPOCH": 1},
    "TEST": {"USE_GT_BBOX": True, "FLIP_TEST": True, "SHIFT_HEATMAP": True, "POST_PROCESS": True},
    "SEARCH": {"EVALUATIONS": 3, "POPULATION": 2, "BUDGETS": {"S": 60_000_000}},
    "RETRAIN": {"EPOCHS": 1, "DISTILLATION": True},
}  # fmt: skip
SPLITS = {"coco": ("train2017", "val2017", 17), "crowdpose": ("trainval", "test", 14), "mpii": ("train", "valid", 16)}


def config(folder: Path, dataset: str) -> list[str]:
    """The arguments of a tiny run on a synthetic dataset."""
    training, test, joints = SPLITS[dataset]
    data = {"DATASET": dataset, "ROOT": str(folder / "data"), "TRAIN": training, "TEST": test, "COLOR_RGB": True}
    data |= {"SYNTHETIC": {"TRAIN": 8, "VAL": 4, "SIZE": [128, 128]}, "SEARCH_IMAGES": 2, "CALIBRATION_IMAGES": 4}
    content = TINY | {"OUTPUT_DIR": str(folder / "output"), "DATASET": data, "MODEL": {"NUM_JOINTS": joints}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    return ["--cfg", str(folder / "tiny.yaml")]


@pytest.mark.parametrize("dataset", ["coco", "mpii"])
def test_the_whole_loop(tmp_path: Path, dataset: str) -> None:
    """A supernet is trained with in-place distillation, searched by the dataset's metric, and its best subnet retrained."""
    search.main(config(tmp_path, dataset))
    folder = tmp_path / "output" / tmp_path.name / "tiny"
    front = pd.read_csv(folder / "front.csv")
    assert ("Mean" if dataset == "mpii" else "AP") in front.columns
    comparison = pd.read_csv(folder / "comparison.csv")
    assert comparison[["ap_transferred", "ap_calibrated", "ap_retrained"]].notna().all(axis=None)
    assert (folder / "report.md").stat().st_size > 0


@pytest.mark.parametrize("dataset", ["crowdpose", "mpii"])
def test_train_and_evaluate_one_architecture(tmp_path: Path, dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The smallest network of the space, by train.py and valid.py."""
    arch = tmp_path / "small.json"
    arguments = [*config(tmp_path, dataset), "--superconfig", str(arch)]
    arch.write_text(json.dumps(hrnet.to_json(hrnet.SMALL.smallest)))
    train.main(arguments)
    weights = tmp_path / "output" / tmp_path.name / "tiny" / "trained" / "small" / "weights.pt"
    valid.main([*arguments, "TEST.MODEL_FILE", str(weights)])
    printed = capsys.readouterr().out
    assert ("Mean@0.1" if dataset == "mpii" else "APmedium") in printed
