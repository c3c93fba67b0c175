"""README: short, every line can be pasted, the files of its commands exist or are made by earlier ones, its Python runs."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from torch import nn

from supernet.cli import search
from tests.commands import missing_files
from tests.documents import blocks, commands
from tests.paths import ROOT

#: The demo on ten images, with a few steps and evaluations, and networks that find somebody everywhere.
SMALL = shlex.split(
    "THREADS 1 DATASET.SYNTHETIC.TRAIN 8 DATASET.SYNTHETIC.VAL 2 DATASET.SEARCH_IMAGES 2 DATASET.CALIBRATION_IMAGES 2 "
    "SEARCH.EVALUATIONS 4 SEARCH.POPULATION 2 SEARCH.RANDOM_BASELINE 0 SEARCH.BUDGETS '{XS: 1e9, S: 1e9, M: 1e9, L: 1e9}' "
    "SUPERNET.STAGES '[{name: all, open: [kernel, depth, expansion, width, deconv_width], steps: 2}]' "
    "TRAIN.IMAGES_PER_GPU 2 RETRAIN.EPOCHS 1 TEST.DETECTION_THRESHOLD 0"
)
README = (ROOT / "README.md").read_text()
BY_THE_SHELL = ("python3 -m venv .venv && . .venv/bin/activate",)  # lines that are no program's


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_every_line_of_the_readme_can_be_pasted() -> None:
    """Each line of a block is a command that is checked, without anything to fill in, and so are those in prose."""
    lines = [line for block in blocks(README, "") for line in block.splitlines()]
    found = commands(README)
    assert [line for line in lines if line not in found and line not in BY_THE_SHELL] == []
    assert [command for command in found if "<" in command or "…" in command] == []


def test_the_files_of_the_readmes_commands_are_there_or_made_by_an_earlier_one() -> None:
    assert missing_files(commands(README)) == {}


def test_the_checker_finds_a_file_that_nothing_makes() -> None:
    weights = "output/synthetic/litepose/subnets/S/retrained/weights.pt"
    valid, export = f"python valid.py --weights {weights}", f"python tools/export.py --weights {weights} --out net.onnx"
    other_budget = weights.replace("/S/", "/of no budget/").replace(" ", "-")
    assert missing_files([valid.replace(weights, other_budget)]) == {
        f"python valid.py --weights {other_budget}": [other_budget]
    }
    assert missing_files(["make demo", valid, export, "python valid.py --weights net.onnx"]) == {}
    assert missing_files(["make demo", export, other := "python valid.py --weights net-int8.onnx"]) == {
        other: ["net-int8.onnx"]
    }
    assert missing_files([data := "python train.py --cfg experiments/coco/litepose.yaml DATASET.ROOT coco"]) == {
        data: ["coco"]
    }


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``make demo`` has run, made small."""
    folder = tmp_path_factory.mktemp("clone")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(search, "write_reports", lambda *_: [])
        search.main(["--cfg", "experiments/synthetic/litepose.yaml", *SMALL])
    subnets = folder / "output" / "synthetic" / "litepose" / "subnets"
    (folder / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "photo.jpg", folder / "examples")
    shutil.copytree(subnets / "XS", subnets / "S")  # the one that serves all budgets has the name of the smallest
    return folder


def test_the_python_of_the_readme_runs(
    demo_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(demo_run)
    names: dict[str, object] = {"__name__": "readme"}
    monkeypatch.setitem(sys.modules, "readme", types.ModuleType("readme"))  # where dataclasses look for their module
    for block in blocks(README, "python"):
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102
    assert len(capsys.readouterr().out.splitlines()) >= 14  # a person: score, box, and 14 joints
    assert isinstance(names["network"], nn.Module) and isinstance(names["subnet"], nn.Module)


@pytest.mark.slow
def test_the_commands_of_the_readme_run(demo_run: Path) -> None:
    """Those of a user, in the folder of the small demo, where a search has few images and a latency table few networks."""
    less = {
        "search.py": SMALL,
        "latency.py": "--measure 8 --check 2 --repeats 2".split(),
        "export.py": ["--no-compile"],
    }
    ran = []
    for command in commands(README):
        _, script, *words = [*shlex.split(command), ""]
        if not command.startswith("python ") or script.startswith(("-m", "tools/bench", "examples")):
            continue
        extra = [] if "DATASET.ROOT" in words else less.get(Path(script).name, [])
        done = subprocess.run(
            [sys.executable, ROOT / script, *words[:-1], *extra],
            cwd=demo_run, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr[-1000:]}"
        ran.append(script)
    assert len(ran) >= 9
