"""Figures of a training, as CSV and for TensorBoard. What a former run wrote beyond its checkpoint is dropped."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard.writer import SummaryWriter

from ..io.files import write_atomically
from ..io.run_folder import LOG


class TrainingLog:
    """``log.csv`` in a folder, from a step on.

    Args:
        folder: of the training.
        done: steps that the training goes on after.
    """

    def __init__(self, folder: Path, done: int) -> None:
        path = folder / LOG
        rows: list[dict[str, str]] = []
        if path.exists() and done:
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if None not in row.values() and int(row["step"]) <= done]
        kept = io.StringIO(newline="")
        if rows:
            writer = csv.DictWriter(kept, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        write_atomically(path, kept.getvalue())
        self._begun = bool(rows)
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
