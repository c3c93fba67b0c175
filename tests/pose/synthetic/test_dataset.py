"""The synthetic dataset: the same bytes twice, labels that agree with the image, layouts that ordinary readers load."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.io
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO as CocoReader

from supernet.cli.command import run_program
from supernet.errors import UserError
from supernet.pose.keypoints import COCO, CROWDPOSE, MPII
from supernet.pose.synthetic.dataset import is_made, make_synthetic
from supernet.pose.synthetic.figure import PARTS, sample_figure
from supernet.pose.synthetic.figure_drawing import draw_figure, sample_look
from supernet.pose.synthetic.records import crowd_index, mask_polygons
from supernet.pose.synthetic.scene import Scene, sample_scene
from tools import make_synthetic as program

# pycocotools and numpy 2.4 disagree about __array__; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ARGUMENTS = {"train": 12, "val": 8, "width": 160, "height": 128, "seed": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "crowd"
    make_synthetic(folder, **ARGUMENTS)
    return folder


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [sample_scene(np.random.default_rng([9, index]), 192, 160, 4) for index in range(40)]


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.suffix in (".json", ".jpg")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def coco_reader(root: Path, split: str) -> CocoReader:
    with contextlib.redirect_stdout(io.StringIO()):
        return CocoReader(str(root / f"coco/annotations/person_keypoints_{split}.json"))


def test_same_arguments_same_bytes(root: Path, tmp_path: Path) -> None:
    make_synthetic(tmp_path / "again", **ARGUMENTS)
    first = digests(root)
    assert first == digests(tmp_path / "again")
    assert len(first) == 3 * 20 + 6 + 1


def test_more_images_leave_the_earlier_ones(root: Path, tmp_path: Path) -> None:
    make_synthetic(tmp_path / "more", **{**ARGUMENTS, "train": 14})
    first, more = digests(root), digests(tmp_path / "more")
    images = [name for name in first if name.endswith(".jpg")]
    assert all(first[name] == more[name] for name in images)
    assert len(set(more) - set(first)) == 3 * 2
    name = "coco/annotations/person_keypoints_train2017.json"
    before, after = read(root / name)["annotations"], read(tmp_path / "more" / name)["annotations"]
    assert after[: len(before)] == before and len(after) > len(before)


def test_another_seed_another_image() -> None:
    first, second = (sample_scene(np.random.default_rng([seed, 0, 0]), 96, 96, 2).image for seed in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_coco_reader_gets_exact_masks(root: Path, split: str) -> None:
    reader = coco_reader(root, split)
    index = ("train2017", "val2017").index(split)
    for image_id, image in reader.imgs.items():
        pixels = cv2.imread(str(root / "coco/images" / split / image["file_name"]))
        assert pixels.shape == (128, 160, 3)
        scene = sample_scene(np.random.default_rng([3, index, image_id // 2 - 1]), 160, 128, 4)
        annotations = reader.imgToAnns[image_id]
        assert len(annotations) == len(scene.people)
        for annotation, person in zip(annotations, scene.people, strict=True):
            mask = reader.annToMask(annotation).astype(bool)
            assert np.array_equal(mask, person.mask)
            assert annotation["area"] == mask.sum()
            x, y, w, h = (int(value) for value in annotation["bbox"])
            assert mask[y : y + h, x : x + w].sum() == mask.sum()
            assert all(edge.any() for edge in (mask[y], mask[y + h - 1], mask[:, x], mask[:, x + w - 1]))
            flags = np.array(annotation["keypoints"]).reshape(17, 3)
            assert annotation["num_keypoints"] == (flags[:, 2] > 0).sum()
            assert all(mask[y, x] for x, y, v in flags if v == 2)
            assert not flags[flags[:, 2] == 0].any()
    assert sum(annotation["num_keypoints"] > 10 for annotation in reader.anns.values()) >= 4


def test_polygons_survive_holes_bridges_and_specks() -> None:
    rng = np.random.default_rng(0)
    for share in (0.02, 0.3, 0.6, 0.97):
        mask = rng.random((23, 31)) < share
        decoded = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(mask_polygons(mask), 23, 31)))
        assert np.array_equal(decoded.astype(bool), mask)
    assert mask_polygons(np.zeros((4, 4), bool)) == []


def test_flags_follow_frame_occlusion_and_rules(scenes: list[Scene]) -> None:
    seen = {0: 0, 1: 0, 2: 0}
    for scene in scenes:
        height, width = scene.image.shape[:2]
        covered = np.zeros((height, width), int)
        for person in scene.people:
            covered += person.mask
            assert 0 < person.mask.sum() <= person.own_area
            for x, y, v in person.joints.values():
                seen[v] += 1
                assert 0 <= x < width and 0 <= y < height
                assert v != 2 or person.mask[y, x]
            in_frame = sum(person.joints[name][2] > 0 for name in COCO.joints)
            enough = in_frame >= 3 and person.mask.sum() >= 0.08 * person.own_area
            assert any(v for *_, v in person.keypoints(COCO)) == enough
        assert covered.max() <= 1
    assert seen[2] > seen[1] > 50 and seen[0] > 50


def test_hardly_seen_people_have_no_labelled_joints(scenes: list[Scene]) -> None:
    person = scenes[0].people[0]
    assert person.labelled
    sliver = np.zeros_like(person.mask)
    sliver[0, :7] = True
    hidden = replace(person, mask=sliver, own_area=100)
    assert not hidden.labelled and not any(any(triple) for triple in hidden.keypoints(MPII))
    assert replace(hidden, own_area=87).labelled
    outside = {name: (0, 0, 0) for name in person.joints}
    assert not replace(person, joints={**outside, "nose": (1, 1, 2), "left_eye": (2, 1, 2), "neck": (2, 2, 2)}).labelled


def test_left_is_the_persons_left() -> None:
    """From the front the left side is right in the image and the face is seen; from behind both turn round."""
    fronts = backs = 0
    for index in range(60):
        rng = np.random.default_rng([5, index])
        figure = sample_figure(rng, sample_look(rng, (128.0, 128.0, 128.0)))
        facing = float(figure.axes["torso"][2, 2])
        span = figure.joints["left_shoulder"][0] - figure.joints["right_shoulder"][0]
        if abs(facing) < 0.7:
            continue
        assert np.sign(span) == np.sign(facing)
        pixels, ids = np.zeros((300, 300, 3), np.uint8), np.zeros((300, 300), np.uint8)
        draw_figure(figure, pixels, ids, 200.0, np.array([150.0, 150.0]), 1)
        x, y = np.rint(figure.joints["nose"][:2] * 200 + 150).astype(int)
        if ids[y, x] == 1 + PARTS.index("head") and abs(figure.axes["head"][2, 2]) > 0.5:
            assert figure.hidden_by_itself("nose", "head") == (figure.axes["head"][2, 2] < 0)
        fronts, backs = fronts + (facing > 0), backs + (facing < 0)
    assert fronts > 10 and backs > 5


def test_layouts_share_people_and_images(root: Path) -> None:
    coco = read(root / "coco/annotations/person_keypoints_train2017.json")
    crowdpose = read(root / "crowdpose/json/crowdpose_trainval.json")
    assert coco["categories"][0]["keypoints"] == list(COCO.joints)
    assert crowdpose["categories"][0]["keypoints"] == list(CROWDPOSE.joints)
    common = [name for name in CROWDPOSE.joints if name in COCO.joints]
    assert len(common) == 12
    for ours, theirs in zip(crowdpose["annotations"], coco["annotations"], strict=True):
        assert not {"area", "segmentation"} & ours.keys()
        assert all(isinstance(value, int) for value in ours["keypoints"])
        points = np.array(ours["keypoints"]).reshape(14, 3)
        others = np.array(theirs["keypoints"]).reshape(17, 3)
        for name in common:
            assert np.array_equal(points[CROWDPOSE.joints.index(name)], others[COCO.joints.index(name)])
        assert ours["num_keypoints"] == (points[:12, 2] > 0).sum()
        assert points[12:, 2].max() <= 1
        assert ours["bbox"] == theirs["bbox"]
    for image in crowdpose["images"]:
        copies = [root / "coco/images/train2017", root / "crowdpose/images", root / "mpii/images"]
        assert len({(folder / image["file_name"]).read_bytes() for folder in copies}) == 1


def test_crowd_index_against_a_plain_loop(root: Path) -> None:
    values = []
    for name in ("crowdpose_trainval", "crowdpose_test"):
        content = read(root / f"crowdpose/json/{name}.json")
        for image in content["images"]:
            people = [person for person in content["annotations"] if person["image_id"] == image["id"]]
            ratios = []
            for i, mine in enumerate(people):
                x, y, w, h = mine["bbox"]
                counts = [0, 0]
                for j, other in enumerate(people):
                    for k in range(14):
                        px, py, v = other["keypoints"][3 * k : 3 * k + 3]
                        if v > 0 and x <= px <= x + w and y <= py <= y + h:
                            counts[i == j] += 1
                if counts[1]:
                    ratios.append(counts[0] / counts[1])
            expected = sum(ratios) / len(ratios) if ratios else 0.0
            assert image["crowdIndex"] == pytest.approx(expected, abs=0.00501)
            values.append(image["crowdIndex"])
    assert 0 <= min(values) and 0.1 < max(values) < 5


def test_crowd_index_by_hand() -> None:
    def person(*points: int, box: tuple[int, int, int, int]) -> dict[str, Any]:
        return {"keypoints": [value for x in points for value in (x, 5, 2)], "bbox": box}

    people = [person(1, 2, 12, 13, box=(0, 0, 14, 10)), person(11, 19, box=(10, 0, 10, 10))]
    assert crowd_index(people) == round((1 / 4 + 2 / 2) / 2, 2)
    assert crowd_index([]) == 0.0


@pytest.mark.parametrize(("name", "image_split", "index"), [("train", "train2017", 0), ("valid", "val2017", 1)])
def test_mpii_is_one_based_and_agrees_with_its_mat(root: Path, name: str, image_split: str, index: int) -> None:
    people = read(root / f"mpii/annot/{name}.json")
    mat = scipy.io.loadmat(str(root / f"mpii/annot/gt_{name}.mat"))
    count = len(people)
    assert count > 0
    assert [str(np.squeeze(cell)) for cell in mat["dataset_joints"][0]][9] == "head"
    assert mat["dataset_joints"].shape == (1, 16) and mat["jnt_missing"].shape == (16, count)
    assert mat["pos_gt_src"].shape == (16, 2, count) and mat["headboxes_src"].shape == (2, 2, count)
    drawn = [person for n in range(ARGUMENTS["train" if index == 0 else "val"])
             for person in sample_scene(np.random.default_rng([3, index, n]), 160, 128, 4).people
             if person.labelled]  # fmt: skip
    for n, (record, person) in enumerate(zip(people, drawn, strict=True)):
        assert (root / "mpii/images" / record["image"]).is_file()
        for k, joint in enumerate(MPII.joints):
            x, y, v = person.joints[joint]
            assert record["joints_vis"][k] == (v > 0) == 1 - mat["jnt_missing"][k, n]
            assert record["joints"][k] == ([x + 1, y + 1] if v else [-1, -1])
            assert v == 0 or mat["pos_gt_src"][k, :, n].tolist() == [x + 1, y + 1]
        corner, other = mat["headboxes_src"][:, :, n]
        assert (other - corner > 3).all()
        if record["joints_vis"][9]:
            top = np.array(record["joints"][9])
            assert (corner - 2 <= top).all() and (top <= other + 2).all()
        # the readers' crop: centre down by 15 x scale, side 250 x scale, holds every labelled joint
        middle, half = np.array(record["center"]) + [0, 15 * record["scale"]], 125 * record["scale"]
        present = np.array(record["joints"])[np.array(record["joints_vis"]) > 0]
        assert (np.abs(present - middle) <= half + 1).all()


def test_finished_is_kept_and_other_arguments_remake(tmp_path: Path) -> None:
    folder, small = tmp_path / "crowd", {"train": 2, "val": 1, "width": 64, "height": 64}
    assert not is_made(folder, **small)
    calls: list[tuple[int, int]] = []
    make_synthetic(folder, **small, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert is_made(folder, **small) and not is_made(folder, **small, seed=1)
    make_synthetic(folder, **small, progress=lambda done, total: calls.append((done, total)))
    assert len(calls) == 3
    before = digests(folder)
    make_synthetic(folder, **small, seed=1)
    assert is_made(folder, **small, seed=1) and digests(folder).keys() == before.keys()
    assert digests(folder) != before
    assert [path.name for path in tmp_path.iterdir()] == ["crowd"]


def test_interrupted_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_synthetic(tmp_path / "crowd", train=3, val=1, width=64, height=64, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_errors_name_the_thing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="max_people is 0, give a number from 1 to 15"):
        make_synthetic(tmp_path / "crowd", train=1, val=1, max_people=0)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else than a synthetic dataset"):
        make_synthetic(tmp_path, train=1, val=1)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_program_makes_it_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--root", str(tmp_path / "made"), "--train", "2", "--val", "1", "--size", "96x64", "--max-people", "2"]
    program.main(arguments)
    assert capsys.readouterr().out == f"{tmp_path / 'made'}: 2 training and 1 validation images\n"
    assert is_made(tmp_path / "made", train=2, val=1, width=96, height=64, max_people=2)
    program.main(arguments)
    assert capsys.readouterr().out == f"{tmp_path / 'made'}: already made\n"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        run_program(program.main, ["--root", str(tmp_path / "other"), "--train", "1", "--val", "1"])
    assert stopped.value.code == 2
    assert "other: holds something else than a synthetic dataset" in capsys.readouterr().err
