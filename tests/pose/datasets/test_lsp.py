"""LSP and LSP extended as they were published: joints.mat and images."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.io

from search_spaces import hrnet
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.pipeline.run import Run
from supernet.pose.datasets.images import ImageError, image_size
from supernet.pose.datasets.kinds import kind_of
from supernet.pose.datasets.lsp import LSP, read_joints
from tests.paths import ROOT

WIDTH, HEIGHT = 60, 80


def joints_of(people: int, seed: int = 0) -> np.ndarray:
    """x, y (N, 14, 2) within the image."""
    return np.random.default_rng(seed).uniform(10, 50, (people, 14, 2)).round(1)


def write(root: Path, values_N143: np.ndarray, *, extended: bool, digits: int | None = None) -> Path:
    """A dataset of these x, y, mark (N, 14, 3 or 2) in the shape of LSP or of LSP extended."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    order = (1, 2, 0) if extended else (2, 1, 0)
    scipy.io.savemat(root / "joints.mat", {"joints": values_N143.transpose(order)})
    rng = np.random.default_rng(1)
    for number in range(1, len(values_N143) + 1):
        name = f"im{number:0{digits or (5 if extended else 4)}d}.jpg"
        cv2.imwrite(str(root / "images" / name), rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8))
    return root


def marked(marks: float | np.ndarray, people: int = 6) -> np.ndarray:
    return np.concatenate([joints_of(people), np.broadcast_to(marks, (people, 14))[..., None]], axis=2)


def people_of(root: Path, split: str) -> Any:
    kind = kind_of("lsp")
    return kind.people(kind.files(root, split))


def test_an_occluded_joint_of_lsp_is_labelled_and_hidden(tmp_path: Path) -> None:
    marks = np.zeros((6, 14))
    marks[0, 3] = 1
    values = marked(marks)
    people = people_of(write(tmp_path, values, extended=False), "all")
    assert len(people) == 6 and people.skeleton is LSP
    np.testing.assert_allclose(people[0].keypoints_K3[:, :2], values[0, :, :2], rtol=1e-6)
    assert people[0].keypoints_K3[:, 2].tolist() == [2, 2, 2, 1, *[2] * 10]
    assert people[0].path.name == "im0001.jpg" and people[5].image_id == 6


def test_an_invisible_joint_of_lsp_extended_is_not_labelled(tmp_path: Path) -> None:
    marks = np.ones((6, 14))
    marks[0, 3] = 0
    values = marked(marks)
    values[0, 3, :2] = np.nan
    values[1, 13, :2] = (-3.0, 20.0)  # outside, although marked visible
    values[2, 0, :2] = (20.0, HEIGHT)
    people = people_of(write(tmp_path, values, extended=True), "train")
    assert people[0].keypoints_K3[3].tolist() == [0, 0, 0]
    assert people[1].keypoints_K3[13].tolist() == [0, 0, 0] and people[2].keypoints_K3[0, 2] == 0
    labelled = [int((person.keypoints_K3[:, 2] == 2).sum()) for person in people]
    assert labelled == [13, 13, 13, 14, 14, 14]
    assert people[0].path.name == "im00001.jpg"


def test_a_file_without_marks_has_every_joint_visible(tmp_path: Path) -> None:
    for extended in (False, True):
        root = write(tmp_path / str(extended), joints_of(2), extended=extended)
        assert all((person.keypoints_K3[:, 2] == 2).all() for person in people_of(root, "all"))


def test_the_box_is_that_of_the_joints_within_the_image(tmp_path: Path) -> None:
    values = marked(0.0, 2)
    values[:, :, :2] = 30.0
    values[0, :2, :2] = (20.0, 30.0), (40.0, 70.0)  # 20 × 40 pixels, and 6 more on every side
    values[1, :2, :2] = (0.0, 30.0), (40.0, 70.0)
    dataset = kind_of("lsp").images(kind_of("lsp").files(write(tmp_path, values, extended=False), "all"))
    assert dataset[0].people[0].bbox == pytest.approx((14, 24, 32, 52))
    assert dataset[0].people[0].area == pytest.approx(0.53 * 32 * 52)
    assert dataset[1].people[0].bbox == pytest.approx((0, 24, 46, 52))


def test_splits(tmp_path: Path) -> None:
    lsp = write(tmp_path / "lsp", marked(0.0), extended=False)
    extended = write(tmp_path / "lspet", marked(1.0), extended=True)
    numbers = {
        (root.name, split): [person.image_id for person in people_of(root, split)]
        for root, splits in ((lsp, ("train", "test", "all", "2-4")), (extended, ("train", "all", "5-6")))
        for split in splits
    }
    assert numbers == {
        ("lsp", "train"): [1, 2, 3], ("lsp", "test"): [4, 5, 6], ("lsp", "all"): [1, 2, 3, 4, 5, 6], ("lsp", "2-4"): [2, 3, 4],
        ("lspet", "train"): [1, 2, 3, 4, 5, 6], ("lspet", "all"): [1, 2, 3, 4, 5, 6], ("lspet", "5-6"): [5, 6],
    }  # fmt: skip
    for root, split in ((lsp, "val"), (lsp, "0-3"), (lsp, "3-7"), (lsp, "4-2"), (extended, "test")):
        with pytest.raises(UserError, match=rf"'{split}' is no split of LSP.*: write train,.* such as 1-6"):
            people_of(root, split)


def test_images_may_lie_in_an_archive(tmp_path: Path) -> None:
    root = write(tmp_path, marked(0.0), extended=False)
    with zipfile.ZipFile(root / "images.zip", "w") as archive:
        for file in sorted((root / "images").iterdir()):
            archive.write(file, file.name)
            file.unlink()
    (root / "images").rmdir()
    assert len(people_of(root, "test")) == 3


def damage(root: Path, how: str) -> None:
    file, values = root / "joints.mat", marked(0.0)
    match how:
        case "missing":
            file.unlink()
        case "text":
            file.write_text("joints")
        case "truncated":
            file.write_bytes(file.read_bytes()[:300])
        case "another variable":
            scipy.io.savemat(file, {"points": values})
        case "another shape":
            scipy.io.savemat(file, {"joints": values})
        case "text inside":
            scipy.io.savemat(file, {"joints": np.full((3, 14, 2), "x", object)})
        case "a mark of 7":
            values[2, 4, 2] = 7
            scipy.io.savemat(file, {"joints": values.transpose(2, 1, 0)})
        case "nan":
            values[2, 4, 0] = np.nan
            scipy.io.savemat(file, {"joints": values.transpose(2, 1, 0)})
        case "marks of the other kind":
            scipy.io.savemat(file, {"joints": values.transpose(1, 2, 0)})
        case "no image":
            (root / "images" / "im0002.jpg").unlink()
        case "a damaged image":
            (root / "images" / "im0002.jpg").write_bytes(b"\xff\xd8\xff")
        case "no folder":
            (root / "images").rename(root / "photos")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", "joints.mat: no such file; give the joints.mat of LSP"),
        ("text", "joints.mat: is no MATLAB file of version 5"),
        ("truncated", "joints.mat: is no MATLAB file of version 5"),
        ("another variable", "has no 'joints', only points; give"),
        ("another shape", "'joints' is 6 × 14 × 3, not 3 × 14 × N"),
        ("text inside", "'joints' is 3 × 14 × 2, not 3 × 14 × N"),
        ("a mark of 7", "marks of visibility are not all 0 or 1"),
        ("nan", "person 3 has a joint that is no finite number"),
        ("marks of the other kind", "only 0 % of the joints are marked visible"),
        ("no image", "im0002.jpg cannot be read"),
        ("a damaged image", "im0002.jpg cannot be decoded"),
        ("no folder", "image folder .*images does not exist"),
    ],
)
def test_what_is_damaged_is_said_in_one_line(tmp_path: Path, how: str, said: str) -> None:
    root = write(tmp_path, marked(0.0), extended=False)
    damage(root, how)
    with pytest.raises(UserError, match=said) as error:
        people_of(root, "all")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", range(20))
def test_any_damage_to_the_file_is_said_in_one_line_or_harmless(tmp_path: Path, seed: int) -> None:
    root, rng = write(tmp_path, marked(0.0), extended=False), np.random.default_rng(seed)
    data = bytearray((root / "joints.mat").read_bytes())
    for place in rng.integers(0, len(data), 8):
        data[place] = rng.integers(256)
    (root / "joints.mat").write_bytes(data)
    try:
        keypoints, _ = read_joints(root / "joints.mat")
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(keypoints).all()


def test_the_size_of_an_image_is_read_from_its_header(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((5, 9, 3), np.uint8))
    assert image_size(tmp_path / "a.png") == (9, 5)
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(ImageError, match=r"a.png cannot be decoded"):
        image_size(tmp_path / "a.png")


def test_a_network_is_evaluated_by_pck_and_oks(tmp_path: Path) -> None:
    write(tmp_path, marked(0.0), extended=False)
    path = ROOT / "experiments" / "synthetic" / "hrnet.yaml"
    settings = {
        "DATASET.DATASET": "lsp", "DATASET.ROOT": tmp_path, "DATASET.TRAIN": "train", "DATASET.TEST": "test",
        "DATASET.SYNTHETIC.TRAIN": 0, "DATASET.SEARCH_IMAGES": 1, "MODEL.NUM_JOINTS": 14, "DEVICE": "cpu", "WORKERS": 0,
    }  # fmt: skip
    run = Run(load_config(path, [str(item) for pair in settings.items() for item in pair]), path)
    assert run.score == "PCK@0.2" and (len(run.train.image_ids), len(run.search), len(run.test)) == (2, 1, 3)
    arch = replace(hrnet.SMALL.smallest, resolution=(96, 64))
    metrics = run.metrics(run.build(arch), run.test, arch)
    assert {"AP", "mOKS", "PCK@0.2", "PCK-box@0.2", "PCKh@0.5"} <= set(metrics)
    assert set(metrics) == set(run.data.kind.metrics(run.skeleton))
    perfect = [
        {"image_id": person.image_id, "category_id": 1, "keypoints": person.keypoints_K3.ravel().tolist(), "score": 1.0}
        for person in run.test
    ]
    found = run.evaluator(run.test).evaluate(perfect)
    assert [found[name] for name in ("AP", "mOKS", "PCK@0.2", "PCKh@0.5")] == pytest.approx([1.0] * 4)
    assert run.training_data.dataset == "lsp, top-down, train" and run.test_data.dataset == "lsp, top-down, test"
