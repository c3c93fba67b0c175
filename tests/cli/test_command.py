"""The command line that all programs share: options, help with examples, and what to do without any."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from supernet.cli import main
from supernet.cli.command import bare_parser, next_command, parser, run_of, run_program
from supernet.cli.valid import report_name
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.pipeline.run import Run
from tests.paths import ROOT

CFG = str(ROOT / "experiments" / "synthetic" / "litepose.yaml")
NO_PROGRAMS = ("setup.py", "config_reference.py")  # the first belongs to pip, the second takes no options
ROOT_SCRIPTS = [path for path in sorted(ROOT.glob("*.py")) if path.name not in NO_PROGRAMS]
TOOLS = [path for path in sorted((ROOT / "tools").glob("*.py")) if path.name not in NO_PROGRAMS]


def test_options_may_stand_before_between_and_after_overrides() -> None:
    """``KEY VALUE`` pairs need not come last, and a negative value is no option."""
    command = parser("what it does", "an example", superconfig="which architecture")
    options = command.parse_args(
        ["SEED", "-1", "--cfg", "a.yaml", "THREADS", "2", "--superconfig", "b", "DEVICE", "cpu"]
    )
    assert (options.cfg, options.superconfig) == (Path("a.yaml"), "b")
    assert options.overrides == ["SEED", "-1", "THREADS", "2", "DEVICE", "cpu"]


def test_a_settings_file_that_is_not_there_names_the_nearest() -> None:
    options = parser("", "").parse_args(["--cfg", "experiments/synthetic/lightpose.yaml"])
    with pytest.raises(UserError, match=r"no such file; the nearest that comes with .* is synthetic/litepose\.yaml"):
        run_of(options)


def test_a_full_gpu_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def full(_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(SystemExit) as caught:
        run_program(full)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: the GPU's memory is full: lower TEST.IMAGES_PER_GPU")


def test_a_wrong_option_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parser("what it does", "  an example").parse_args(["--cfg", CFG, "--cgf", "b"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: unrecognized arguments: --cgf; --help says what there is\n"


def script(path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Run a script as ``python path arguments``, in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    monkeypatch.setattr(sys, "path", [str(path.parent), *sys.path])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(path), run_name="__main__")
    return stopped.value.code


@pytest.mark.parametrize("path", [*ROOT_SCRIPTS, *TOOLS], ids=lambda path: path.stem)
def test_every_script_prints_help_with_examples(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[argparse.ArgumentParser] = []
    print_help = argparse.ArgumentParser.print_help
    monkeypatch.setattr(argparse.ArgumentParser, "print_help", lambda self: (shown.append(self), print_help(self)))
    assert script(path, monkeypatch, "--help") == 0
    assert re.search(rf"python {path.relative_to(ROOT)}\s", capsys.readouterr().out.partition("examples:\n")[2])
    assert [action.dest for action in shown[0]._actions if not action.help] == []


@pytest.mark.parametrize("path", ROOT_SCRIPTS, ids=lambda path: path.stem)
def test_a_root_script_alone_says_what_to_do(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(path, monkeypatch) == 2
    does, begin = capsys.readouterr().err.splitlines()
    assert does.endswith(".")
    assert begin.startswith("Begin with: ") and re.search(rf"{path.name} --(cfg experiments|weights output)/", begin)


def test_the_installed_command_speaks_of_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in main.PROGRAMS:
        monkeypatch.setattr(sys, "argv", [f"pose-supernet {name}"])
        with pytest.raises(SystemExit) as stopped:
            run_program(import_module(f"supernet.cli.{name}").main, ["--help"])
        assert stopped.value.code == 0
        assert f"\n  pose-supernet {name} " in capsys.readouterr().out.partition("examples:")[2]


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("", 2)])
def test_the_installed_command_lists_its_programs(
    argument: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pose-supernet", argument])
    with pytest.raises(SystemExit) as stopped:
        main.main()
    assert stopped.value.code == code
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in main.PROGRAMS) and "examples:" in said


def test_examples_of_several_lines_become_one(capsys: pytest.CaptureFixture[str]) -> None:
    command = bare_parser("Does it.\n\nAnd more.", "  first --a \\\n      --b\n  second")
    command.add_argument("--a", required=True)
    with pytest.raises(SystemExit):
        command.parse_args([])
    assert capsys.readouterr().err == "Does it.\nBegin with: first --a --b   (all options: --help)\n"


def test_the_next_command_keeps_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs stay, unless they are set anew or left out; who installed the package is told its own command."""
    overrides = ["TRAIN.LR", "1e-3", "DATASET.ROOT", "my data", "TEST.MODEL_FILE", "old.pt"]
    run = Run(load_config(Path(CFG), overrides), Path(CFG), overrides)
    shown = next_command(run, "valid", TEST__MODEL_FILE="new.pt")
    assert (
        shown == f"python valid.py --cfg {shlex.quote(CFG)} TRAIN.LR 1e-3 DATASET.ROOT 'my data' TEST.MODEL_FILE new.pt"
    )
    assert next_command(run, "train", "--superconfig", "a.json", TEST__MODEL_FILE="").endswith(
        "--superconfig a.json TRAIN.LR 1e-3 DATASET.ROOT 'my data'"
    )
    monkeypatch.setattr(sys, "argv", ["pose-supernet train"])
    assert next_command(run, "export", TEST__MODEL_FILE="").startswith(
        f"pose-supernet export --cfg {shlex.quote(CFG)} "
    )


@pytest.mark.parametrize(
    ("weights", "name"),
    [
        ("run/subnets/S/retrained/weights.pt", "S-retrained"),
        ("run/subnets/L/scratch/weights.pt", "L-scratch"),
        ("run/subnets/M/weights.pt", "M"),
        ("run/trained/litepose-XS/weights.pt", "litepose-XS"),
        ("pose_hrnet_w32.pth", "pose_hrnet_w32"),
        ("net-int8.onnx", "net-int8"),
    ],
)
def test_detections_are_called_after_their_weights(weights: str, name: str) -> None:
    """So that those of two subnets do not overwrite one another."""
    assert report_name(Path(weights)) == name


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["serch"], 2, "error: 'serch' is no program; the nearest is search; pose-supernet --help lists them"),
        (["--version"], 0, f"pose-supernet {version('pose-supernet')}"),
        (["train", "--cfg", CFG, "TRAIN.LR=0.1"], 2, "in place of TRAIN.LR=0.1 write TRAIN.LR 0.1"),
        (["train", "--cfg", CFG, "--epochs", "3"], 2, "settings are KEY VALUE: TRAIN.END_EPOCH or RETRAIN.EPOCHS or"),
        (["train", "--cfg", CFG, "--batch-size", "3"], 2, "settings are KEY VALUE: TRAIN.IMAGES_PER_GPU or"),
        (["train", "--cfg", CFG, "--xyzzy", "3"], 2, "unrecognized arguments: --xyzzy; --help says what there is"),
        (["train", "--cfg", CFG, "--superconfig", "litepose-XSS"], 2, "no such superconfig; did you mean litepose-XS?"),
        (
            ["transfer", "--cfg", CFG, "--superconfig", "nothere.json"],
            2,
            "nothere.json: no such superconfig; give a JSON",
        ),
    ],
)
def test_a_slip_is_told_the_right_form(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: list[str],
    code: int,
    expected: str,
) -> None:
    """Before anything is drawn, read or trained."""
    monkeypatch.setattr(sys, "argv", ["pose-supernet", *words])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main.main()
    printed = capsys.readouterr()
    assert (ended.value.code or 0) == code and expected in printed.out + printed.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", ["demo", "latency"])
@pytest.mark.parametrize("number", ["0", "-1", "1000000000", "x", "1.5"])
def test_numbers_of_options_have_ranges(program: str, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    begin = import_module(f"supernet.cli.{program}").main
    with pytest.raises(SystemExit) as caught:
        begin(["--cfg", "synthetic/litepose.yaml", "--input", "x", "--batch", number])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert f"argument --batch: '{number}': it takes a whole number, 1 to 65,536" in message and message.count("\n") == 1
