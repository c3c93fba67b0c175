"""Rank-aware helpers for the processes that torchrun starts: rank, broadcast, gather, barrier, locks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed

from ..errors import UserError
from ..io.lock import locked

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """One process of ``size``; the first has ``rank`` 0."""

    rank: int
    size: int

    def first(self, make: Callable[[], T]) -> T:
        """``make()`` by the first process, and then by the others: what the first writes to the disk, they find."""
        if self.rank > 0:
            self.meet()
        made = make()
        if self.rank == 0:
            self.meet()
        return made

    def share(self, value: T) -> T:
        """The value of the first process, in all."""
        values = [value]
        if self.size > 1:
            distributed.broadcast_object_list(values)
        return values[0]

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in the first; an empty list in the others."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size if self.rank == 0 else []
        distributed.gather_object(value, values or None)
        return values

    def part(self, images: int, batch: int) -> slice:
        """Where this process's share of some images lies: whole batches, so that none differs from one process's."""
        first, last = (-(-images // batch) * rank // self.size * batch for rank in (self.rank, self.rank + 1))
        return slice(first, last)

    @contextmanager
    def locked(self, folder: Path) -> Iterator[None]:
        """The first process holds the folder for all, see :func:`supernet.io.lock.locked`."""
        with locked(folder) if self.rank == 0 else nullcontext():
            yield

    def meet(self) -> None:
        """Wait for one another."""
        if self.size > 1:
            distributed.barrier()


SINGLE_PROCESS = ProcessGroup(0, 1)


@contextmanager
def process_group(backend: str = "gloo") -> Iterator[ProcessGroup]:
    """The processes of this program: those of torchrun, or this one alone. Each has its own GPU where there are some.

    Args:
        backend: what carries tensors between them; gloo is enough for lists of results.

    Raises:
        UserError: another process has ended.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield SINGLE_PROCESS
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    distributed.init_process_group(backend)
    try:
        yield ProcessGroup(distributed.get_rank(), size)
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise UserError("another process of this program has ended; its own message says why") from error
        raise
    finally:
        distributed.destroy_process_group()
