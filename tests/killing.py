"""Processes that are killed, as ``kill -9`` does, at a moment that a number names."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.clean_processes import run_clean

Moments = Callable[[Callable[[], None]], AbstractContextManager[None]]  # in which every moment calls the function


@contextmanager
def calls(moment: Callable[[], None]) -> Iterator[None]:
    """Every call of a function, Python's or C's."""
    sys.setprofile(lambda _, event, __: moment() if event in ("call", "c_call") else None)
    yield
    sys.setprofile(None)


def files_of(folder: Path) -> Moments:
    """Whenever a file or folder in there is about to be opened, made, renamed or removed. It costs nothing between."""
    return partial(_files, folder)


@contextmanager
def _files(folder: Path, moment: Callable[[], None]) -> Iterator[None]:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.mkdir", "os.rename", "os.remove") and str(arguments[0]).startswith(str(folder)):
            moment()

    sys.addaudithook(hook)  # which ends with its process
    yield


def run_killed(work: Callable[[], Any], moments: Moments, kill_at: int, counted: Path) -> bool:
    """Do the work in a process of its own.

    Args:
        work: what to do; it is pickled.
        moments: which moments there are.
        kill_at: the moment at which the process gets SIGKILL; 0 for none.
        counted: the file into which it writes how many moments there were.

    Returns:
        Whether it was killed.
    """
    (code,) = run_clean(_do, (work, moments, kill_at, counted), seconds=120)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def _do(work: Callable[[], Any], moments: Moments, kill_at: int, counted: Path) -> None:
    count = 0

    def moment() -> None:
        nonlocal count
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with moments(moment):
        work()
    counted.write_text(str(count))
