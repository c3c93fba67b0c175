"""Processes that are killed, as ``kill -9`` does, at a moment that a number names."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

Moments = Callable[[Callable[[], None]], Any]  # a context in which every moment calls the function


@contextmanager
def calls(moment: Callable[[], None]) -> Iterator[None]:
    """Every call of a function, Python's or C's."""
    sys.setprofile(lambda _, event, __: moment() if event in ("call", "c_call") else None)
    yield
    sys.setprofile(None)


def files_of(folder: Path) -> Moments:
    """Whenever a file or folder in there is about to be opened, made, renamed or removed. It costs nothing between."""

    @contextmanager
    def files(moment: Callable[[], None]) -> Iterator[None]:
        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event in ("open", "os.mkdir", "os.rename", "os.remove") and str(arguments[0]).startswith(str(folder)):
                moment()

        sys.addaudithook(hook)  # which ends with its process
        yield

    return files


def run_killed(work: Callable[[], None], moments: Moments, kill_at: int, counted: Path) -> bool:
    """Do the work in a process of its own.

    Args:
        work: what to do.
        moments: which moments there are.
        kill_at: the moment at which the process gets SIGKILL; 0 for none.
        counted: the file into which it writes how many moments there were.

    Returns:
        Whether it was killed.
    """
    process = multiprocessing.get_context("fork").Process(target=_do, args=(work, moments, kill_at, counted))
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _do(work: Callable[[], None], moments: Moments, kill_at: int, counted: Path) -> None:
    torch.set_num_threads(1)
    count = 0

    def moment() -> None:
        nonlocal count
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with moments(moment):
        work()
    counted.write_text(str(count))
