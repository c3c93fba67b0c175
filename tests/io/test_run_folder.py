"""Names that become files: none leads out of the run folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.io.files import replacing
from supernet.io.lock import locked
from supernet.io.run_folder import RunFolder, folder_name
from supernet.pipeline.run import Run
from tests.paths import ROOT

EVIL = ("", ".", "..", "/x", "../../evil", "a/b", "a\\b", "a\0", "a\nb", ".hidden", "x" * 300, "\ud800")
FOLDER = RunFolder(Path("run"))


@pytest.mark.parametrize("name", EVIL)
def test_names_that_lead_out_are_refused(name: str) -> None:
    for use in (FOLDER.subnet, FOLDER.trained, FOLDER.evaluated, lambda split: FOLDER.detections("w", split, ".json")):
        if use == FOLDER.evaluated and name in ("", ".", ".."):
            continue  # ".csv" and "..csv" begin with a dot, too
        with pytest.raises(UserError, match="which becomes the name of a file: write letters, digits") as caught:
            use(name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["S", "net (1)", "XS-0.5_a", "größe"])
def test_names_of_files_pass(name: str) -> None:
    assert folder_name(name, "x") == name and FOLDER.subnet(name).path == Path("run/subnets") / name


@pytest.mark.parametrize("name", ["/x", "../../evil", "", "a b", "a/b"])
def test_budgets_are_words(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"SEARCH: {{BUDGETS: {{{name!r}: 40000000}}}}\n")
    with pytest.raises(UserError, match=f"x.yaml: SEARCH.BUDGETS has the name {name!r}; write at most 64 letters"):
        load_config(path)


@pytest.mark.parametrize("name", ["../x", "a,b", "a\nb", " ", "<script>"])
def test_stages_are_words(name: str) -> None:
    with pytest.raises(UserError, match="SUPERNET.STAGES.*has the name .*of letters, digits and -_"):
        load_config(None, base={"SUPERNET": {"STAGES": [{"name": name, "steps": 3}]}}, base_name="x")


def test_runs_stay_in_the_output_folder(tmp_path: Path) -> None:
    cfg = load_config(None, ["OUTPUT_DIR", str(tmp_path / "a #b")])
    assert Run(cfg, Path("x/y.yaml")).folder == tmp_path / "a #b" / "x" / "y"
    for name in ("...yaml", "..yaml", ".x.yaml"):
        with pytest.raises(UserError, match="the name of a run is "):
            _ = Run(cfg, tmp_path / name).folder


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a #b", "a #b"),
        ("'a #b'", "a #b"),
        ("2024", "2024"),
        ("a: b", "a: b"),
        ("[x", "[x"),
        ("it's", "it's"),
        ('"q"', "q"),
    ],
)
def test_text_of_the_command_line_is_kept_whole(text: str, value: str) -> None:
    assert load_config(None, ["OUTPUT_DIR", text]).OUTPUT_DIR == value


def test_what_a_killed_program_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "run" / "config.yaml") as temporary:
        temporary.write_text("x")
        os.link(temporary, temporary.with_name(".config.yaml.0a.tmp"))  # as SIGKILL leaves it
        _ = 1 / 0
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".config.yaml.0a.tmp"]
    with locked(tmp_path / "run"):
        assert not list((tmp_path / "run").iterdir())


def test_output_that_nobody_reads_ends_without_a_word() -> None:
    """As behind ``| head``."""
    read, write = os.pipe()
    os.close(read)
    command = ["tools/profile.py", "--cfg", "synthetic/litepose.yaml", "--superconfig", "litepose-XS"]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True, timeout=200
    )
    os.close(write)
    assert done.returncode == 1 and done.stderr == ""
