"""The programs from end to end on a tiny synthetic dataset, stopped and continued, and what they say to bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch

from search_spaces import litepose
from supernet.cli import search, train, transfer, valid
from supernet.cli.command import Main, run_program
from supernet.config.loading import load_config
from supernet.io import checkpoint
from supernet.pipeline.run import Run
from supernet.pipeline.training import unaligned_of
from supernet.pose.keypoints import COCO
from supernet.training.stages import audit, stages
from tests.paths import ROOT

CFG = ROOT / "experiments" / "synthetic" / "litepose.yaml"
TINY = """
DATASET: {SYNTHETIC: {TRAIN: 30, VAL: 8, SIZE: [128, 128]}, SEARCH_IMAGES: 6, CALIBRATION_IMAGES: 4}
SUPERNET:
  STAGES:
    - {name: largest, open: [], steps: 2, lr: 0.005}
    - {name: all, open: [kernel, depth, expansion, width, deconv_width], steps: 2, lr: 0.005}
SEARCH: {EVALUATIONS: 5, POPULATION: 3, RANDOM_BASELINE: 3, BUDGETS: {S: 50000000, L: 90000000}}
RETRAIN: {EPOCHS: 1, FROM_SCRATCH: true}
"""


def call(main: Main, *arguments: object) -> None:
    """A program with these arguments."""
    main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A finished run of search.py, and the arguments of its configuration."""
    import yaml

    folder = tmp_path_factory.mktemp("tiny")
    content = yaml.safe_load(CFG.read_text())
    for node, values in yaml.safe_load(TINY).items():
        content[node] = {**content[node], **values}
    content["OUTPUT_DIR"], content["DATASET"]["ROOT"] = str(folder / "output"), str(folder / "data")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    call(search.main, "--cfg", folder / "tiny.yaml")
    return folder / "output" / folder.name / "tiny", ["--cfg", str(folder / "tiny.yaml")]


def test_the_whole_loop_leaves_everything(tiny: tuple[Path, list[str]]) -> None:
    """Front, comparison, plot, report, configuration and every subnet with its certificate."""
    folder, _ = tiny
    comparison = pd.read_csv(folder / "comparison.csv")
    front = pd.read_csv(folder / "front.csv")
    assert {"name", "macs", "params", "resolution", "AP", "arch"} <= set(front.columns)
    assert list(comparison.columns) == [
        "name", "macs", "params", "resolution", "ap_transferred", "ap_calibrated", "ap_retrained", "ap_scratch",
    ]  # fmt: skip
    reports = ("pareto.png", "pareto.svg", "report.md", "report.html")
    for name in (*reports, "config.yaml", "search/journal.jsonl", "supernet/log.csv"):
        assert (folder / name).stat().st_size > 0
    for name in comparison.name:
        subnet = folder / "subnets" / name
        arch = litepose.from_json(json.loads((subnet / "arch.json").read_text()))
        certificate = json.loads((subnet / "certificate.json").read_text())
        assert certificate["difference"] == 0.0
        assert certificate["calibration_images"] == 4
        assert certificate["macs"] == int(comparison.macs[comparison.name == name].iloc[0])
        checkpoint.load_checkpoint(litepose.build(arch), subnet / "weights.pt")
        checkpoint.load_checkpoint(litepose.build(arch), subnet / "retrained" / "weights.pt")
        assert set(json.loads((subnet / "metrics.json").read_text())["stages"]) == {
            "transferred", "calibrated", "retrained", "from scratch",
        }  # fmt: skip


def test_a_finished_run_is_not_done_again(tiny: tuple[Path, list[str]]) -> None:
    """The same command changes no weight and adds no evaluation."""
    folder, arguments = tiny
    files = [*folder.glob("**/weights.pt"), folder / "search" / "journal.jsonl", *folder.glob("**/metrics.json")]
    before = {path: path.stat().st_mtime_ns for path in files}
    call(search.main, *arguments)
    assert before == {path: path.stat().st_mtime_ns for path in files}


def test_a_lost_half_is_made_again_alike(tiny: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Half of the journal and one subnet removed: the same journal, front and comparison as before."""
    folder, arguments = tiny
    copy = tmp_path / folder.parent.name / folder.name
    shutil.copytree(folder, copy)
    journal = copy / "search" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:4]) + lines[4][:20])  # the last write was cut in the middle
    name = pd.read_csv(copy / "comparison.csv").name[0]
    shutil.rmtree(copy / "subnets" / name)
    (copy / "comparison.csv").unlink()
    call(search.main, *arguments, "OUTPUT_DIR", tmp_path)
    assert (copy / "front.csv").read_text() == (folder / "front.csv").read_text()
    assert (copy / "comparison.csv").read_text() == (folder / "comparison.csv").read_text()
    assert len(journal.read_text().splitlines()) == len(lines)


def test_each_step_by_hand(tiny: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    """Transfer, retrain, evaluate: each prints the command that comes next."""
    folder, arguments = tiny
    arch = folder / "subnets" / pd.read_csv(folder / "comparison.csv").name[0] / "arch.json"
    mine = folder.parent / "mine.json"
    shutil.copy(arch, mine)
    supernet = folder / "supernet" / "weights.pt"
    call(transfer.main, *arguments, "--superconfig", mine, "TEST.MODEL_FILE", supernet)
    assert "difference to the supernet 0.0" in capsys.readouterr().out
    weights = folder / "subnets" / "mine" / "weights.pt"
    call(train.main, *arguments, "--superconfig", mine, "MODEL.PRETRAINED", weights)
    call(valid.main, *arguments, "--superconfig", mine, "TEST.MODEL_FILE", folder / "trained" / "mine" / "weights.pt")
    out = capsys.readouterr().out
    assert "AP50" in out
    assert "next: python valid.py" in out


def refused(capsys: pytest.CaptureFixture[str], main: Main, *arguments: object) -> str:
    """The one line that a program ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        run_program(main, [str(argument) for argument in arguments])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert not any("Traceback" in line for line in lines)
    return lines[-1]


def test_bad_input(tiny: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line with the remedy, exit code 2, for each thing that a user may get wrong."""
    folder, arguments = tiny
    supernet = folder / "supernet" / "weights.pt"
    into = ["OUTPUT_DIR", tmp_path / "output"]

    def line(main: Main, *more: object) -> str:
        return refused(capsys, main, *arguments, *more, *into)

    def give(text: str) -> Path:
        path = tmp_path / "given.json"
        path.write_text(text)
        return path

    here = ["TEST.MODEL_FILE", supernet]
    assert "resolution 256 is not 128 at resolution" in line(transfer.main, "--superconfig", "litepose-XS", *here)
    assert "given.json:1:2: not JSON" in line(transfer.main, "--superconfig", give("{no"), *here)
    assert "lacks 'backbone_setting'" in line(transfer.main, "--superconfig", give("{}"), *here)
    assert "no such superconfig; give a JSON file, or one of litepose-L" in line(
        transfer.main, "--superconfig", "x", *here
    )
    assert "no such supernet checkpoint" in line(
        transfer.main, "--superconfig", "litepose-XS", "TEST.MODEL_FILE", "no.pt"
    )

    other = tmp_path / "other.pt"
    torch.save(litepose.build(litepose.published()["litepose-XS"]).state_dict(), other)
    smallest = give(json.dumps(litepose.to_json(litepose.SMALL.restrict({"resolution": [128]}).smallest)))
    assert "another architecture" in line(transfer.main, "--superconfig", smallest, "TEST.MODEL_FILE", other)
    assert "another architecture" in line(valid.main, "--superconfig", smallest, "TEST.MODEL_FILE", other)
    assert "TEST.MODEL_FILE is empty" in line(valid.main, "--superconfig", smallest)

    assert "unknown key TRAIN.LEARNING_RATE; did you mean TRAIN.LR?" in line(train.main, "TRAIN.LEARNING_RATE", 1)
    assert "no choice is called 'kernels'" in line(
        train.main, "SUPERNET.STAGES", "[{name: a, open: [kernels], steps: 1, lr: 0.1}]"
    )
    assert "width: 16 would be searched but never trained" in line(
        train.main, "SUPERNET.STAGES", "[{name: a, open: [kernel], steps: 1, lr: 0.1}]"
    )
    assert (
        "SEARCH.BUDGETS.tiny is 0.001 MMACs, which no architecture of the space meets; the smallest possible is"
        in line(search.main, "SEARCH.BUDGETS.tiny", 1000)
    )
    assert "the space does not contain litepose-XS" in line(train.main, "SPACE.MUST_CONTAIN", "[litepose-XS]")
    assert "DATASET.WITH_CENTER true would train something else" in line(train.main, "DATASET.WITH_CENTER", "true")
    assert "was made with SEED 0, now it is 1" in refused(capsys, train.main, *arguments, "SEED", 1)


def test_bad_data(tiny: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing folder, an empty annotation file, an image that cannot be decoded."""
    _, arguments = tiny
    real = [
        "DATASET.SYNTHETIC.TRAIN",
        0,
        "DATASET.DATASET",
        "coco_kpt",
        "MODEL.NUM_JOINTS",
        17,
    ]
    real += ["DATASET.TRAIN", "train2017", "DATASET.SEARCH_IMAGES", 2, "OUTPUT_DIR", tmp_path / "output"]
    line = refused(capsys, train.main, *arguments, *real, "DATASET.ROOT", tmp_path / "nowhere")
    assert "nowhere' is not a folder; set it to where coco lies" in line

    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").mkdir()
    annotations = root / "annotations" / "person_keypoints_train2017.json"
    keypoints = [float(value) for joint in range(17) for value in (joint, 2 * joint, 2)]
    original = {
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.joints)}],
        "images": [{"id": number, "file_name": f"{number}.jpg", "width": 64, "height": 48} for number in range(8)],
        "annotations": [
            {"id": number, "image_id": number, "category_id": 1, "bbox": [0, 0, 20, 40], "area": 500, "iscrowd": 0,
             "num_keypoints": 17, "keypoints": keypoints, "segmentation": []}
            for number in range(8)
        ],
    }  # fmt: skip
    annotations.write_text(json.dumps({**original, "images": [], "annotations": []}))
    assert str(annotations) in refused(capsys, train.main, *arguments, *real, "DATASET.ROOT", root)

    annotations.write_text(json.dumps(original))
    for image in original["images"]:
        (root / "train2017" / image["file_name"]).write_bytes(b"not an image")
    line = refused(capsys, train.main, *arguments, *real, "DATASET.ROOT", root)
    assert ".jpg" in line


def commands() -> Sequence[Main]:
    """Every program."""
    return (search.main, train.main, transfer.main, valid.main)


@pytest.mark.parametrize("main", commands())
def test_help(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    """Says what it does, and shows an example."""
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "examples:\n  python " in capsys.readouterr().out


def test_every_experiment_loads() -> None:
    """Each YAML is valid, opens with its command, and its stages leave no weight untrained."""
    files = sorted((ROOT / "experiments").glob("*/*.yaml"))
    assert len(files) >= 3
    for file in files:
        assert file.read_text().startswith("# python "), file
        cfg = load_config(file)
        run = Run(cfg, file)
        assert run.build(run.space.smallest) is not None
        for name, arch in run.required.items():
            assert run.space.why_not(arch) is None, name
        if cfg.SUPERNET.STAGES:
            audit(run.build, run.space, stages(run.space, cfg.SUPERNET.STAGES), unaligned=unaligned_of(run))
