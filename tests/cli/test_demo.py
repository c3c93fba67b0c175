"""The demo: people found on images, folders and videos, bottom-up and in boxes, drawn and written where they are."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn

from search_spaces import hrnet, litepose
from supernet.cli import demo
from supernet.cli.command import run_program
from supernet.io import checkpoint
from supernet.pipeline.run import Run
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.images import read_image
from supernet.pose.keypoints import COCO
from supernet.pose.synthetic.dataset import make_synthetic
from supernet.pose.top_down.crop import center_scale, crop_matrix
from tools.bench.decoding_bound import perfect_outputs

SIZE_HW = (96, 64)  # of the top-down network's input


@dataclass(frozen=True)
class Place:
    """A folder with drawn images, a configuration and weights of a small network for each way."""

    folder: Path
    dataset: PoseDataset

    @property
    def images(self) -> Path:
        return self.dataset[0].path.parent

    @property
    def annotations(self) -> Path:
        return self.folder / "data" / "coco" / "annotations" / "person_keypoints_val2017.json"

    def call(self, kind: str, source: Path, out: Path, *more: object) -> dict[str, Any]:
        """The written file of a call; ``kind`` is people (top-down) or crowd."""
        demo.main(self.arguments(kind, source, out, *more))
        found: dict[str, Any] = json.loads((out / "poses.json").read_text())
        return found

    def arguments(self, kind: str, source: Path, out: Path, *more: object) -> list[str]:
        given = ["--cfg", self.folder / f"{kind}.yaml", "--superconfig", self.folder / f"{kind}.json"]
        return [str(value) for value in (*given, "--input", source, "--out", out, *more)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("demo")
    make_synthetic(folder / "data", train=1, val=4, width=160, height=128, max_people=2, seed=3)
    torch.manual_seed(0)
    person = replace(hrnet.SMALL.smallest, resolution=SIZE_HW)
    crowd = litepose.SMALL.restrict({"resolution": [128]}).smallest
    networks: dict[str, tuple[Any, Any, str]] = {
        "people": (hrnet, person, "coco"),
        "crowd": (litepose, crowd, "coco_kpt"),
    }
    for kind, (family, arch, reader) in networks.items():
        (folder / f"{kind}.json").write_text(json.dumps(family.to_json(arch)))
        torch.save(family.build(arch, joints=17).state_dict(), folder / f"{kind}.pt")
        settings = {
            "DEVICE": "cpu", "WORKERS": 0, "THREADS": 1, "MODEL": {"NUM_JOINTS": 17},
            "DATASET": {"DATASET": reader, "NUM_JOINTS": 17, "COLOR_RGB": True},
            "SPACE": {"FAMILY": family.__name__.rpartition(".")[2]},
            "TEST": {"MODEL_FILE": str(folder / f"{kind}.pt"), "WITH_HEATMAPS": [True, True], "WITH_AE": [True, False],
                     "DETECTION_THRESHOLD": 0.1, "FLIP_TEST": False},
        }  # fmt: skip
        (folder / f"{kind}.yaml").write_text(yaml.safe_dump(settings))
    file = folder / "data" / "coco" / "annotations" / "person_keypoints_val2017.json"
    return Place(folder, PoseDataset(file, folder / "data" / "coco" / "images" / "val2017", COCO))


class Fixed(nn.Module):
    """A network that answers with given maps, whatever it sees."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, _: Tensor) -> Any:
        return self.outputs


def output_of(outputs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "build", staticmethod(lambda arch: Fixed(outputs)))
    monkeypatch.setattr(checkpoint, "load_checkpoint", lambda network, path: None)


def labelled(place: Place, position: int) -> NDArray[np.float32]:
    people = [person.keypoints_K3 for person in place.dataset[position].people if not person.ignored]
    return np.stack(people)


def nearest(person: dict[str, Any], truth_PK3: NDArray[np.float32]) -> NDArray[np.float32]:
    """The distances of a found person's joints to those of the labelled person that fits best."""
    xy = np.array(person["keypoints"])[:, :2]
    distances = np.linalg.norm(truth_PK3[:, :, :2] - xy, axis=2)
    distances[truth_PK3[..., 2] == 0] = 0
    best: NDArray[np.float32] = distances[distances.mean(axis=1).argmin()]
    return best


def test_bottom_up_people_lie_where_the_network_says(
    made: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = made.dataset[0]
    output_of(perfect_outputs(image, 128), monkeypatch)
    found = made.call("crowd", image.path, tmp_path)
    truth = labelled(made, 0)
    assert found["skeleton"] == "coco" and found["joints"] == list(COCO.joints)
    (picture,) = found["images"]
    assert (picture["name"], picture["width"], picture["height"]) == (image.path.name, 160, 128)
    assert len(picture["people"]) == len(truth)
    for person in picture["people"]:
        assert nearest(person, truth).max() < 2.5 and 0.3 <= person["score"] <= 1
    drawn, before = read_image(tmp_path / image.path.name), read_image(image.path)
    assert drawn.shape == before.shape
    changed = np.abs(drawn.astype(int) - before).max(axis=2) > 60
    for x, y, _ in truth[truth[..., 2] > 0]:
        assert changed[max(0, int(y) - 3) : int(y) + 4, max(0, int(x) - 3) : int(x) + 4].any()
    assert changed.mean() < 0.5
    line = capsys.readouterr().out
    assert f"{len(truth)} people on 1 images; " in line and " a second (cpu, network and decoding)" in line


def heatmaps_of(place: Place, position: int, boxes: list[tuple[float, float, float, float]]) -> Tensor:
    """One Gaussian per joint, as a top-down network would have to answer for these boxes."""
    height, width = SIZE_HW[0] // 4, SIZE_HW[1] // 4
    rows, columns = np.mgrid[:height, :width]
    maps = []
    for person_K3, box in zip(labelled(place, position), boxes, strict=True):
        matrix = crop_matrix(*center_scale(box, SIZE_HW[1] / SIZE_HW[0]), 0.0, (width, height))
        xy = person_K3[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        maps.append([np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8) for x, y in xy])
    return torch.tensor(np.array(maps), dtype=torch.float32)


@pytest.mark.parametrize("kind", ["annotations", "names", "ids"])
def test_top_down_people_lie_where_the_network_says(
    kind: str, made: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image = made.dataset[1]
    people = [person for person in image.people if not person.ignored]
    assert len(image.people) == len(people) > 1  # the labels must fit the boxes one to one
    output_of(heatmaps_of(made, 1, [person.bbox for person in people]), monkeypatch)
    file = made.annotations
    if kind != "annotations":
        file = tmp_path / "boxes.json"
        key = {"file_name": image.path.name} if kind == "names" else {"image_id": int(image.path.stem)}
        entries = [key | {"category_id": 1, "bbox": list(person.bbox), "score": 0.9} for person in people]
        strangers = [{"file_name": "other.jpg", "bbox": [0, 0, 9, 9]}, key | {"bbox": [5, 5, 0, 9]}]
        file.write_text(json.dumps([*entries, *strangers]))
    found = made.call("people", image.path, tmp_path / "out", "--boxes", file)
    (picture,) = found["images"]
    assert len(picture["people"]) == len(people)
    for person in picture["people"]:
        cell = 1.25 * max(max(one.bbox[3] / 24, one.bbox[2] / 16) for one in people)  # pixels of the image
        assert nearest(person, labelled(made, 1)).max() < cell


def test_without_boxes_one_person_fills_the_image(made: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    position = next(n for n, image in enumerate(made.dataset) if len(labelled(made, n)) == 1)
    image = made.dataset[position]
    output_of(heatmaps_of(made, position, [(0.0, 0.0, 160.0, 128.0)]), monkeypatch)
    (picture,) = made.call("people", image.path, tmp_path)["images"]
    (person,) = picture["people"]
    assert nearest(person, labelled(made, position)).max() < 1.5 * 1.25 * 192 / 24


@pytest.mark.parametrize("kind", ["people", "crowd"])
def test_a_folder_is_read_in_order_and_in_batches(kind: str, made: Place, tmp_path: Path) -> None:
    one, three = (
        made.call(kind, made.images, tmp_path / str(size), "--batch", size, "--score", 0, "TEST.FLIP_TEST", True)
        for size in (1, 3)
    )
    names = sorted(path.name for path in made.images.iterdir())
    assert [picture["name"] for picture in one["images"]] == names == [p["name"] for p in three["images"]]
    assert sorted(path.name for path in (tmp_path / "3").iterdir()) == [*names, "poses.json"]
    for alone, together in zip(one["images"], three["images"], strict=True):
        assert len(alone["people"]) == len(together["people"])


def test_people_of_low_score_are_left_out(made: Place, tmp_path: Path) -> None:
    everybody = made.call("people", made.images, tmp_path / "all", "--score", -1)
    nobody = made.call("people", made.images, tmp_path / "none", "--score", 1e9)
    assert all(len(picture["people"]) == 1 for picture in everybody["images"])
    assert not any(picture["people"] for picture in nobody["images"])
    name = everybody["images"][0]["name"]
    plain = cv2.imencode(".jpg", cv2.cvtColor(read_image(made.images / name), cv2.COLOR_RGB2BGR))[1].tobytes()
    assert (tmp_path / "none" / name).read_bytes() == plain


@pytest.mark.parametrize("kind", ["people", "crowd"])
def test_a_video_becomes_a_video(kind: str, made: Place, tmp_path: Path) -> None:
    source = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (160, 128))
    for shift in range(5):
        writer.write(np.roll(cv2.imread(str(made.dataset[0].path)), 4 * shift, axis=1))
    writer.release()
    found = made.call(kind, source, tmp_path / "out", "--batch", 2, "--score", -1)
    assert [picture["name"] for picture in found["images"]] == ["0", "1", "2", "3", "4"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["poses.json", "walk.mp4"]
    reader = cv2.VideoCapture(str(tmp_path / "out" / "walk.mp4"))
    shapes = []
    while (frame := reader.read())[0]:
        shapes.append(frame[1].shape)
    assert shapes == [(128, 160, 3)] * 5 and reader.get(cv2.CAP_PROP_FPS) == pytest.approx(10)


def refused(made: Place, capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    with pytest.raises(SystemExit) as stopped:
        run_program(demo.main, made.arguments(*arguments))
    assert stopped.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_what_cannot_be_done_is_said_in_one_line(
    made: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert "no.jpg does not exist: give an image" in refused(made, capsys, "crowd", tmp_path / "no.jpg", out)
    assert "holds no image (.jpg," in refused(made, capsys, "crowd", tmp_path, out)
    picture = made.dataset[0].path
    for place in (picture.parent, picture):
        assert "would be overwritten" in refused(made, capsys, "crowd", place, picture.parent)
    assert "finds people by itself" in refused(made, capsys, "crowd", picture, out, "--boxes", made.annotations)
    assert "MODEL_FILE is empty" in refused(made, capsys, "crowd", picture, out, "TEST.MODEL_FILE", "")
    (tmp_path / "no.mp4").write_bytes(b"no video")
    assert "no.mp4 cannot be read as a video" in refused(made, capsys, "crowd", tmp_path / "no.mp4", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": []}, "neither a list of boxes nor a COCO annotation file"),
        ([{"file_name": "a.jpg", "bbox": [1, 2, 3]}], "entry 0 needs 'bbox' (4 numbers) and 'file_name' or 'image_id'"),
        ([{"bbox": [1, 2, 3, 4]}], "entry 0 needs 'bbox'"),
        ([7], "entry 0 needs 'bbox'"),
        ([{"file_name": "a.jpg", "bbox": [1, 2, 3, 4]}], "no box for any of the images"),
    ],
)
def test_boxes_that_cannot_be_used_are_named(
    content: Any, message: str, made: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(content))
    line = refused(made, capsys, "people", made.images, tmp_path / "out", "--boxes", file)
    assert line.startswith(f"error: {file}: ") and message in line
