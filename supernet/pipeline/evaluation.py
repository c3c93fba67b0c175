"""Run a network over a dataset batch by batch: by several processes, and on from where a former run stopped.

A batch is the same images whichever process computes it and however often the run was stopped, so the numbers are, too.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping
from contextlib import nullcontext
from io import FileIO
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import UserError
from ..io.files import write_atomically
from ..io.reading import read_bytes
from ..pose.protocols import KeypointDataset, Result
from ..pose.task import Task
from .process_group import ProcessGroup
from .progress import Progress

UNFINISHED_BYTES = 2 * 2**30  # of what is done of an evaluation
Found = list[Any]  # what was found, one JSON value for each image or person of a batch


class Evaluation:
    """The batches of one evaluation, those done kept in files beside the report until it is written.

    Args:
        report: the file that the evaluation ends with.
        settings: everything that the numbers depend on, JSON values; what was begun with others is dropped.
        process_group: the processes.
    """

    def __init__(self, report: Path, settings: Mapping[str, Any], process_group: ProcessGroup) -> None:
        """Find what is done already."""
        self._header = json.dumps({"settings": settings}, sort_keys=True)
        self._report, self._process_group = report, process_group
        done: dict[int, Found] = {}
        if process_group.rank == 0:
            for file in self._files():
                done |= self._read(file)
            self._keep(done)
        self._done = done  # in the first process
        self.finished = process_group.share(sorted(done))

    def run(
        self,
        task: Task[Any],
        network: nn.Module,
        dataset: KeypointDataset[Any],
        input_hw: tuple[int, int],
        *,
        batch: int,
        title: str,
    ) -> list[Result]:
        """Results of a network on a dataset as they are evaluated, in the first process; the others get an empty list."""
        for index, known in self._done.items():
            if len(known) != len(dataset[index * batch : (index + 1) * batch]):
                raise UserError(f"{self._file(0)}: batch {index} has not as many results as images; remove the file")
        remaining = sorted(set(range(-(-len(dataset) // batch))) - set(self.finished))
        mine = remaining[self._process_group.rank :: self._process_group.size]
        found: dict[int, Found] = {}
        start = min(len(dataset), len(self.finished) * batch)
        with (
            self._file(self._process_group.rank).open("ab", buffering=0) as file,
            Progress(title, len(dataset), start) if self._process_group.rank == 0 else nullcontext() as progress,
        ):
            for index in mine:
                part = dataset[index * batch : (index + 1) * batch]
                found[index] = task.detect(network, part, input_hw)
                self._write(file, index, found[index])
                if progress is not None:
                    progress.to(min(len(dataset), start + len(found) * self._process_group.size * batch))
        done = dict(self._done)
        for others in self._process_group.gather(found):
            done |= others
        ordered = [one for index in sorted(done) for one in done[index]]
        return task.results(dataset, ordered, input_hw) if self._process_group.rank == 0 else []

    def close(self) -> None:
        """The report is written: forget the batches."""
        if self._process_group.rank == 0:
            for file in self._files():
                file.unlink()

    # ------------------------------------------------------------------------------------------------------- batches

    def _file(self, rank: int) -> Path:
        return self._report.with_name(f"{self._report.stem}.unfinished-{rank}.jsonl")

    def _files(self) -> list[Path]:
        return sorted(self._report.parent.glob(f"{glob.escape(self._report.stem)}.unfinished-*.jsonl"))

    def _read(self, file: Path) -> dict[int, Found]:
        """The batches of a file of these settings; a line that was cut off, and what follows, does not count."""
        try:
            lines = read_bytes(file, UNFINISHED_BYTES).decode("utf-8", errors="replace").split("\n")[:-1]
        except OSError as error:
            raise UserError(f"{file}: cannot be read: {error.strerror}; remove it to evaluate anew") from error
        done: dict[int, Found] = {}
        if lines and lines[0] == self._header:
            for line in lines[1:]:
                try:
                    record = json.loads(line)
                    if type(record["batch"]) is not int or not isinstance(record["found"], list):
                        break
                    done[record["batch"]] = record["found"]
                except (ValueError, TypeError, KeyError, RecursionError):
                    break
        return done

    def _keep(self, done: Mapping[int, Found]) -> None:
        """One file with what is done, instead of those of all former processes."""
        lines = [self._header, *(_line(index, found) for index, found in done.items())]
        write_atomically(self._file(0), "".join(f"{line}\n" for line in lines))
        for file in set(self._files()) - {self._file(0)}:
            file.unlink()

    def _write(self, file: FileIO, index: int, found: Found) -> None:
        header = "" if file.tell() else f"{self._header}\n"
        line = f"{header}{_line(index, found)}\n".encode()
        try:
            written = file.write(line)
        except OSError as error:
            raise UserError(f"{file.name}: cannot be written: {error.strerror}; make room") from error
        if written != len(line):
            raise UserError(f"{file.name}: cannot be written: the disk is full; make room")


def _line(index: int, found: Found) -> str:
    return json.dumps({"batch": index, "found": found}, separators=(",", ":"))
