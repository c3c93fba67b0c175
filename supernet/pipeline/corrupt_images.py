"""Training images that cannot be read: named, counted over all processes and all stops, and too many end the training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..distributed import any_process
from ..errors import UserError
from .process_group import SINGLE_PROCESS, ProcessGroup
from .progress import say

SHOWN = 5  # in an error's line


class CorruptImages:
    """The distinct images of a training in whose place other ones were taken.

    Args:
        allowed: how many there may be.
        known: those that a checkpoint holds.
        processes: that share the training; all know the same images.
    """

    def __init__(self, allowed: int, known: Iterable[str] = (), processes: ProcessGroup = SINGLE_PROCESS) -> None:
        """Begin with those that are known."""
        self.lines = list(known)
        self._allowed, self._processes = allowed, processes
        self._met: list[str] = []

    def without(self, batches: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The batches of this process, with what is ``broken`` in them taken out and kept for :meth:`count`."""
        for batch in batches:
            self._met += [line for line in batch["corrupt"] if line not in self.lines]
            yield {name: value for name, value in batch.items() if name != "corrupt"}

    def count(self) -> None:
        """Tell all processes what each has met; all of them call this after every step.

        Raises:
            UserError: in every process, when there are more images than allowed.
        """
        if not any_process(bool(self._met)):
            return
        met = self._processes.share([line for lines in self._processes.gather(self._met) for line in lines])
        self._met = []
        for line in dict.fromkeys(met):
            self.lines.append(line)
            say(f"warning: {line}; another image stands in for it ({len(self.lines)} of {self._allowed} allowed)")
        if len(self.lines) > self._allowed:
            names = "; ".join(self.lines[:SHOWN]) + (" ..." if len(self.lines) > SHOWN else "")
            raise UserError(
                f"{len(self.lines)} training images cannot be read, DATASET.MAX_BROKEN allows {self._allowed}: {names}"
            )
