"""Retraining the selected subnets of a front: the files of search.py, done once, by this process or by trials."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from supernet.cli import retrain
from supernet.cli.command import run_program
from supernet.config.loading import load_config
from supernet.io import checkpoint
from supernet.pipeline.cluster import leave
from supernet.pipeline.run import Run
from supernet.pipeline.training import new_supernet
from tests.paths import ROOT

CFG = ROOT / "experiments" / "synthetic" / "litepose.yaml"


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """The arguments and the folder of a run that has a supernet (of fresh weights) and a front of two."""
    folder = tmp_path_factory.mktemp("retrain")
    content = yaml.safe_load(CFG.read_text())
    content["DATASET"] |= {
        "ROOT": str(folder / "data"), "SYNTHETIC": {"TRAIN": 20, "VAL": 3, "SIZE": [128, 128]},
        "SEARCH_IMAGES": 4, "CALIBRATION_IMAGES": 2,
    }  # fmt: skip
    content |= {"OUTPUT_DIR": str(folder / "output"), "THREADS": 1, "RETRAIN": {"EPOCHS": 1}}
    del content["SEARCH"]["BUDGETS"]
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(content))
    (folder / "none.yaml").write_text(yaml.safe_dump(content))
    run = Run(load_config(file, []), file)
    torch.manual_seed(0)
    supernet = {"state_dict": new_supernet(run).state_dict(), "space": run.space.fingerprint}
    checkpoint.save(run.folder / "supernet" / "weights.pt", supernet)
    ends = [run.space.smallest, run.space.largest]
    costs = [int(run.costs.macs(run.space.encode(arch)[None])[0]) for arch in ends]
    front = pd.DataFrame({
        "name": ["front-0", "front-1"], "macs": costs, "AP": [0.1, 0.2],
        "arch": [json.dumps(run.family.to_json(arch)) for arch in ends],
    })  # fmt: skip
    front.to_csv(run.folder / "front.csv", index=False)
    content["SEARCH"]["BUDGETS"] = {"S": costs[0], "L": costs[1]}
    file.write_text(yaml.safe_dump(content))
    return ["--cfg", str(file)], run.folder


def test_selected_are_retrained_once(searched: tuple[list[str], Path]) -> None:
    """The comparison and every subnet's files; the same command again changes nothing, and makes again what is lost."""
    arguments, folder = searched
    retrain.main(arguments)
    comparison = (folder / "comparison.csv").read_text()
    table = pd.read_csv(folder / "comparison.csv")
    assert list(table.name) == ["S", "L"] and table.ap_retrained.notna().all() and table.macs.is_monotonic_increasing
    files = [folder / "subnets" / name / file for name in "SL" for file in ("arch.json", "weights.pt", "metrics.json")]
    files += [folder / "subnets" / name / "retrained" / "weights.pt" for name in "SL"]
    before = {file: file.stat().st_mtime_ns for file in files}
    weights = checkpoint.read(files[-2])["state_dict"]
    retrain.main(arguments)
    assert before == {file: file.stat().st_mtime_ns for file in files}

    shutil.rmtree(folder / "subnets" / "S")
    (folder / "comparison.csv").unlink()
    retrain.main(arguments)
    assert (folder / "comparison.csv").read_text() == comparison
    again = checkpoint.read(files[-2])["state_dict"]
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["OUTPUT_DIR", "nowhere"], "supernet/weights.pt: no such file; run search.py with this --cfg first"),
        (["--cfg", "{folder}/none.yaml"], "SEARCH.BUDGETS is empty: name the budgets"),
        (["--backend", "ray", "RAY.ADDRESS", "127.0.0.1:1"], "RAY.ADDRESS '127.0.0.1:1' does not answer"),
    ],
)
def test_bad_input(
    searched: tuple[list[str], Path], capsys: pytest.CaptureFixture[str], overrides: list[str], line: str
) -> None:
    """One line, exit code 2."""
    path = Path(searched[0][1])
    assert Run(load_config(path), path).data.root.is_dir()  # the dataset is drawn, which shows progress
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        folder = path.parent
        run_program(retrain.main, [*searched[0], *(text.format(folder=folder) for text in overrides)])
    assert stopped.value.code == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("error: ") and line in error


@pytest.fixture
def shut_down() -> Iterator[None]:
    """Whatever happens, no Ray is left behind."""
    yield
    leave()


@pytest.mark.cluster
def test_trials_leave_the_same(searched: tuple[list[str], Path], tmp_path: Path, shut_down: None) -> None:
    """Two Tune trials at a time: comparison and weights as of this process, and no other file in the run folder."""
    arguments, folder = searched
    retrain.main(arguments)
    other = tmp_path / folder.parent.name / folder.name
    for name in ("supernet/weights.pt", "front.csv"):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, other / name)
    retrain.main([*arguments, "--backend", "ray", "RAY.WORKERS", "2", "OUTPUT_DIR", str(tmp_path)])
    assert (other / "comparison.csv").read_text() == (folder / "comparison.csv").read_text()
    for name in "SL":
        here, there = (
            checkpoint.read(where / "subnets" / name / "retrained" / "weights.pt")["state_dict"]
            for where in (folder, other)
        )
        assert all(torch.equal(tensor, there[key]) for key, tensor in here.items())
    assert {path.name for path in other.iterdir()} == {"supernet", "front.csv", "subnets", "comparison.csv"}
