"""Run a network over a dataset batch by batch: by several processes, and on from where a former run stopped.

A batch is the same images whichever process computes it and however often the run was stopped, so the numbers are, too.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import UserError
from ..io.files import write_atomically
from ..pose.bottom_up.inference import predict, results
from ..pose.bottom_up.task import BottomUpTask
from ..pose.datasets.coco import PoseDataset
from ..pose.datasets.images import read_image
from ..pose.datasets.people import PeopleDataset
from ..pose.top_down.task import TopDownTask
from .data import AnyDataset
from .process_group import ProcessGroup
from .progress import Progress
from .tasks import Task

Found = list[Any]  # what was found, one JSON value for each image or person of a batch


class Evaluation:
    """The batches of one evaluation, those done kept in files beside the report until it is written.

    Args:
        report: the file that the evaluation ends with.
        settings: everything that the numbers depend on, JSON values; what was begun with others is dropped.
        team: the processes.
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
        task: Task,
        network: nn.Module,
        dataset: AnyDataset,
        input_hw: tuple[int, int],
        *,
        batch: int,
        title: str,
    ) -> list[dict[str, Any]]:
        """Results of a network on a dataset as they are evaluated, in the first process; the others get an empty list."""
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
                found[index] = detect(task, network, part, input_hw)
                self._write(file, index, found[index])
                if progress is not None:
                    progress.to(min(len(dataset), start + len(found) * self._process_group.size * batch))
        done = dict(self._done)
        for others in self._process_group.gather(found):
            done |= others
        ordered = [one for index in sorted(done) for one in done[index]]
        return compiled(task, dataset, ordered, input_hw) if self._process_group.rank == 0 else []

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
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        done: dict[int, Found] = {}
        if lines and lines[0] == self._header:
            for line in lines[1:]:
                try:
                    record = json.loads(line)
                    done[int(record["batch"])] = record["found"]
                except (ValueError, TypeError, KeyError):
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


def detect(task: Task, network: nn.Module, part: AnyDataset, input_hw: tuple[int, int]) -> Found:
    """What a network finds in one batch: of each image its results, or of each person its joints."""
    if isinstance(task, TopDownTask):
        assert isinstance(part, PeopleDataset)
        return list(task.detect(network, part, input_hw))
    assert isinstance(task, BottomUpTask) and isinstance(part, PoseDataset)
    network.eval()
    with torch.inference_mode():
        poses = predict(
            network,
            [read_image(image.path) for image in part],
            replace(task.inference, input_size=input_hw[0]),
            device=task.device,
            channels_last=task.channels_last,
        )
    return [results(image.id, pose) for image, pose in zip(part, poses, strict=True)]


def compiled(task: Task, dataset: AnyDataset, found: Sequence[Any], input_hw: tuple[int, int]) -> list[dict[str, Any]]:
    """The results of a whole dataset of what :func:`detect` found of its batches."""
    if isinstance(task, TopDownTask):
        assert isinstance(dataset, PeopleDataset)
        return task.results(dataset, found, input_hw)
    return [result for of_image in found for result in of_image]
