"""Labels of labelme, Label Studio and tables become a COCO-format file that training reads; what cannot be used is named."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from supernet.cli.command import run_program
from supernet.config.loading import load_config
from supernet.pipeline.run import Run
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.keypoints import Skeleton
from tests.paths import ROOT
from tools import convert_labels

WIDTH, HEIGHT = 200, 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / "images" / name), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return tmp_path


def converted(folder: Path, tool: str, place: Path, *more: str) -> dict[str, Any]:
    """What the program writes."""
    paths = ["--images", str(folder / "images"), "--out", str(folder / "out.json")]
    convert_labels.main(["--from", tool, "--input", str(place), *paths, *more])
    content: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return content


def people(content: dict[str, Any]) -> list[tuple[int, list[float], list[float]]]:
    return [(entry["image_id"], entry["keypoints"], entry["bbox"]) for entry in content["annotations"]]


def shape(kind: str, label: str, *points: list[float], group: Any = None, **more: Any) -> dict[str, Any]:
    """As labelme 5 writes one."""
    same = {"description": "", "flags": {}, "mask": None}
    return {"label": label, "points": [*points], "group_id": group, "shape_type": kind, **same, **more}


def labelme(folder: Path, name: str, *shapes: dict[str, Any], path: str = "") -> Path:
    (folder / "labels").mkdir(exist_ok=True)
    content = {"version": "5.5.0", "flags": {}, "shapes": [*shapes], "imagePath": path or f"../images/{name}.png"}
    content |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    (folder / "labels" / f"{name}.json").write_text(json.dumps(content))
    return folder / "labels"


def test_labelme_by_groups_by_boxes_and_one_person_per_image(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelme(
        folder, "a",
        shape("point", "nose", [10.5, 20], group=1), shape("point", "tail", [30, 40], group=1, flags={"occluded": True}),
        shape("point", "nose", [110, 20]), shape("rectangle", "dog", [150, 60], [100, 10]),
        shape("polygon", "grass", [0, 0], [9, 0], [9, 9]),
    )  # fmt: skip
    place = labelme(
        folder, "b", shape("point", "tail", [50, 50]), shape("point", "nose", [60, 90]), path="..\\images\\b.png"
    )
    content = converted(folder, "labelme", place, "--name", "dog")
    assert people(content) == [
        (1, [110, 20, 2, 0, 0, 0], [100, 10, 50, 50]),
        (1, [10.5, 20, 2, 30, 40, 1], [8.55, 18, 23.4, 24]),
        (2, [60, 90, 2, 50, 50, 2], [49, 46, 12, 48]),
    ]  # fmt: skip
    assert [image["file_name"] for image in content["images"]] == ["a.png", "b.png"]
    out = capsys.readouterr().out
    assert "passed over: 1 of kind 'polygon'" in out and "2 images, 3 objects, 2 joints: nose, tail" in out

    skeleton = Skeleton("dog", ("nose", "tail"), (), (0.05, 0.05))
    dataset = PoseDataset(folder / "out.json", folder / "images", skeleton)
    assert [len(dataset[index].people) for index in range(2)] == [2, 1] and dataset[0].width == WIDTH


def result(kind: str, id: str, **value: Any) -> dict[str, Any]:
    """As Label Studio writes one."""
    same = {
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "from_name": "kp",
        "to_name": "image",
    }
    parent = {"parentID": value.pop("parent")} if "parent" in value else {}
    return {**same, "id": id, "type": kind, "value": value, "origin": "manual", **parent}


def point(id: str, label: str, x: float, y: float, **more: Any) -> dict[str, Any]:
    return result("keypointlabels", id, x=x, y=y, width=0.5, keypointlabels=[label], **more)


def label_studio(
    folder: Path, *results: dict[str, Any], image: str = "/data/upload/1/0a1b2c3d-a.png", **task: Any
) -> Path:
    done = {"id": 7, "was_cancelled": False, "result": [*results]}
    skipped = {"id": 8, "was_cancelled": True, "result": []}
    entry = {"id": 3, "data": {"image": image}, "annotations": [skipped, done], "predictions": [], **task}
    (folder / "export.json").write_text(json.dumps([entry]))
    return folder / "export.json"


BOX = {"x": 10, "y": 10, "width": 30, "height": 80, "rotation": 0, "rectanglelabels": ["person"]}


def test_label_studio_in_percent_with_parents_boxes_and_choices(folder: Path) -> None:
    file = label_studio(
        folder, result("rectanglelabels", "r1", **BOX), result("rectanglelabels", "r2", **{**BOX, "x": 60}),
        point("k1", "nose", 20, 50), point("k2", "tail", 5, 5, parent="r1"), point("k3", "nose", 65, 20, parent="r2"),
        result("choices", "k2", choices=["occluded"]), {"type": "relation", "from_id": "k1", "to_id": "k2"},
    )  # fmt: skip
    assert people(converted(folder, "label-studio", file)) == [
        (1, [40, 50, 2, 10, 5, 1], [20, 10, 60, 80]),
        (1, [130, 20, 2, 0, 0, 0], [120, 10, 60, 80]),
    ]
    local = label_studio(folder, point("k1", "nose", 20, 50), image="/data/local-files/?d=set%2Fb.png")
    assert converted(folder, "label-studio", local)["images"][0]["file_name"] == "b.png"


def test_a_table_with_a_row_for_each_person(folder: Path) -> None:
    file = folder / "points.csv"
    file.write_text(
        "\ufeffimage,nose_x,nose_y,nose_v,tail_x,tail_y\na.png,1,2,1,,\nb.png,10,10,,30,20\na.png,5,6,2,7,8.5\n"
    )
    content = converted(folder, "csv", file, "--joints", "tail,nose")
    assert people(content) == [
        (1, [0, 0, 0, 1, 2, 1], [0, 1, 2, 2]),
        (1, [7, 8.5, 2, 5, 6, 2], [4, 5, 4, 4.5]),
        (2, [30, 20, 2, 10, 10, 2], [8, 9, 24, 12]),
    ]  # fmt: skip
    assert content["images"][0] == {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}
    file.write_text("image;x1;y1;box_x;box_y;box_w;box_h\na.png;1;2;0;0;9;9\n")
    content = converted(folder, "csv", file)
    assert people(content) == [(1, [1, 2, 2], [0, 0, 9, 9])] and content["categories"][0]["keypoints"] == ["1"]


def refusal(capsys: pytest.CaptureFixture[str], folder: Path, tool: str, place: Path, *more: str) -> str:
    """The one line with which the program ends; nothing is written."""
    with pytest.raises(SystemExit) as stop:
        run_program(lambda _: converted(folder, tool, place, *more))
    assert stop.value.code == 2 and not (folder / "out.json").exists()
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("shapes", "line"),
    [
        (
            [shape("point", "nose", [1, 1]), shape("point", "nose", [9, 9])],
            "a.json: one person has 'nose' twice; give every",
        ),
        (
            [shape("point", "nose", [1, 1]), shape("rectangle", "dog", [50, 50], [90, 90])],
            "a.json: point 'nose' at 1.0, 1.0 has no group and lies in 0 boxes; give it the group of its person",
        ),
        (
            [shape("rectangle", "dog", [5, 5], [5, 9]), shape("point", "nose", [5, 6])],
            "a box of 0 x 4 pixels at 5, 5 has no inside",
        ),
        ([shape("point", "nose", ["x", 1])], "a.json: shape 0 ('nose'): ['x', 1] is not two numbers"),
        ([shape("point", "nose", [1, float("nan")])], "a.json: point 'nose' is at 1.0, nan; correct or remove it"),
        ([shape("point", "nose", [1, 1], group=[1])], "a.json: shape 0: 'group_id' is [1]; give a number or text"),
        ([shape("polygon", "nose", [1, 1])], "labels: no labelled point; label points with the names of joints"),
        ([{"points": []}], "a.json: shape 0 has no label"),
    ],
)
def test_what_is_wrong_with_labelmes_files(
    folder: Path, capsys: pytest.CaptureFixture[str], shapes: list[dict[str, Any]], line: str
) -> None:
    assert line in refusal(capsys, folder, "labelme", labelme(folder, "a", *shapes))


def test_joints_and_images_that_are_not_known(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = labelme(folder, "a", shape("point", "noes", [1, 1]))
    line = refusal(capsys, folder, "labelme", place, "--joints", "nose,tail")
    assert line.endswith("a.json: point 'noes' is no joint; did you mean 'nose'?")
    labelme(folder, "b", path="/etc/passwd")
    assert "b.json: image '/etc/passwd' is not in" in refusal(capsys, folder, "labelme", place)
    (place / "b.json").write_text("{}")
    assert "b.json: no file of labelme" in refusal(capsys, folder, "labelme", place)
    (folder / "none").mkdir()
    assert "none: no JSON file in this folder" in refusal(capsys, folder, "labelme", folder / "none")


@pytest.mark.parametrize(
    ("results", "task", "line"),
    [
        ([point("k", "nose", 1, 1, parent="r9")], {}, "task 3: point 'nose' belongs to a region that is no rectangle"),
        (
            [result("rectanglelabels", "r", **{**BOX, "rotation": 9})],
            {},
            "task 3, result r: the image or box is rotated",
        ),
        (
            [point("k", "nose", 1, 1)],
            {"annotations": None},
            "task 3 has no 'data' and 'annotations'; export as JSON, not",
        ),
        (
            [point("k", "nose", 1, 1)],
            {"data": {"a": "x", "b": "y"}},
            "task 3: 'data' does not say which one is the image",
        ),
        ([{"type": "relation"}], {}, "task 3: its results have 0 sizes of the image"),
        ([{**point("k", "nose", 1, 1), "original_width": [1]}], {}, "'original_width' or 'original_height' is [1]"),
        (
            [result("keypointlabels", "k", x=1, y=1, keypointlabels=[])],
            {},
            "result k: keypointlabels without one label",
        ),
    ],
)
def test_what_is_wrong_with_label_studios_file(
    folder: Path, capsys: pytest.CaptureFixture[str], results: list[dict[str, Any]], task: dict[str, Any], line: str
) -> None:
    assert line in refusal(capsys, folder, "label-studio", label_studio(folder, *results, **task))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("file,nose_x,nose_y\n", "its first line needs a column 'image', and every name once"),
        (
            "image,nose\n",
            "column 'nose' is none of image, box_x, box_y, box_w, box_h, NAME_x, NAME_y, NAME_v; rename it",
        ),
        ("image,nose_x\n", "joint 'nose' needs the columns nose_x and nose_y"),
        ("image,x1,y1,box_x\n", "all of box_x, box_y, box_w, box_h or none"),
        ("image,x1,y1\na.png,1\n", "points.csv: line 2 has 2 cells, the header 3"),
        ("image,x1,y1\na.png,1,\n", "points.csv: line 2, y1: '' is no number"),
        ("image,x1,y1,v1\na.png,1,1,7\n", "line 2, v1: '7' is not 0 (not labelled), 1 (hidden) or 2 (visible)"),
        ("image,x1,y1\nc.png,1,1\n", "points.csv: line 2: image 'c.png' is not in"),
        ("", "its first line needs a column 'image'"),
    ],
)
def test_what_is_wrong_with_a_table(folder: Path, capsys: pytest.CaptureFixture[str], text: str, line: str) -> None:
    (folder / "points.csv").write_text(text)
    assert line in refusal(capsys, folder, "csv", folder / "points.csv")


def test_joints_of_an_earlier_file(folder: Path) -> None:
    (folder / "train.csv").write_text("image,tail_x,tail_y,nose_x,nose_y\na.png,1,1,2,2\n")
    converted(folder, "csv", folder / "train.csv")
    (folder / "out.json").rename(folder / "train.json")
    (folder / "val.csv").write_text("image,nose_x,nose_y\nb.png,5,5\n")
    content = converted(folder, "csv", folder / "val.csv", "--joints", str(folder / "train.json"))
    assert people(content) == [(1, [0, 0, 0, 5, 5, 2], [4, 4, 2, 2])]


COMMANDS = [line for line in (ROOT / "docs/your-own-data.md").read_text().splitlines() if line.startswith("python ")]


@pytest.mark.parametrize("tool", ["labelme", "label-studio", "csv"])
def test_the_commands_of_the_page_lead_to_data_that_programs_read(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From two files of each tool to the images, the joints and the objects of a run."""
    data = tmp_path / "data" / "mine"
    for split, label in (("train", ("nose", "tail")), ("val", ("tail", "nose"))):
        (data / "images" / split).mkdir(parents=True)
        cv2.imwrite(str(data / "images" / split / "a.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        one, two = label
        labelme(data, "a", shape("point", one, [20, 30]), shape("point", two, [70, 60]), path="a.png")
        (data / "labelme").mkdir(exist_ok=True)
        (data / "labels").rename(data / "labelme" / split)
        label_studio(data, point("k1", one, 10, 30), point("k2", two, 35, 60)).rename(
            data / f"label-studio-{split}.json"
        )
        table = f"image,{one}_x,{one}_y,{two}_x,{two}_y\na.png,20,30,70,60\n"
        (data / f"{split}.csv").write_text(table)
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line) for line in COMMANDS if f"--from {tool} " in line]
    assert len(commands) == 2
    for words in commands:
        convert_labels.main(words[2:])
    (search,) = (shlex.split(line) for line in COMMANDS if "search.py" in line)
    overrides = search[search.index("--dry-run") + 1 :]
    run = Run(load_config(ROOT / search[3], overrides), ROOT / search[3])
    assert run.skeleton.joints == ("nose", "tail")
    (image,) = run.test
    (person,) = image.people
    assert (image.width, image.height) == (WIDTH, HEIGHT) and person.keypoints_K3.tolist() == [[70, 60, 2], [20, 30, 2]]
