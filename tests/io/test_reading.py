"""Files that are no files: pipes and devices are refused at once, and nothing larger than allowed is read."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.io.files import read_json, sha256
from supernet.io.matlab import read_matlab
from supernet.io.reading import read_bytes, read_text
from supernet.pose.datasets.images import read_image
from tests.paths import ROOT

READERS = {
    "configuration": load_config,
    "json": read_json,
    "hash": sha256,
    "image": read_image,
    "weights": checkpoint.read,
    "matlab": lambda path: read_matlab(path, "give another"),
}


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize("reader", READERS)
def test_devices_and_pipes_are_refused_at_once(reader: str, pipe: Path) -> None:
    started = time.monotonic()
    for path in (Path("/dev/zero"), pipe, pipe.parent):
        with pytest.raises(UserError, match=str(path)) as caught:
            READERS[reader](path)
        assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 10


def test_what_is_wrong_is_named(pipe: Path) -> None:
    for path, reason in ((Path("/dev/zero"), "is a device, no regular file"), (pipe, "is a named pipe, no regular")):
        with pytest.raises(OSError, match=reason):
            read_bytes(path, 100)
    with pytest.raises(FileNotFoundError):
        read_bytes(pipe.with_name("none"), 100)


def test_no_more_than_allowed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a\r\nb\rc")
    assert read_bytes(path, 6) == b"a\r\nb\rc" and read_text(path) == "a\nb\nc"
    with pytest.raises(OSError, match="has 6 bytes, more than the 5 bytes allowed here"):
        read_bytes(path, 5)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_files_that_do_not_say_their_size_are_bounded() -> None:
    assert b"Name:" in read_bytes(Path("/proc/self/status"), 10_000)
    with pytest.raises(OSError, match="has more than the 10 bytes allowed here"):
        read_bytes(Path("/proc/self/status"), 10)


@pytest.mark.parametrize("option", ["--cfg", "--superconfig", "--weights"])
def test_programs_refuse_devices(option: str) -> None:
    words = [] if option == "--cfg" else ["--cfg", "experiments/synthetic/litepose.yaml"]
    done = subprocess.run(
        [sys.executable, "tools/profile.py" if option != "--weights" else "valid.py", *words, option, "/dev/zero"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
