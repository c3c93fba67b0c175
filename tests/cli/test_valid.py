"""valid.py: bottom-up and top-down, with and without annotations, stopped and continued, alone and by several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import yaml

from search_spaces import hrnet, litepose
from supernet.cli import valid
from supernet.cli.command import run_program
from supernet.errors import UserError
from supernet.pipeline import evaluation
from supernet.pipeline.process_group import ProcessGroup
from supernet.pose.bottom_up.task import BottomUpTask
from supernet.pose.synthetic.dataset import make_synthetic
from supernet.pose.top_down.task import TopDownTask
from tests.paths import ROOT

PEOPLE = {"DATASET": "coco", "COLOR_RGB": True}


@dataclass(frozen=True)
class Run:
    """A folder with a synthetic dataset, weights of two small networks, and a configuration for each."""

    folder: Path

    def arguments(self, kind: str, *overrides: object) -> list[str]:
        """Of the command line; ``kind`` is people or crowd (bottom-up)."""
        given = ["--cfg", self.folder / f"{kind}.yaml", "--superconfig", self.folder / f"{kind}.json"]
        given += ["TEST.MODEL_FILE", self.folder / kind / "weights.pt", "OUTPUT_DIR", self.folder / "output"]
        return [str(value) for value in (*given, *overrides)]

    def report(self, kind: str, name: str = "val2017.json") -> Path:
        """The file that the program ends with."""
        return self.folder / "output" / self.folder.name / kind / "results" / f"{kind}-{name}"

    def unfinished(self) -> list[Path]:
        """What is left of evaluations that did not end."""
        return sorted(self.folder.glob("output/**/*.unfinished-*"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The crowd and the networks, made once."""
    folder = tmp_path_factory.mktemp("valid")
    make_synthetic(folder / "data", train=2, val=9, width=128, height=128)
    torch.manual_seed(0)
    person = replace(hrnet.SMALL.smallest, resolution=(96, 64))
    crowd = litepose.SMALL.restrict({"resolution": [128]}).smallest
    networks: dict[str, tuple[Any, Any]] = {"people": (hrnet, person), "crowd": (litepose, crowd)}
    for kind, (family, arch) in networks.items():
        (folder / f"{kind}.json").write_text(json.dumps(family.to_json(arch)))
        (folder / kind).mkdir()
        torch.save(family.build(arch, joints=17).state_dict(), folder / kind / "weights.pt")
    common = {"DEVICE": "cpu", "WORKERS": 0, "THREADS": 1, "MODEL": {"NUM_JOINTS": 17}}
    data = {"ROOT": str(folder / "data" / "coco"), "TRAIN": "train2017", "TEST": "val2017", "NUM_JOINTS": 17}
    test = {"USE_GT_BBOX": True, "FLIP_TEST": True, "SHIFT_HEATMAP": True, "POST_PROCESS": True, "IMAGES_PER_GPU": 3}
    settings = {
        "people": {"DATASET": data | PEOPLE, "TEST": test, "SPACE": {"FAMILY": "hrnet"}},
        "crowd": {
            "DATASET": data | {"DATASET": "coco_kpt", "INPUT_SIZE": 128},
            "TEST": {"IMAGES_PER_GPU": 2, "WITH_HEATMAPS": [True, True], "WITH_AE": [True, False], "DETECTION_THRESHOLD": 0.0},
            "SPACE": {"FAMILY": "litepose"},
        },
    }  # fmt: skip
    for kind, nodes in settings.items():
        (folder / f"{kind}.yaml").write_text(yaml.safe_dump(common | nodes))
    return Run(folder)


@pytest.fixture(autouse=True)
def _clean(made: Run) -> Iterator[None]:
    """Nothing of one test is found by the next."""
    yield
    for file in made.folder.glob("output/**/results/*"):
        file.unlink()


def call(made: Run, kind: str, *overrides: object) -> Any:
    """The report of an evaluation that ends."""
    valid.main(made.arguments(kind, *overrides))
    return json.loads(made.report(kind).read_text())


def refused(capsys: pytest.CaptureFixture[str], made: Run, kind: str, *overrides: object) -> str:
    """The one line that an evaluation ends with."""
    with pytest.raises(SystemExit) as stopped:
        run_program(valid.main, made.arguments(kind, *overrides))
    assert stopped.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("kind", ["people", "crowd"])
def test_it_prints_the_ten_numbers_and_writes_the_submission(
    made: Run, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = call(made, kind)
    printed = capsys.readouterr().out
    for name in ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"):
        assert f"{name} " in printed
    assert results
    for result in results:
        assert {"image_id", "category_id", "keypoints", "score"} <= result.keys()
        assert len(result["keypoints"]) == 51
    assert not made.unfinished()


class Stopped(Exception):  # noqa: N818  # no error: somebody pressed a key
    """The program is killed."""


def stop_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> list[int]:
    """Let the program be killed after so many batches; the list has one entry for each batch that is computed."""
    computed: list[int] = []

    def stopping(original: Callable[..., Any]) -> Callable[..., Any]:
        def detect(task: Any, network: Any, part: Any, *more: Any) -> Any:
            if len(computed) == batches:
                raise Stopped
            computed.append(len(part))
            return original(task, network, part, *more)

        return detect

    for task in (BottomUpTask, TopDownTask):
        monkeypatch.setattr(task, "detect", stopping(task.detect))
    return computed


@pytest.mark.parametrize("kind", ["people", "crowd"])
def test_a_stopped_evaluation_goes_on(made: Run, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = call(made, kind)
    stop_after(monkeypatch, 2)
    with pytest.raises(Stopped):
        call(made, kind)
    (begun,) = made.unfinished()
    begun.write_text(begun.read_text() + '{"batch":2,"fou')  # and the last write was cut off
    monkeypatch.undo()
    computed = stop_after(monkeypatch, 99)
    assert call(made, kind) == whole
    monkeypatch.undo()
    everything = stop_after(monkeypatch, 99)
    assert call(made, kind) == whole
    assert len(computed) == len(everything) - 2
    assert not made.unfinished()


@pytest.mark.parametrize("change", ["settings", "weights", "batch"])
def test_what_was_begun_with_others_is_dropped(made: Run, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = stop_after(monkeypatch, 2)
    with pytest.raises(Stopped):
        call(made, "people")
    monkeypatch.undo()
    overrides: list[object] = ["TEST.FLIP_TEST", False]
    if change == "weights":
        weights = made.folder / "other" / "people" / "weights.pt"
        weights.parent.mkdir(parents=True)
        torch.manual_seed(1)
        torch.save(hrnet.build(replace(hrnet.SMALL.smallest, resolution=(96, 64)), joints=17).state_dict(), weights)
        overrides = ["TEST.MODEL_FILE", weights]
    elif change == "batch":  # of which one of the same number is of other images
        overrides = ["TEST.IMAGES_PER_GPU", 2]
    computed = stop_after(monkeypatch, 99)
    after = call(made, "people", *overrides)
    batches = len(computed)
    assert after == call(made, "people", *overrides)
    assert len(computed) == 2 * batches
    assert not made.unfinished()


@pytest.mark.parametrize("kind", ["people", "crowd"])
def test_several_processes_find_what_one_finds(made: Run, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = call(made, kind)
    stop_after(monkeypatch, 1)
    with pytest.raises(Stopped):  # and they go on from what one process began
        call(made, kind)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [*command, "--standalone", str(ROOT / "valid.py"), *made.arguments(kind)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert json.loads(made.report(kind).read_text()) == whole
    assert ended.stdout.count("AP50") == 1
    assert not made.unfinished()


def test_a_full_disk_is_one_line(made: Run) -> None:
    begun = evaluation.Evaluation(made.report("people"), {}, ProcessGroup(0, 1))
    with (
        Path("/dev/full").open("ab", buffering=0) as full,
        pytest.raises(UserError, match=r"/dev/full: cannot be written"),
    ):
        begun._write(full, 0, [[0.0]])


def boxes_of(annotations: Path, file: Path) -> Any:
    """A detector's file that has found everybody, and somebody on no image."""
    content = json.loads(annotations.read_text())
    boxes = [
        {"image_id": one["image_id"], "category_id": 1, "bbox": one["bbox"], "score": 0.9} for one in content["annotations"]
    ]  # fmt: skip
    file.write_text(json.dumps(boxes))
    return content


def test_people_in_detected_boxes(made: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    boxes_of(made.folder / "data" / "coco" / "annotations" / "person_keypoints_val2017.json", tmp_path / "boxes.json")
    here = ["TEST.USE_GT_BBOX", False, "TEST.COCO_BBOX_FILE", tmp_path / "boxes.json"]
    results = call(made, "people", *here)
    assert all(0 < result["score"] < 0.9 for result in results if result["score"])
    line = refused(capsys, made, "people", *here, "TEST.IMAGE_THRE", 0.95)
    assert "boxes.json: no box of category 1" in line
    line = refused(capsys, made, "people", "TEST.USE_GT_BBOX", False)
    assert "TEST.COCO_BBOX_FILE is empty; set it to a detector's boxes, or TEST.USE_GT_BBOX true" in line


@pytest.mark.parametrize("kind", ["people", "crowd"])
def test_hidden_annotations(made: Run, kind: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """COCO's test-dev: a submission and no score; the folder of the images is test2017."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    original = made.folder / "data" / "coco"
    content = boxes_of(original / "annotations" / "person_keypoints_val2017.json", root / "boxes.json")
    content.pop("annotations")
    (root / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(content))
    (root / "test2017").symlink_to(original / "images" / "val2017")
    valid.main(
        made.arguments(kind, "DATASET.ROOT", root, "DATASET.TEST", "test-dev2017")
        + ["TEST.USE_GT_BBOX", "false", "TEST.COCO_BBOX_FILE", str(root / "boxes.json")]
    )
    assert json.loads(made.report(kind, "test-dev2017.json").read_text())
    printed = capsys.readouterr().out
    assert "test-dev2017 has no public annotations: no score is computed" in printed
    assert "AP " not in printed


class TestMpii:
    def arguments(self, made: Run, joints: int = 16) -> list[str]:
        torch.manual_seed(0)
        arch = replace(hrnet.SMALL.smallest, resolution=(96, 64))
        torch.save(hrnet.build(arch, joints=joints).state_dict(), made.folder / "people" / "mpii.pt")
        changed = ["DATASET.DATASET", "mpii", "DATASET.ROOT", made.folder / "data" / "mpii", "DATASET.TEST", "valid"]
        changed += ["MODEL.NUM_JOINTS", joints, "TEST.MODEL_FILE", made.folder / "people" / "mpii.pt"]
        return made.arguments("people", *changed)

    def test_pckh_and_the_matrix_of_predictions(self, made: Run, capsys: pytest.CaptureFixture[str]) -> None:
        valid.main(self.arguments(made))
        printed = capsys.readouterr().out
        for name in ("Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Mean", "Mean@0.1"):
            assert f"{name} " in printed
        report = made.report("people").with_name("mpii-valid-pred.mat")  # the weights are in a file mpii.pt
        predictions = scipy.io.loadmat(report)["preds"]
        people = json.loads((made.folder / "data" / "mpii" / "annot" / "valid.json").read_text())
        assert predictions.shape == (len(people), 16, 2)
        assert np.isfinite(predictions).all()

    def test_without_head_boxes(self, made: Run, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            run_program(valid.main, [*self.arguments(made), "DATASET.MPII_GT", str(made.folder / "none.mat")])
        assert "none.mat: no such file" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            run_program(valid.main, self.arguments(made, joints=17))
        assert "MODEL.NUM_JOINTS is 17, DATASET.DATASET mpii has 16 joints" in capsys.readouterr().err


def test_networks_of_the_other_way_are_refused(made: Run, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, made, "crowd", "DATASET.DATASET", "coco", "TEST.USE_GT_BBOX", True)
    assert "DATASET.DATASET is for one person in a box; write coco_kpt" in line
    assert "DATASET.DATASET 'coco_keypoints' is not known; there are coco_kpt" in refused(
        capsys, made, "people", "DATASET.DATASET", "coco_keypoints"
    )


def test_the_evaluator_is_chosen_by_configuration(made: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """faster-coco-eval says the same; CrowdPose's program evaluates CrowdPose only."""
    printed = []
    for backend in ("pycocotools", "faster"):
        valid.main(made.arguments("people", "TEST.METRIC_BACKEND", backend))
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and "AP 0." in printed[0]
    with pytest.raises(UserError, match="METRIC_BACKEND crowdposetools evaluates CrowdPose only; write pycocotools"):
        valid.main(made.arguments("people", "TEST.METRIC_BACKEND", "crowdposetools"))
