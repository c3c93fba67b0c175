"""Hostile inputs of every kind: read, or refused in one line; in time, within memory, and nothing is written elsewhere."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from search_spaces import ArchitectureError
from supernet.errors import UserError
from tests.robust.hostile import HOSTILE

LONGEST = 60.0  # seconds of one input
MOST = 2 * 2**30  # bytes that all inputs of a kind may take above what was taken before
_WRITES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree")
_seen: list[str] | None = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """Remember every path that Python writes to."""
    if _seen is None:
        return
    if event == "open":
        path, mode, flags = arguments
        written = isinstance(flags, int) and flags & 3 or isinstance(mode, str) and set(mode) & set("wax+")
        if written and isinstance(path, str | bytes):
            _seen.append(path if isinstance(path, str) else path.decode(errors="replace"))
    elif event in _WRITES:
        _seen.extend(str(path) for path in arguments[:2] if isinstance(path, str | bytes))


sys.addaudithook(_watch)


@contextmanager
def watched() -> Iterator[list[str]]:
    """The paths that are written to meanwhile."""
    global _seen
    _seen = []
    try:
        yield _seen
    finally:
        _seen = None


def go(kind: str, cases: range, folder: Path) -> None:
    write, _, _ = HOSTILE[kind]
    outcomes = {"read": 0, "refused": 0}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case in cases:
        read = write(case, folder)
        started = time.process_time()
        with watched() as written:
            try:
                read()
                outcomes["read"] += 1
            except (UserError, ArchitectureError) as error:
                assert "\n" not in " ".join(str(error).split("\n")[:1]) and str(error), f"{kind} {case}"
                outcomes["refused"] += 1
            except Exception as error:
                raise AssertionError(f"{kind} {case}: {type(error).__name__}: {error}") from error
        assert time.process_time() - started < LONGEST, f"{kind} {case}"
        outside = [path for path in written if not Path(path).resolve().is_relative_to(folder) and path != "/dev/null"]
        assert not outside, f"{kind} {case}: {outside}"
    taken = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert taken < MOST, f"{kind}: {taken / 2**20:.0f} MiB"
    print(
        f"{kind}: {len(cases)} inputs, {outcomes['read']} read, {outcomes['refused']} refused, {taken / 2**20:.0f} MiB"
    )
    assert outcomes["refused"] and (outcomes["read"] or len(cases) < 100), outcomes  # some damage is harmless


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_inputs(kind: str, tmp_path: Path) -> None:
    go(kind, range(HOSTILE[kind][1]), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
def test_many_hostile_inputs(kind: str, tmp_path: Path) -> None:
    go(kind, range(HOSTILE[kind][1], sum(HOSTILE[kind][1:])), tmp_path)


def test_the_watch_sees_what_is_written_elsewhere(tmp_path: Path) -> None:
    with watched() as written:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").write_text("x")
        (tmp_path / "a" / "b").read_text()
        (tmp_path / "a" / "b").rename(tmp_path / "c")
    assert written == [str(tmp_path / "a"), str(tmp_path / "a" / "b"), str(tmp_path / "a" / "b"), str(tmp_path / "c")]
