"""133 joints, as whole-body annotations have them: the whole loop, both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from supernet.cli import export, search
from supernet.deploy.onnx_file import OnnxNetwork
from supernet.pipeline.estimator import PoseEstimator
from tests.pipeline.test_own_skeleton import run_of as run_with
from tests.pipeline.test_own_skeleton import settings

JOINTS = 133
NAMES = ["tip", *(f"{side}_{number}" for number in range(66) for side in ("left", "right"))]


def with_many_joints(file: Path) -> None:
    """The hands of a file with every joint several times, a little beside itself, under names with a left and a right."""
    content: dict[str, Any] = json.loads(file.read_text())
    rng = np.random.default_rng(0)
    for annotation in content["annotations"]:
        joints = np.array(annotation["keypoints"], dtype=float).reshape(-1, 3)
        chosen = np.resize(np.arange(len(joints)), JOINTS)
        more = joints[chosen] + np.c_[rng.uniform(-0.5, 0.5, (JOINTS, 2)), np.zeros(JOINTS)]
        more[more[:, 2] == 0] = 0
        annotation["keypoints"] = more.ravel().tolist()
        annotation["num_keypoints"] = int((more[:, 2] > 0).sum())
    for category in content["categories"]:
        category["keypoints"], category["skeleton"] = NAMES, [[1, 2], [1, 3]]
    file.write_text(json.dumps(content))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["keypoints", "keypoints_bottom_up"])
def test_the_whole_loop(tmp_path: Path, way: str) -> None:
    arguments = settings(tmp_path, way, "hands")
    root = run_with(arguments).data.root  # drawn here
    for file in root.rglob("*.json"):
        if file.parent.name == "annotations" or "annotations" in file.name:
            with_many_joints(file)
    config = Path(arguments[1])
    content = yaml.safe_load(config.read_text())
    content["DATASET"]["ROOT"], content["DATASET"]["SYNTHETIC"] = str(root), {}
    config.write_text(yaml.safe_dump(content))

    search.main([*arguments, "SEARCH.BUDGETS.S", "200000000"])
    folder = tmp_path / "output" / tmp_path.name / "run"
    assert pd.read_csv(folder / "comparison.csv").ap_retrained.notna().all()
    assert (folder / "report.html").stat().st_size > 10_000
    weights = folder / "subnets" / "S" / "retrained" / "weights.pt"
    estimator = PoseEstimator(weights, device="cpu")
    assert estimator.skeleton.joints == tuple(NAMES) and estimator.skeleton.flip_index[:3] == (0, 2, 1)
    assert all(
        person.keypoints.shape == (JOINTS, 3) for person in estimator.predict(np.full((96, 96, 3), 90, np.uint8))
    )
    more = ["--no-compile", "--repeats", "0", "DEVICE", "cpu"]
    export.main(["--weights", str(weights), "--out", str(tmp_path / "net.onnx"), *more])
    assert OnnxNetwork(tmp_path / "net.onnx").facts["joints"] == str(JOINTS)
