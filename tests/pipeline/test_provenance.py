"""A changed key makes anew what depends on it, and nothing else; what was there is archived, never lost."""

from __future__ import annotations

import csv
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from supernet.cli import search, train
from supernet.cli.command import run_program
from supernet.io import checkpoint
from supernet.io.files import sha256
from tests.killing import files_of, run_killed
from tests.paths import ROOT
from tests.tiny_run import CFG, configured, only_the_chain


def search_quickly(arguments: list[str]) -> None:
    """The whole loop, where nothing is patched yet."""
    with pytest.MonkeyPatch.context() as patch:
        only_the_chain(patch)
        search.main(arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], Path]]:
    """The arguments and the folder of a finished run."""
    folder = tmp_path_factory.mktemp("chain")
    with pytest.MonkeyPatch.context() as patch:
        only_the_chain(patch)
        arguments = configured(folder)
        search.main(arguments)
        yield arguments, folder / "output" / folder.name / "run"


@pytest.fixture
def copy(finished: tuple[list[str], Path], tmp_path: Path) -> tuple[list[str], Path]:
    """The same, for one test."""
    arguments, folder = finished
    mine = tmp_path / folder.parent.name / folder.name
    shutil.copytree(folder, mine)
    return [*arguments, "OUTPUT_DIR", str(tmp_path)], mine


SUPERNET, SEARCH = "supernet/weights.pt", "search/journal.jsonl"
CUT, SCORES, RETRAINED = "subnets/S/weights.pt", "subnets/S/metrics.json", "subnets/S/retrained/weights.pt"
ALL = {SUPERNET, SEARCH, CUT, SCORES, RETRAINED}
STAGES = "[{name: all, open: [deconv_width], steps: 1, lr: 0.005}]"


@pytest.mark.parametrize(
    ("key", "value", "anew", "said"),
    [
        ("SUPERNET.STAGES", STAGES, ALL, "…"),
        pytest.param(
            "DATASET.CALIBRATION_IMAGES",
            "3",
            ALL - {SUPERNET},
            "2 -> 3: subnet S is made anew",
            marks=pytest.mark.slow,
        ),
        (
            "TEST.REFINE",
            "false",
            ALL - {SUPERNET, RETRAINED},
            "True -> False: scores of subnet S are made anew",
        ),
        ("SEARCH.SCORE", "AP", {SEARCH}, "unset -> 'AP': search is made anew"),
        ("RETRAIN.LR", "0.002", {SCORES, RETRAINED}, "0.001 -> 0.002: retraining of subnet S is made anew"),
    ],
)
def test_a_changed_key(
    copy: tuple[list[str], Path], capsys: pytest.CaptureFixture[str], key: str, value: str, anew: set[str], said: str
) -> None:
    """It is said in one line, old files are in old-1 as they were, and the next run finds everything done."""
    arguments, folder = copy
    old = {name: ((folder / name).read_bytes(), (folder / name).stat().st_mtime_ns) for name in ALL}
    search.main([*arguments, key, value])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{key} ")]
    assert any(said in line for line in lines)
    assert all(line.endswith(f"made anew; what was there is in {folder / 'old-1'}") for line in lines)
    assert {name for name in ALL if (folder / name).stat().st_mtime_ns != old[name][1]} == anew
    for name in anew - ({CUT} if key.startswith("TEST.") else set()):  # which has the same weights again
        assert (folder / "old-1" / name).read_bytes() == old[name][0]
    assert ("front.csv" in {path.name for path in (folder / "old-1").iterdir()}) == (SEARCH in anew)

    search.main([*arguments, key, value])
    assert "made anew" not in capsys.readouterr().out and not (folder / "old-2").exists()


def test_keys_of_later_steps_only_let_go_on(copy: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    """More evaluations, a comparison from scratch, a smaller budget: the journal grows; only the other pick is made anew."""
    arguments, folder = copy
    journal, arch = (folder / SEARCH).read_text(), json.loads((folder / "subnets/S/arch.json").read_text())
    retrained = (folder / RETRAINED).stat().st_mtime_ns
    search.main([*arguments, "SEARCH.EVALUATIONS", "6", "RETRAIN.FROM_SCRATCH", "true", "SEARCH.BUDGETS.S", "51000000"])
    assert (folder / SEARCH).read_text().startswith(journal) and (folder / SEARCH).read_text().count("\n") == 7
    assert pd.read_csv(folder / "comparison.csv").ap_scratch.notna().all()
    made_anew = "subnet S is made anew" in capsys.readouterr().out
    assert made_anew == (json.loads((folder / "subnets/S/arch.json").read_text()) != arch)
    assert made_anew == ((folder / RETRAINED).stat().st_mtime_ns != retrained)

    search.main([*arguments, "SEARCH.EVALUATIONS", "6", "SEARCH.BUDGETS.S", "40000000"])
    line = next(line for line in capsys.readouterr().out.splitlines() if "made anew" in line)
    assert line.startswith("architecture ") and f"subnet S is made anew; what was there is in {folder / 'old-'}" in line
    assert json.loads((folder / "subnets/S/arch.json").read_text()) != arch
    (before,) = [p for p in folder.glob("old-*/subnets/S/arch.json") if json.loads(p.read_text()) == arch]
    assert before.with_name("retrained").is_dir()
    assert (folder / SUPERNET).exists() and not list(folder.glob("old-*/supernet"))


def refused(capsys: pytest.CaptureFixture[str], main: object, arguments: list[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        run_program(main, arguments)  # type: ignore[arg-type]
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_what_no_key_explains_is_refused(copy: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A journal of another format or space, a supernet of unknown origin; and single programs refuse changed keys, too."""
    arguments, folder = copy
    assert "was made with SEED 0, now it is 1" in refused(capsys, train.main, [*arguments, "SEED", "1"])
    header, *records = (folder / SEARCH).read_text().splitlines()
    for name, value, line in (
        ("space", "another", "made with space 'another'"),
        ("format", 1, "journal format 1, this"),
    ):
        changed = json.dumps({**json.loads(header), name: value})
        (folder / SEARCH).write_text("\n".join([changed, *records, ""]))
        assert line in refused(capsys, search.main, arguments)
        assert changed in (folder / SEARCH).read_text()
    weights = checkpoint.read(folder / SUPERNET)
    checkpoint.save(folder / SUPERNET, {name: value for name, value in weights.items() if name != "settings"})
    assert "supernet/weights.pt: was made with DATASET." in refused(capsys, search.main, arguments)
    assert not (folder / "old-1").exists()


def outcome(folder: Path) -> dict[str, Any]:
    """Everything in a run folder that is of the last settings and does not say how long it took or where it lies."""
    digest, found = sha256(folder / SUPERNET), {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_dir() or "tensorboard" in name or path.name == "config.yaml" or name.startswith("old-"):
            continue
        text = (
            "" if path.suffix == ".pt" else path.read_text().replace(digest, "of the supernet").replace(str(folder), "")
        )
        found[name] = text
        if path.suffix == ".pt":
            weights = checkpoint.read(path)["state_dict"]
            found[name] = {key: tensor.tolist() for key, tensor in weights.items()}
        elif path.suffix == ".jsonl":
            found[name] = [{**json.loads(line), "seconds": 0} for line in text.splitlines()]
        elif path.name == "log.csv":
            found[name] = [{**row, "images_per_second": ""} for row in csv.DictReader(text.splitlines())]
    return found


def put_aside(folder: Path) -> dict[str, str]:
    """Every weight file and journal that was archived, by the name that it had, with its SHA-256; none is there twice."""
    paths = [path for old in folder.glob("old-*") for path in old.rglob("*") if path.suffix in (".pt", ".jsonl")]
    found = {str(Path(*path.relative_to(folder).parts[1:])): sha256(path) for path in paths}
    assert len(found) == len(paths)
    return found


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_between_any_two_files(finished: tuple[list[str], Path], tmp_path: Path, kills: int) -> None:
    """The whole loop, begun from nothing or over results of other settings: it ends as one that was never killed."""
    arguments, before = finished
    changed = [*arguments, "SUPERNET.STAGES", STAGES, "RETRAIN.LR", "0.002", "CHECKPOINT_SECONDS", "0"]

    def work(name: str) -> Callable[[], None]:
        return partial(search_quickly, [*changed, "OUTPUT_DIR", str(tmp_path / name)])

    def folder_of(name: str) -> Path:
        return tmp_path / name / before.parent.name / before.name

    assert not run_killed(work("whole"), files_of(folder_of("whole")), 0, tmp_path / "moments")
    whole, last = outcome(folder_of("whole")), int((tmp_path / "moments").read_text())
    assert {SUPERNET, SEARCH, CUT, SCORES, RETRAINED, "front.csv", "comparison.csv"} <= set(whole)
    rng, done, number = np.random.default_rng(0), 0, 0
    while done < kills:
        number += 1
        name = f"killed-{number}"
        if number % 2:
            shutil.copytree(before, folder_of(name))
        killed = partial(run_killed, work(name), files_of(folder_of(name)), counted=tmp_path / "moments")
        while killed(int(rng.integers(1, last)) if done < kills else 0):
            done += 1
        assert outcome(folder_of(name)) == whole
        if number % 2:
            files = [path for path in before.rglob("*") if path.suffix in (".pt", ".jsonl")]
            assert put_aside(folder_of(name)) == {str(path.relative_to(before)): sha256(path) for path in files}


@pytest.mark.slow
def test_the_demo_goes_on_within_ten_seconds(tmp_path: Path) -> None:
    """CPU time from the start of the process until its first step is done, the crowd being there."""
    arguments = ["OUTPUT_DIR", tmp_path, "DATASET.ROOT", tmp_path / "data", "CHECKPOINT_SECONDS", 0, "THREADS", 1]
    command = [sys.executable, ROOT / "search.py", "--cfg", CFG, *arguments]
    checkpoint_file = tmp_path / "synthetic" / "litepose" / "supernet" / "checkpoint.pt"

    def until_a_step() -> float:
        before, used = checkpoint_file.exists() and checkpoint_file.stat().st_mtime_ns, _children()
        with subprocess.Popen(
            [str(part) for part in command], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while not (checkpoint_file.exists() and checkpoint_file.stat().st_mtime_ns != before):
                assert process.poll() is None
                time.sleep(0.02)
            process.kill()
        return _children() - used

    until_a_step()
    assert until_a_step() <= 10


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
