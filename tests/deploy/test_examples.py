"""The programs of examples/deploy run without this project and find what PoseEstimator finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from supernet import PoseEstimator
from supernet.cli import export
from supernet.pipeline.shipped import shipped
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.keypoints import COCO
from supernet.pose.synthetic.dataset import make_synthetic
from tests.paths import ROOT

SCRIPT = ROOT / "examples" / "deploy" / "top_down.py"
ALONE = """
import runpy, sys
for name in ("torch", "pandas", "scipy", "supernet", "search_spaces"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("mirrored", [True, False])
def test_top_down(tmp_path: Path, mirrored: bool) -> None:
    """Within half a pixel, in two boxes; every joint is named; what is drawn has the photograph's size."""
    file, photograph = tmp_path / "net.onnx", tmp_path / "photo.png"
    given = ["--weights", str(next(iter(shipped().values()))), "--out", str(file), "--repeats", "0", "THREADS", "1"]
    export.main([*given, "TEST.FLIP_TEST", str(mirrored), "TEST.BLUR_KERNEL", "7" if mirrored else "0"])
    make_synthetic(tmp_path / "data", train=1, val=1, width=240, height=180, max_people=1, seed=3)
    dataset = PoseDataset(
        tmp_path / "data" / "coco" / "annotations" / "person_keypoints_val2017.json",
        tmp_path / "data" / "coco" / "images" / "val2017",
        COCO,
    )
    cv2.imwrite(str(photograph), cv2.imread(str(dataset[0].path)))
    (person,) = dataset[0].people
    boxes = [list(person.bbox), [0.5, 0, 239, 180]]
    words = [",".join(map(str, box)) for box in boxes]
    arguments = [SCRIPT, file, photograph, tmp_path / "drawn.png", *words]
    ended = subprocess.run([sys.executable, "-c", ALONE, *map(str, arguments)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    lines = [line.split() for line in ended.stdout.splitlines()]
    found = np.array([line[1:] for line in lines], float).reshape(2, -1, 3)
    estimator = PoseEstimator(file, device="cpu")
    wanted = np.stack([estimator.predict(photograph, [box])[0].keypoints for box in boxes])  # one box repeats the other
    assert [line[0] for line in lines[: len(wanted[0])]] == list(estimator.skeleton.joints)
    assert np.abs(found - wanted).max() < 0.5 and np.abs(found[..., 2] - wanted[..., 2]).max() < 0.01
    drawn = cv2.imread(str(tmp_path / "drawn.png"))
    assert drawn is not None and drawn.shape == (180, 240, 3)


def test_without_arguments_it_says_what_it_takes() -> None:
    ended = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True)
    assert ended.returncode == 1 and "python examples/deploy/top_down.py net.onnx photo.jpg" in ended.stderr


def test_it_is_short() -> None:
    assert len(SCRIPT.read_text().splitlines()) <= 120
