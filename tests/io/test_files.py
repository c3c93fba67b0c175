from __future__ import annotations

import hashlib
import os
import re
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from supernet.errors import UserError
from supernet.io.files import read_json, replacing, sha256, write_atomically


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 4 KiB: what a full disk looks like to a program, without root.

    Not a fixture: pytest reports a result before it ends fixtures, and its own output may be a file.
    """
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)


def test_writes_text_and_bytes_and_makes_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_atomically(path, "é")
    assert path.read_bytes() == "é".encode()
    write_atomically(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


def test_the_old_file_stays_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomically(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == tmp_path
    assert path.read_text() == "new"


def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomically(path, "old")
    with pytest.raises(KeyError), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_is_that_of_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_atomically(tmp_path / "a", "")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_full_disk_is_one_line_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomically(path, "old")
    wanted = re.escape(f"{path}: cannot be written: File too large; make room")
    with pytest.raises(UserError, match=wanted), full_disk():
        write_atomically(path, bytes(10_000))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("by_name", [False, True])
def test_full_disk_under_torch_save(tmp_path: Path, by_name: bool) -> None:
    reason = "the disk is full or the file grew too large" if by_name else "File too large"
    state = {"weight": torch.zeros(10_000)}
    wanted = f"cannot be written: {reason}"
    with pytest.raises(UserError, match=wanted), full_disk(), replacing(tmp_path / "a") as temporary:
        if by_name:
            torch.save(state, temporary)
        else:
            with temporary.open("wb") as file:
                torch.save(state, file)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file/below", "folder"])
def test_a_place_that_cannot_hold_the_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / name}: cannot be written: ")):
        write_atomically(tmp_path / name, "")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_errors_of_the_block_about_other_things_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        (tmp_path / "missing").read_text()
    with pytest.raises(RuntimeError, match="shapes"), replacing(tmp_path / "a"):
        raise RuntimeError("shapes differ")


def test_read_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, 2.5, null]}')
    assert read_json(path) == {"a": [1, 2.5, None]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n  b}', ":2:3: not JSON: Expecting property name"),
        (b"", ":1:1: not JSON: Expecting value"),
        (b'"\xff"', ": not text in UTF-8 (byte 1)"),
        (b"[" * 100_000, ": not usable JSON: nested too deeply"),
        (b" " * 3_000_000, ": cannot be read: has 3 MiB, more than the 2 MiB allowed here"),
    ],
)
def test_read_json_names_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(f"{path}{message}")) as caught:
        read_json(path, max_bytes=2 * 2**20)
    assert "\n" not in str(caught.value)


def test_read_json_missing_and_too_large_by_default(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.json: cannot be read: No such file or directory"):
        read_json(tmp_path / "a.json")
    with (tmp_path / "big.json").open("wb") as file:
        file.truncate(64 * 2**20 + 1)  # sparse
    with pytest.raises(UserError, match=r"big\.json: cannot be read: has 64 MiB, more than the 64 MiB"):
        read_json(tmp_path / "big.json")


def test_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # more than one chunk
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    with pytest.raises(UserError, match="b: cannot be read: No such file"):
        sha256(tmp_path / "b")
