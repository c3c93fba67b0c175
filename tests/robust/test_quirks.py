"""Files as users of keypoint tools have reported them: read right, or refused in one line before anything is trained.

``tests/data/quirks`` holds eight small synthetic images, the same with the EXIF orientation of a camera held upright, and one
annotation file for each kind of fault.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supernet.cli import search, train
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.pipeline.check import check_data
from supernet.pipeline.run import Run
from supernet.training.trainer import Trainer
from tests.paths import REFERENCE

QUIRKS = REFERENCE / "quirks"
GOOD = "08-category-without-joints"
WAYS = ("td", "bu")
Change = Callable[[dict[str, Any]], object]


def content(name: str = GOOD) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((QUIRKS / f"{name}.json").read_text())
    return read


def written(folder: Path, raw: dict[str, Any], name: str = "annotations.json") -> Path:
    (folder / name).write_text(json.dumps(raw))
    return folder / name


def arguments(
    way: str, file: Path, *more: object, images: Path = QUIRKS / "images", test: Path | None = None
) -> list[str]:
    """Of a program: every file is named, and no DATASET.ROOT."""
    pairs: list[object] = [
        "DATASET.ANNOTATIONS.TRAIN", file.resolve(), "DATASET.ANNOTATIONS.TEST", (test or file).resolve(),
        "DATASET.IMAGES.TRAIN", images.resolve(), "DATASET.IMAGES.TEST", images.resolve(), *more,
    ]  # fmt: skip
    return ["--cfg", str(QUIRKS / f"{way}.yaml"), *map(str, pairs)]


def run_of(way: str, file: Path, *more: object, **places: Any) -> Run:
    cfg, source, *overrides = arguments(way, file, *more, **places)
    assert cfg == "--cfg"
    return Run(load_config(Path(source), overrides), Path(source))


def truth_score(run: Run) -> float:
    """The score of the annotations themselves, as results of this run's networks would come."""
    results = [
        {
            "image_id": person["image_id"],
            "category_id": run.test.category_id,
            "keypoints": person["keypoints"],
            "score": 1.0,
        }
        for person in run.test.ground_truth()["annotations"]
        if any(person["keypoints"])
    ]
    return run.evaluator(run.test).evaluate(results)["AP"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("01-category-id-0", ""),
        ("05-no-area-or-num_keypoints", "all 8 people have no 'area': 0.53 of the box is taken"),
        ("06-area-0", r"all 8 people have area 0 (or next to it): 0.53 of the box is taken"),
        ("07-two-categories", "the categories 'person', 'child' have the same joints and are one class"),
        ("08-category-without-joints", ""),
        ("09-empty-keypoints", "1 of 9 people have no 'keypoints'"),
        ("10-num_keypoints-float", ""),
        ("11-num_keypoints-constant", "all 8 people have a 'num_keypoints' that is not the number of labelled joints"),
    ],
)  # fmt: skip
def test_what_can_be_read_is_read_and_told(name: str, said: str, way: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(way, QUIRKS / f"{name}.json")
    check_data(run)
    assert said in capsys.readouterr().out
    assert truth_score(run) == pytest.approx(1)
    assert len(run.test) == 8 and len(run.train.image_ids) == 5


def all_people(**values: Any) -> Change:
    return lambda raw: [person.update(copy.deepcopy(values)) for person in raw["annotations"]]


def scaled(factor: float, *keys: str) -> Change:
    def change(raw: dict[str, Any]) -> None:
        for person in raw["annotations"]:
            for key in keys:
                step = 3 if key == "keypoints" else 1
                person[key] = [v if step == 3 and i % 3 == 2 else v * factor for i, v in enumerate(person[key])]

    return change


def as_corners(x: float, y: float, width: float, height: float) -> list[float]:
    return [x, y, x + width, y + height]


def corners(raw: dict[str, Any]) -> None:
    for person in raw["annotations"]:
        person["bbox"] = as_corners(*person["bbox"])


def percent(raw: dict[str, Any]) -> None:
    scaled(0.5, "keypoints", "bbox")(raw)
    for image in raw["images"]:
        image.update(width=1600, height=1280)


def unlabelled(count: int) -> Change:
    def change(raw: dict[str, Any]) -> None:
        for person in raw["annotations"][:count]:
            person["keypoints"] = [0] * 51

    return change


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.update(content("12-coordinates-0-to-1")), r"all labelled joints of all 8 people lie between 0\.\d+ and"),
        (scaled(1 / 200, "bbox"), "the boxes of all 8 people lie between 0 and 1: multiply 'bbox'"),
        (corners, r"boxes of the 8 people are corners \(x1 y1 x2 y2\): write x, y, width, height"),
        (scaled(3, "bbox", "keypoints"), "all 8 people have most of their joints outside of the image"),
        (scaled(4, "keypoints"), "people have most of their joints outside of the image"),
        (percent, "of all 8 people lie between 0 and 100, on images of 1600 x 1280 and more: they are percent"),
        (all_people(bbox=[150, 120, 20, 20]), "all 8 people have most of their joints outside of their box"),
        (all_people(num_keypoints=0), "all 8 people have num_keypoints 0, though 8 of them have labelled joints"),
        (all_people(keypoints=[1, 2]), r"annotation 1 has 2 keypoint numbers .* \(8 of 8 annotations are refused\)"),
        (all_people(image_id=99), r"annotation 1 refers to image 99.* \(8 of 8 annotations are refused\)"),
        (all_people(num_keypoints=2.5), r"annotation 1 has 2\.5 as its 'num_keypoints'.* \(8 of 8"),
    ],
    ids=range(11),
)  # fmt: skip
def test_what_cannot_be_right_is_refused_in_one_line(change: Change, message: str, way: str, tmp_path: Path) -> None:
    raw = content()
    change(raw)
    with pytest.raises(UserError, match=message) as caught:
        check_data(run_of(way, written(tmp_path, raw)))
    assert "\n" not in str(caught.value)


def test_categories_with_other_joints_are_no_class_of_these(tmp_path: Path) -> None:
    raw = content("07-two-categories")
    raw["categories"][1]["keypoints"] = [*raw["categories"][1]["keypoints"][:16], "tail"]
    with pytest.raises(UserError, match=r"'person' and 'child' have other joints \('right_ankle' and 'tail'\)"):
        check_data(run_of("td", written(tmp_path, raw)))
    raw["categories"][1]["keypoints"] = ["thumb", "wrist"]
    test = run_of("td", written(tmp_path, raw)).test
    assert len(test) < 8 and any("annotations of other categories are passed over" in note for note in test.notes)  # type: ignore[attr-defined]


@pytest.mark.parametrize("constant", [3, 17])
def test_who_has_no_labelled_joint_is_not_missed(
    constant: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = content()
    all_people(num_keypoints=constant)(raw)
    unlabelled(3)(raw)
    run = run_of("bu", written(tmp_path, raw))
    assert truth_score(run) == pytest.approx(1)
    check_data(run)
    assert (
        f"{3 if constant == 17 else 'all 8'}{' of 8' * (constant == 17)} people have a 'num_keypoints'"
        in capsys.readouterr().out
    )


def test_few_areas_of_0_stay_as_in_the_official_programs(tmp_path: Path) -> None:
    raw = content()
    raw["annotations"][0]["area"] = 0
    run = run_of("td", written(tmp_path, raw))
    assert len(run.test) == 7
    assert any("1 of 8 people have area 0: as in the official programs" in note for note in run.test.notes)  # type: ignore[attr-defined]


@pytest.mark.parametrize("whole", ["id", "image_id", "category_id", "iscrowd"])
def test_whole_floats_are_whole_numbers(whole: str, tmp_path: Path) -> None:
    raw = content()
    for person in raw["annotations"]:
        person[whole] = float(person[whole])
    for image in raw["images"]:
        image.update(id=float(image["id"]), width=float(image["width"]))
    assert truth_score(run_of("td", written(tmp_path, raw))) == pytest.approx(1)


# ------------------------------------------------------------------------------------------------------------- images


# ------------------------------------------------------------------------------------------------------------ detector


def detections(change: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
    boxes = [
        {"image_id": person["image_id"], "category_id": 1, "bbox": person["bbox"], "score": 0.9}
        for person in content()["annotations"]
    ]
    return [{**box, **change(box)} for box in boxes]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda box: {"category_id": 0}, "none of the 8 boxes .* is of category 1, .* the boxes are of category 0: write 1"),
        (lambda box: {"category_id": box["image_id"] % 3 + 5}, "the boxes are of category 5, 6 and 7"),
        (lambda box: {"bbox": [value / 200 for value in box["bbox"]]}, "all 8 boxes lie between 0 and 1"),
        (lambda box: {"bbox": as_corners(*box["bbox"])}, "are corners"),
        (lambda box: {"score": 0.05}, r"at least 0\.1: set TEST.IMAGE_THRE to at most 0\.05, the highest of 8 boxes"),
        (lambda box: {"score": 0}, "all 8 boxes of category 1 on these images have a score of 0 or less"),
        (lambda box: {"bbox": "x"}, r"entry 0 .* needs an integer image_id.* \(8 of 8 entries are refused\)"),
    ],
    ids=range(7),
)  # fmt: skip
def test_boxes_of_a_detector_that_cannot_be_right(change: Change, message: str, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps(detections(change)))
    run = run_of(
        "td", QUIRKS / f"{GOOD}.json", "TEST.USE_GT_BBOX", False, "TEST.COCO_BBOX_FILE", boxes, "TEST.IMAGE_THRE", 0.1
    )
    with pytest.raises(UserError, match=message) as caught:
        check_data(run)
    assert "IMAGE_THRE" not in str(caught.value) or "at most" in str(caught.value)


def test_boxes_of_every_category_with_joints_are_people(tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps(detections(lambda box: {"category_id": float(box["image_id"] % 2 + 1)})))
    run = run_of("td", QUIRKS / "07-two-categories.json", "TEST.USE_GT_BBOX", False, "TEST.COCO_BBOX_FILE", boxes)
    assert len(run.test) == 8


# ---------------------------------------------------------------------------------------------- before the first step


class Started(Exception):
    """A training made a step."""


@pytest.fixture
def no_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A training that begins its first step ends with :class:`Started`."""

    def step(*_: object, **__: object) -> None:
        raise Started

    monkeypatch.setattr(Trainer, "step", step)
    monkeypatch.setattr(search, "check_budgets", lambda _: None, raising=False)  # which takes seconds to count MACs
    return tmp_path


@pytest.mark.parametrize("way", WAYS)
def test_search_makes_no_step_where_the_test_annotations_are_wrong(way: str, no_step: Path) -> None:
    good, output = QUIRKS / f"{GOOD}.json", ("OUTPUT_DIR", no_step / "output")
    with pytest.raises(UserError, match="all labelled joints of all 8 people lie between"):
        search.main(arguments(way, good, *output, test=QUIRKS / "12-coordinates-0-to-1.json"))
    raw = content()
    del raw["annotations"]
    with pytest.raises(UserError, match="has no 'annotations'"):
        search.main(arguments(way, good, *output, test=written(no_step, raw)))
    with pytest.raises(Started):  # the same command on right data
        search.main(arguments(way, good, *output))


def test_search_makes_no_step_where_the_boxes_are_wrong(no_step: Path) -> None:
    boxes = ("TEST.USE_GT_BBOX", False, "TEST.COCO_BBOX_FILE")
    good, output = QUIRKS / f"{GOOD}.json", ("OUTPUT_DIR", no_step / "output")
    for file, message in ((no_step / "none.json", "none.json"), (QUIRKS / "boxes.json", "the boxes are of category 0")):
        with pytest.raises(UserError, match=message):
            search.main(arguments("td", good, *output, *boxes, file))


def test_train_makes_no_step_on_wrong_data_and_warns_of_wrong_test_data(
    no_step: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong, output = QUIRKS / "12-coordinates-0-to-1.json", ("OUTPUT_DIR", no_step / "output")
    with pytest.raises(UserError, match="all labelled joints of all 8 people lie between"):
        train.main(arguments("td", wrong, *output))
    with pytest.raises(Started):
        train.main(arguments("td", QUIRKS / f"{GOOD}.json", *output, test=wrong))
    assert "the training does not need it, evaluating will" in capsys.readouterr().out
