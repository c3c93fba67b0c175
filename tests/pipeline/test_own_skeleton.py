"""Own joints: the whole loop on corners, hands and animals, both ways, and afterwards by the file of weights alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from supernet import PoseEstimator
from supernet.cli import export, search, valid
from supernet.config.loading import load_config
from supernet.deploy.onnx_file import OnnxNetwork
from supernet.errors import UserError
from supernet.pipeline.run import Run
from supernet.pose.synthetic.subjects import ANIMAL, CORNERS, HAND
from tests.paths import ROOT
from tools import draw_poses

SKELETONS = {"corners": CORNERS, "hands": HAND, "animals": ANIMAL}
COMMON: dict[str, Any] = {
    "DEVICE": "cpu", "WORKERS": 0, "THREADS": 1, "RETRAIN": {"EPOCHS": 1},
    "SEARCH": {"EVALUATIONS": 3, "POPULATION": 2, "BUDGETS": {"S": 60_000_000}},
    "DATASET": {
        "SYNTHETIC": {"TRAIN": 7, "VAL": 2, "SIZE": [96, 96], "MAX_PEOPLE": 1}, "SEARCH_IMAGES": 2, "CALIBRATION_IMAGES": 3,
    },
}  # fmt: skip
TOP_DOWN: dict[str, Any] = {
    "SPACE": {"FAMILY": "hrnet", "NAME": "small", "RESTRICT": {"resolution": [[96, 64]], "width": [8], "modules": [1]}},
    "TRAIN": {"IMAGES_PER_GPU": 3, "END_EPOCH": 1},
    "TEST": {"USE_GT_BBOX": True, "FLIP_TEST": True, "POST_PROCESS": True},
    "DATASET": {"DATASET": "keypoints", "COLOR_RGB": True},
}
BOTTOM_UP: dict[str, Any] = yaml.safe_load((ROOT / "experiments" / "synthetic" / "litepose.yaml").read_text())
BOTTOM_UP |= {
    "SPACE": {
        "FAMILY": "litepose",
        "NAME": "small",
        "RESTRICT": {"resolution": [128], "depth": [1], "kernel": [3], "expansion": [2]},
    },
    "SUPERNET": {"STAGES": [{"name": "all", "open": ["deconv_width", "width"], "steps": 1, "lr": 0.005}]},
    "TRAIN": {"IMAGES_PER_GPU": 2},
}


def settings(folder: Path, way: str, subject: str, **data: Any) -> list[str]:
    """Arguments of a tiny run."""
    content = {**(TOP_DOWN if way == "keypoints" else BOTTOM_UP)}
    for node, values in COMMON.items():
        content[node] = {**content.get(node, {}), **values} if isinstance(values, dict) else values
    content["DATASET"] |= {
        "DATASET": way,
        "TRAIN": "train2017",
        "TEST": "val2017",
        "ROOT": str(folder / "data"),
        "FLIP": 0.5,
        **data,
    }
    content["DATASET"]["SYNTHETIC"] = {**content["DATASET"]["SYNTHETIC"], "SUBJECT": subject}
    content["OUTPUT_DIR"] = str(folder / "output")
    content["MODEL"] = {}
    (folder / "run.yaml").write_text(yaml.safe_dump(content))
    return ["--cfg", str(folder / "run.yaml")]


def run_of(arguments: list[str], *overrides: str) -> Run:
    path = Path(arguments[1])
    return Run(load_config(path, overrides), path)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("way", "subject"),
    [
        ("keypoints", "corners"),
        ("keypoints_bottom_up", "hands"),
        pytest.param("keypoints", "hands", marks=SLOW),
        pytest.param("keypoints", "animals", marks=SLOW),
        pytest.param("keypoints_bottom_up", "corners", marks=SLOW),
        pytest.param("keypoints_bottom_up", "animals", marks=SLOW),
    ],
)
def test_the_whole_loop(tmp_path: Path, way: str, subject: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained, searched, retrained, reported; then evaluated and exported by the weights alone, without the annotations."""
    arguments, expected = settings(tmp_path, way, subject, SKELETON={"sigmas": 0.06}), SKELETONS[subject]
    search.main(arguments)
    printed = capsys.readouterr().out
    assert (
        f"skeleton: {expected.name}, {expected.num_joints} joints of " in printed
        and "OKS sigma 0.06 for all" in printed
    )
    folder = tmp_path / "output" / tmp_path.name / "run"
    comparison = pd.read_csv(folder / "comparison.csv")
    assert comparison[["ap_transferred", "ap_calibrated", "ap_retrained"]].notna().all(axis=None)
    assert (folder / "report.html").stat().st_size > 10_000
    weights = folder / "subnets" / "S" / "retrained" / "weights.pt"

    valid.main(["--weights", str(weights), "OUTPUT_DIR", str(tmp_path / "again")])
    assert f"{float(comparison.ap_retrained[0]):.4f}" in capsys.readouterr().out

    draw_poses.main(["--weights", str(weights), "--out", str(tmp_path / "poses.png"), "--images", "1"])
    assert (tmp_path / "poses.png").stat().st_size > 1000
    shutil.rmtree(tmp_path / "data")
    estimator = PoseEstimator(weights, device="cpu")
    skeleton = estimator.skeleton
    assert (skeleton.name, skeleton.joints, skeleton.limbs) == (expected.name, expected.joints, expected.limbs)
    assert skeleton.flip_index == expected.flip_index and set(skeleton.sigmas) == {0.06}
    people = estimator.predict(np.full((96, 96, 3), 90, np.uint8))
    assert all(person.keypoints.shape == (expected.num_joints, 3) for person in people)
    capsys.readouterr()
    export.main(
        [
            "--weights",
            str(weights),
            "--out",
            str(tmp_path / "net.onnx"),
            "--no-compile",
            "--repeats",
            "0",
            "DEVICE",
            "cpu",
        ]
    )
    facts = OnnxNetwork(tmp_path / "net.onnx").facts
    assert facts["joints"] == str(expected.num_joints)
    assert json.loads(facts["pose_supernet"])["keypoints"]["joints"] == list(expected.joints)
    assert PoseEstimator(tmp_path / "net.onnx", device="cpu").skeleton == skeleton


def test_a_changed_skeleton_makes_another_training_or_evaluation(tmp_path: Path) -> None:
    """Flip pairs belong to the samples, sigmas to the scores, limbs to neither."""
    arguments = settings(tmp_path, "keypoints", "animals")

    def of(*overrides: str) -> tuple[Any, Any]:
        run = run_of(arguments, *overrides)
        return run.training_data, run.inference

    data, inference = of()
    assert of("DATASET.SKELETON", "{limbs: []}") == (data, inference)
    assert of("DATASET.SKELETON", "{flip_pairs: []}")[0] != data
    other = of("DATASET.SKELETON", "{sigmas: 0.1}")
    assert other[0] == data and other[1] != inference


def test_a_skeleton_file(tmp_path: Path) -> None:
    arguments = settings(tmp_path, "keypoints", "corners")
    file = tmp_path / "skeleton.json"
    file.write_text(json.dumps({"sigmas": {"top_left": 0.02}, "flip_pairs": []}))
    run = run_of(arguments, "DATASET.SKELETON", str(file))
    assert run.skeleton.sigmas == (0.02, 0.05, 0.05, 0.05) and run.skeleton.flip_index == (0, 1, 2, 3)
    with pytest.raises(UserError, match="DATASET.SKELETON .*none.json: no such file"):
        run_of(arguments, "DATASET.SKELETON", str(tmp_path / "none.json")).skeleton  # noqa: B018
    file.write_text("[1]")
    with pytest.raises(UserError, match="skeleton.json: is no JSON object"):
        run_of(arguments, "DATASET.SKELETON", str(file)).skeleton  # noqa: B018
    with pytest.raises(UserError, match="DATASET.SKELETON is for own joints, and DATASET.DATASET coco has fixed ones"):
        run_of(arguments, "DATASET.SKELETON", str(file), "DATASET.DATASET", "coco").skeleton  # noqa: B018
    with pytest.raises(UserError, match="SUBJECT corners has joints of its own: set DATASET.DATASET to keypoints"):
        run_of(arguments, "DATASET.DATASET", "coco").train  # noqa: B018


def test_the_number_of_joints_follows(tmp_path: Path) -> None:
    """Also where the settings came from a file for people; for fixed joints a contradiction is refused."""
    arguments = settings(tmp_path, "keypoints", "corners")
    for number in ("0", "17"):
        run = run_of(arguments, "MODEL.NUM_JOINTS", number)
        assert run.build(run.space.smallest).joints == 4
    people = ("DATASET.DATASET", "coco", "DATASET.SYNTHETIC.SUBJECT", "people")
    assert run_of(arguments, *people).build(run.space.smallest).joints == 17
    with pytest.raises(UserError, match="MODEL.NUM_JOINTS is 4, DATASET.DATASET coco has 17 joints; make them equal"):
        run_of(arguments, *people, "MODEL.NUM_JOINTS", "4").build  # noqa: B018
