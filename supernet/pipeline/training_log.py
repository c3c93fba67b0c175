"""Figures of a training, as CSV and for TensorBoard. What a former run wrote beyond its checkpoint is dropped."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard.writer import SummaryWriter

from ..errors import UserError
from ..io.files import write_atomically
from ..io.run_folder import LOG
from ..io.tables import read_rows


class TrainingLog:
    """``log.csv`` in a folder, from a step on.

    Args:
        folder: of the training.
        done: steps that the training goes on after.
    """

    def __init__(self, folder: Path, done: int) -> None:
        path = folder / LOG
        rows = _until(path, done) if path.exists() and done else []
        kept = io.StringIO(newline="")
        csv.writer(kept).writerows(rows if len(rows) > 1 else [])
        write_atomically(path, kept.getvalue())
        self._begun = len(rows) > 1
        self._file = path.open("a", newline="")
        self._curves = SummaryWriter(str(folder / "tensorboard"), purge_step=done)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._curves.close()

    def write(self, step: int, figures: Mapping[str, float | str]) -> None:
        """Add a line; every line of a training has the same figures."""
        writer = csv.DictWriter(self._file, ["step", *figures])
        if not self._begun:
            writer.writeheader()
            self._begun = True
        writer.writerow({"step": step, **figures})
        self._file.flush()
        for name, value in figures.items():
            if not isinstance(value, str):
                self._curves.add_scalar(name, value, step)


def _until(path: Path, done: int) -> list[list[str]]:
    """The header of a log, and its lines up to a step.

    Raises:
        UserError: it is no such table; the line names its own.
    """
    remedy = "remove it, and the training goes on with a new one"
    rows = read_rows(path, remedy, torn=True)
    if rows and rows[0][1][0] != "step":
        raise UserError(f"{path}: line 1: is no log, its first column is not 'step'; {remedy}")
    for line, row in rows[1:]:
        if not row[0].isascii() or not row[0].isdigit():
            raise UserError(f"{path}: line {line}: step {row[0][:40]!r} is no number of a step; {remedy}")
    return [row for line, row in rows if line == rows[0][0] or int(row[0][:18]) <= done]
