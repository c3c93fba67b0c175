"""Processes that begin clean: forked from a server that has imported what tests use and computed nothing yet.

A process that has used autograd may not be forked where torch has threads for GPUs, even if there is no GPU; and a new
interpreter for each process would import torch anew, for seconds.
"""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch._dynamo", "tests.tiny_run", "tests.tiny_training", "tests.toy_search"])


def run_clean(work: Callable[..., Any], *argument_lists: Sequence[Any], seconds: float = 60) -> list[int | None]:
    """Call a function in a process for each list of arguments, all at the same time.

    Function and arguments are pickled, and what is patched in this process is not patched in those.

    Returns:
        The exit codes in the order of the lists; that of a killed process is -9.

    Raises:
        TimeoutError: one of them took longer than ``seconds``; none is left.
    """
    processes = [_CONTEXT.Process(target=_start, args=(warnings.filters, work, *each)) for each in argument_lists]
    for process in processes:
        process.start()
    for process in processes:
        process.join(seconds)
    late = [process for process in processes if process.is_alive()]
    for process in late:
        process.kill()
        process.join()
    if late:
        raise TimeoutError(f"{len(late)} of {len(processes)} processes have not ended after {seconds} s")
    return [process.exitcode for process in processes]


def _start(filters: list[Any], work: Callable[..., Any], *arguments: Any) -> None:
    torch.set_num_threads(1)
    multiprocessing.set_start_method(None, force=True)  # whatever a program has that was started by a command
    warnings.filters[:] = filters  # type: ignore[index]
    work(*arguments)
