"""Files of own keypoints: where they are looked for, whose joints they have, which id results carry, how many joints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from search_spaces import hrnet, litepose
from supernet.cli import search
from supernet.config.loading import dump, load_config
from supernet.errors import UserError
from supernet.pipeline.run import Run
from supernet.pose.datasets.own_keypoints import OwnKeypoints
from supernet.pose.keypoints import COCO, CROWDPOSE
from tests.paths import ROOT

NAMES = ["nose", "L_ear", "R_ear", "tail"]


def make(root: Path, names: list[str] | None, split: str = "train", category: int = 1, **changes: Any) -> Path:
    """Six images of one thing each in the usual places of own keypoints; returns the annotation file."""
    joints = 4 if names is None else len(names)
    rng, images, things = np.random.default_rng(0), [], []
    for folder in (root / "annotations", root / "images" / split):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(6):
        cv2.imwrite(str(root / "images" / split / f"{number}.png"), rng.integers(0, 255, (64, 64, 3), np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
        xy = rng.integers(8, 56, (joints, 2))
        (x, y), (w, h) = xy.min(0).tolist(), np.ptp(xy, axis=0).tolist()
        things.append(
            {"id": number, "image_id": number, "category_id": category, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0,
             "keypoints": np.column_stack([xy, np.full(joints, 2)]).ravel().tolist(), "num_keypoints": joints}
        )  # fmt: skip
    named = {} if names is None else {"keypoints": names}
    content = {
        "images": images,
        "annotations": things,
        "categories": [{"id": category, "name": "cat", **named}],
        **changes,
    }
    file = root / "annotations" / f"{split}.json"
    file.write_text(json.dumps(content))
    return file


def run_of(root: Path, way: str, *overrides: str) -> Run:
    family = "litepose" if way in ("keypoints_bottom_up", "coco_kpt", "crowd_pose_kpt") else "hrnet"
    given = (
        "DATASET.DATASET", way, "DATASET.ROOT", str(root), "DATASET.TRAIN", "train", "DATASET.TEST", "val", "THREADS", "1",
        "DATASET.SYNTHETIC.TRAIN", "0", "DATASET.SEARCH_IMAGES", "2", "DATASET.CALIBRATION_IMAGES", "2", "DEVICE", "cpu",
        "MODEL.NUM_JOINTS", "0", "TEST.USE_GT_BBOX", "true", "WORKERS", "0", *overrides,
    )  # fmt: skip
    return Run(load_config(ROOT / "experiments" / "synthetic" / f"{family}.yaml", given), root / "own.yaml")


def small(run: Run) -> Any:
    """The smallest architecture of the run's family that is quick."""
    if run.data.approach == "top-down":
        return replace(hrnet.SMALL.smallest, resolution=(64, 64))
    return litepose.SPACES["small"].smallest


@pytest.mark.parametrize("way", ["keypoints", "keypoints_bottom_up"])
def test_results_carry_the_files_own_category(tmp_path: Path, way: str) -> None:
    """Id 0, as labelling tools write it: on every part of the data, so that no program scores 0 for it."""
    make(tmp_path, NAMES, category=0)
    make(tmp_path, NAMES, "val", category=0)
    run = run_of(tmp_path, way, "TEST.DETECTION_THRESHOLD", "0")
    arch = small(run)
    network = run.build(arch).eval()
    for dataset in (run.search, run.calibration, run.test, run.test[:1], run.train):
        found = run.task.detect_all(network, dataset, arch.input_hw)
        assert found and {result["category_id"] for result in found} == {0}
        truth = [
            {
                "image_id": entry["image_id"],
                "category_id": found[0]["category_id"],
                "keypoints": entry["keypoints"],
                "score": 1.0,
            }
            for entry in dataset.ground_truth()["annotations"]
        ]
        assert run.evaluator(dataset).evaluate(truth)["AP"] == pytest.approx(1.0)


def test_results_of_people_carry_it_too(tmp_path: Path) -> None:
    make(tmp_path, list(COCO.joints), category=0)
    file = ("DATASET.ANNOTATIONS.TEST", "annotations/train.json", "DATASET.IMAGES.TEST", "images/train")
    run = run_of(tmp_path, "coco", *file)
    arch = small(run)
    assert {
        result["category_id"] for result in run.task.detect_all(run.build(arch).eval(), run.test, arch.input_hw)
    } == {0}


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("annotations/train.json", "images/train"), ("annotations/person_keypoints_train.json", "train"),
        ("train.json", "images"),
    ],
)  # fmt: skip
def test_where_files_lie(tmp_path: Path, file: str, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    assert OwnKeypoints().files(tmp_path, "train")[:2] == (tmp_path / file, tmp_path / folder)


def test_files_that_are_all_named_need_no_root(tmp_path: Path) -> None:
    for split in ("train", "val"):
        make(tmp_path, NAMES, split)
    given: list[str] = []
    for part, split in (("TRAIN", "train"), ("TEST", "val")):
        given += [f"DATASET.ANNOTATIONS.{part}", str(tmp_path / "annotations" / f"{split}.json")]
        given += [f"DATASET.IMAGES.{part}", str(tmp_path / "images" / split)]
    run = run_of(Path(""), "keypoints", "DATASET.ROOT", "", *given)
    assert len(run.train) == 4 and len(run.test) == 6
    with pytest.raises(UserError, match="DATASET.ROOT '.*' is not a folder"):
        run_of(tmp_path, "keypoints", "DATASET.ROOT", "", *given[:4]).test  # noqa: B018


def test_the_test_file_tells_the_joints_where_there_is_no_other(tmp_path: Path) -> None:
    make(tmp_path, NAMES, "val")
    run = run_of(tmp_path, "keypoints")
    assert run.skeleton.joints == tuple(NAMES) and len(run.test) == 6
    (tmp_path / "annotations" / "val.json").unlink()
    with pytest.raises(
        UserError, match="annotation file .*train.json does not exist: set DATASET.ROOT or DATASET.ANNOTATIONS"
    ):
        run_of(tmp_path, "keypoints").skeleton  # noqa: B018


# ----------------------------------------------------------------------------------------------------- names of the joints


@pytest.mark.parametrize(("way", "skeleton"), [("coco", COCO), ("coco_kpt", COCO), ("crowdpose", CROWDPOSE)])
def test_another_datasets_joints_are_refused(tmp_path: Path, way: str, skeleton: Any) -> None:
    """PoseTrack's 17, and any other 14; the first that differs is told, and nothing was trained."""
    names = [*skeleton.joints]
    names[1:3] = "head_bottom", "head_top"
    make(tmp_path, names)
    file = ("DATASET.ANNOTATIONS.TRAIN", "annotations/train.json", "DATASET.IMAGES.TRAIN", "images/train")
    message = (
        f"train.json: joint 2 of category 'cat' is 'head_bottom' where {skeleton.name} has '{skeleton.joints[1]}': set "
        "DATASET.DATASET to use the file's own joints .*; where only the spelling differs, set DATASET.JOINT_NAMES ignore"
    )
    with pytest.raises(UserError, match=message):
        run_of(tmp_path, way, *file).train  # noqa: B018
    assert len(run_of(tmp_path, way, *file, "DATASET.JOINT_NAMES", "ignore").train.image_ids) == 4
    own = "keypoints" if way != "coco_kpt" else "keypoints_bottom_up"
    assert run_of(tmp_path, own, *file).skeleton.joints == tuple(names)


def test_spelling_does_not_matter(tmp_path: Path) -> None:
    make(tmp_path, [joint.replace("_", " ").title() for joint in COCO.joints])
    file = ("DATASET.ANNOTATIONS.TRAIN", "annotations/train.json", "DATASET.IMAGES.TRAIN", "images/train")
    assert len(run_of(tmp_path, "coco", *file).train) == 4


def test_both_files_need_the_same_joints(tmp_path: Path) -> None:
    make(tmp_path, NAMES)
    make(tmp_path, ["nose", "R_ear", "L_ear", "tail"], "val")
    run = run_of(tmp_path, "keypoints")
    with pytest.raises(
        UserError, match="val.json: joint 2 of category 'cat' is 'R_ear' where cat has 'L_ear': give files with"
    ):
        run.test  # noqa: B018


def test_wrong_names_are_found_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of the file that is read last, for the report."""
    make(tmp_path, NAMES)
    make(tmp_path, ["nose", "R_ear", "L_ear", "tail"], "val")
    steps: list[Any] = []
    monkeypatch.setattr("supernet.pipeline.train.fit", lambda *given: steps.append(given))
    cfg = run_of(tmp_path, "keypoints", "OUTPUT_DIR", str(tmp_path / "output")).cfg
    (tmp_path / "own.yaml").write_text(dump(cfg))
    with pytest.raises(UserError, match="val.json: joint 2 of category 'cat' is 'R_ear'"):
        search.main(["--cfg", str(tmp_path / "own.yaml")])
    assert not steps


def test_categories_with_different_joints_are_refused(tmp_path: Path) -> None:
    two = [{"id": 1, "name": "cat", "keypoints": NAMES}, {"id": 2, "name": "dog", "keypoints": NAMES[::-1]}]
    make(tmp_path, NAMES, categories=two)
    with pytest.raises(
        UserError, match="categories 'cat' and 'dog' have different joints, and a network has one skeleton"
    ):
        run_of(tmp_path, "keypoints").skeleton  # noqa: B018


@pytest.mark.parametrize("categories", [[{"id": 3, "name": "cat"}], None])
def test_a_file_without_names_takes_them_from_the_skeleton(tmp_path: Path, categories: Any) -> None:
    make(tmp_path, None, category=3, categories=categories)
    with pytest.raises(UserError, match="no category has 'keypoints', so that joints are not known"):
        run_of(tmp_path, "keypoints").skeleton  # noqa: B018
    run = run_of(tmp_path, "keypoints", "DATASET.SKELETON", json.dumps({"joints": NAMES}))
    assert len(run.train) == 4 and run.train.category_id == 3 and run.skeleton.flip_index == (0, 2, 1, 3)


# ------------------------------------------------------------------------------------------------------------- many joints


@pytest.mark.parametrize("way", ["keypoints", "keypoints_bottom_up"])
def test_a_training_step_for_133_joints(tmp_path: Path, way: str) -> None:
    """As many as COCO-WholeBody has, named by chance, with limbs, pairs and sigmas of a skeleton file."""
    rng = np.random.default_rng(1)
    names = [f"joint {number}" for number in rng.permutation(133)]
    make(tmp_path, names)
    values = {
        "flip_pairs": [[names[2 * n], names[2 * n + 1]] for n in range(66)],
        "limbs": [[names[n], names[n + 1]] for n in range(132)],
        "sigmas": rng.uniform(0.01, 0.2, 133).round(3).tolist(),
    }
    (tmp_path / "body.json").write_text(json.dumps(values))
    run = run_of(tmp_path, way, "DATASET.SKELETON", str(tmp_path / "body.json"))
    assert run.skeleton.num_joints == 133 and run.skeleton.flip_index[:3] == (1, 0, 3)
    arch = small(run)
    network = run.build(arch)
    step: Any = SimpleNamespace(number=0, images=(0, 1), input_hw=arch.input_hw, architectures=(arch,), offset=0)
    batch = run.task.prepare(next(run.task.batches(run.train, iter([step]))))
    loss, _ = run.task.loss(network(batch["inputs"]), batch)
    loss.backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert loss.item() > 0 and all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    metrics = run.metrics(network, run.train, arch)
    assert 0 <= metrics["AP"] <= 1
