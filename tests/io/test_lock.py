"""One writer at a time in a folder; what killed processes leave behind is taken over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from supernet.cli import search, train
from supernet.errors import UserError
from supernet.io.lock import locked
from tests.paths import ROOT
from tests.tiny_run import configured

HOLD = """
import sys, time
from pathlib import Path
from supernet.io.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as first:
        try:
            with pytest.raises(
                UserError, match=rf"run: is in use by process {first.pid} on .* \(-c .*; wait for it, stop it"
            ):
                locked(tmp_path / "run").__enter__()
            with locked(tmp_path / "other"):
                pass
        finally:
            first.kill()


def test_a_killed_one_is_taken_over(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as first:
        os.kill(first.pid, signal.SIGKILL)
    with locked(tmp_path / "run"):
        assert str(os.getpid()) in (tmp_path / ".run.lock.json").read_text()
    assert not (tmp_path / ".run.lock.json").exists()


def test_one_process_may_hold_it_twice_and_move_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run"):
        with locked(tmp_path / "run"):
            (tmp_path / "run").rename(tmp_path / "old")
        assert (tmp_path / ".run.lock.json").exists()
        code = "import sys; from pathlib import Path; from supernet.io.lock import locked; locked(Path(sys.argv[1])).__enter__()"
        second = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "run"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert f"is in use by process {os.getpid()}" in second.stderr


@pytest.mark.parametrize("program", ["search", "train"])
def test_a_second_program_destroys_nothing(tmp_path: Path, program: str) -> None:
    """A search is running: another one, and a training of the supernet, end before they touch a file; the first goes on."""
    arguments = [
        *configured(tmp_path),
        "SUPERNET.STAGES",
        "[{name: all, open: [deconv_width], steps: 100000, lr: 0.005}]",
    ]
    folder = tmp_path / "output" / tmp_path.name / "run"
    first = subprocess.Popen(
        [sys.executable, ROOT / "search.py", *arguments, "CHECKPOINT_SECONDS", "0"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 300
        while not (folder / "supernet" / "checkpoint.pt").exists():
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        main = {"search": search, "train": train}[program].main
        with pytest.raises(UserError, match=rf"is in use by process {first.pid} on .*search\.py --cfg"):
            main([*arguments, "TRAIN.LR", "0.5"])
        assert first.poll() is None and not list(folder.glob("old-*"))
    finally:
        first.kill()
        first.wait()
