"""Weights that say what they are: what they say is used, checked, and never trusted with the machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_spaces import litepose
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.pipeline.description import described
from supernet.pipeline.estimator import PoseEstimator
from supernet.pipeline.run import Run
from supernet.pipeline.weights import network_of, run_of_weights
from tests.paths import ROOT

CFG = ROOT / "experiments" / "synthetic" / "litepose.yaml"
ARCH = litepose.SMALL.smallest


def write(path: Path, *overrides: str, **changes: Any) -> Path:
    """Fresh weights that describe themselves, but for what is changed."""
    run = Run(load_config(CFG, overrides), CFG)
    content = {"state_dict": run.build(ARCH).state_dict(), "network": {**described(run, ARCH), **changes}}
    checkpoint.save(path, content)
    return path


def test_the_file_alone_is_enough(tmp_path: Path) -> None:
    """Its run has the settings that it was made with, those given on top, and nothing of the machine it was made on."""
    path = write(
        tmp_path / "x.pt", "OUTPUT_DIR", str(tmp_path / "theirs"), "WORKERS", "7", "TEST.DETECTION_THRESHOLD", "0.11"
    )
    run = run_of_weights(path, ["TEST.FLIP_TEST", "true", "TEST.MODEL_FILE", str(path)])
    assert (run.cfg.TEST.DETECTION_THRESHOLD, run.cfg.TEST.FLIP_TEST, run.cfg.WORKERS) == (0.11, True, 4)
    assert run.folder == Path("output/synthetic/litepose") and network_of(run)[1] == ARCH


def test_people_in_pixels_of_the_image(tmp_path: Path) -> None:
    """From an array, a file or several of them; a bottom-up network takes no boxes."""
    import cv2

    estimator = PoseEstimator(write(tmp_path / "x.pt", "TEST.DETECTION_THRESHOLD", "0"), device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "x.png"), image[:, :, ::-1])
    people = estimator.predict(image)
    assert people and all(person.keypoints.shape == (14, 3) and len(person.box) == 4 for person in people)
    (one, two) = estimator.predict([tmp_path / "x.png", image])
    for several in (one, two, estimator.predict(str(tmp_path / "x.png"))):
        assert [person.score for person in several] == [person.score for person in people]
    with pytest.raises(UserError, match=r"x.pt: is bottom-up and finds people by itself; give no boxes"):
        estimator.predict(image, [[0, 0, 10, 10]])


@pytest.mark.parametrize(
    "changes",
    [
        {"run": "../../evil"},
        {"run": "/etc/x"},
        {"run": 3},
        {"config": []},
        {"keypoints": {}},
        {"keypoints": {"joints": [1]}},
        {"family": None},
        {"more": 1},
    ],
    ids=str,
)
def test_a_damaged_description_is_one_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(
        UserError, match=r"x.pt: its description of the network is damaged; give --cfg and --superconfig"
    ):
        run_of_weights(write(tmp_path / "x.pt", **changes))


def test_a_later_format_and_other_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="describes itself in format 2, this version reads 1"):
        run_of_weights(write(tmp_path / "x.pt", format=2))
    with pytest.raises(UserError, match=r"x.pt: unknown key TRAIN.LRR"):
        run_of_weights(write(tmp_path / "x.pt", config={"TRAIN": {"LRR": 1}}))
    theirs = run_of_weights(write(tmp_path / "x.pt", config={"OUTPUT_DIR": "/tmp/evil", "DEVICE": "cuda"}))
    assert theirs.cfg.OUTPUT_DIR == "output" and theirs.cfg.DEVICE == "auto"
    checkpoint.save(tmp_path / "bare.pt", {"state_dict": {}})
    with pytest.raises(UserError, match=r"bare.pt: does not say which network it holds; give --cfg, and --superconfig"):
        run_of_weights(tmp_path / "bare.pt")


def test_what_is_given_on_top_is_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "x.pt")
    other = tmp_path / "other.json"
    other.write_text(json.dumps(litepose.to_json(litepose.SMALL.largest)))
    given = ["TEST.MODEL_FILE", str(path)]
    with pytest.raises(
        UserError, match="is of another architecture than --superconfig .*other.json; leave --superconfig out"
    ):
        network_of(Run(load_config(CFG, given), CFG), str(other))
    hrnet = CFG.with_name("hrnet.yaml")
    with pytest.raises(UserError, match="is of the family litepose, SPACE.FAMILY is hrnet; leave --cfg out"):
        network_of(Run(load_config(hrnet, given), hrnet))
    with pytest.raises(UserError, match="is for 14 joints, crowdpose's; DATASET.DATASET coco_kpt has 17, coco's"):
        network_of(Run(load_config(CFG, [*given, "DATASET.DATASET", "coco_kpt", "MODEL.NUM_JOINTS", "17"]), CFG))
