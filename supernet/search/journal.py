"""Append-only journal of a search: one JSON line per evaluated architecture and stage, never rewritten.

The first line says what the records belong to (format, space, seed, settings); every further line is one record. Each
line is flushed to the disk before the search goes on, so a killed search loses at most the evaluation it was in.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import UserError
from ..io.reading import read_bytes

if TYPE_CHECKING:  # a search takes no pandas
    import pandas as pd

A = TypeVar("A")
FORMAT = 2
LARGEST = 2**30  # bytes; a search of a million architectures writes less
FULL = "full"  # the stage of a record that holds the official metrics
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """One evaluated architecture.

    Attributes:
        key: the canonical JSON of ``arch``.
        arch: the architecture as a JSON value.
        algorithm: who asked for it.
        macs: multiply-accumulates.
        metrics: what evaluating it gave.
        seconds: how long that took.
        costs: what else the search minimises or limits, by name.
        stage: how it was evaluated: ``full``, or the name of a cheaper way.
    """

    key: str
    arch: Any
    algorithm: str
    macs: int
    metrics: dict[str, float]
    seconds: float
    costs: dict[str, float] = field(default_factory=dict)
    stage: str = FULL


def canonical_key(arch: Any) -> str:
    """Canonical JSON of a value: sorted keys, no spaces."""
    return json.dumps(arch, sort_keys=True, separators=(",", ":"), allow_nan=False)


class Journal(Generic[A]):
    """Journal of a search: the records of one space under one set of settings. Several algorithms may share it.

    Args:
        path: the file. It is created with its header when missing, otherwise read and continued.
        space: the fingerprint of the search space.
        seed: the seed of the search.
        settings: what else has to be equal for records to be comparable (dataset, images, weights …), JSON values only.
        to_json: an architecture as a JSON value, the same value for equal architectures only.

    Raises:
        UserError: when the file belongs to another space, seed or settings, or holds something else than records.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        space: str,
        seed: int,
        settings: Mapping[str, Any],
        to_json: Callable[[A], Any],
    ) -> None:
        self.path = path = Path(path)
        self.to_json = to_json
        self._records: dict[tuple[str, str], Record] = {}
        header = {"format": FORMAT, "space": space, "seed": seed, "settings": dict(settings)}
        header = json.loads(json.dumps(header))  # tuples become lists, as they will read back
        _drop_torn_line(path)
        if path.exists() and path.stat().st_size:
            found, records = read_journal(path)
            _check_header(path, found, header)
            self._records = {(record.key, record.stage): record for record in records}
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(header)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def records(self) -> list[Record]:
        """All records, in the order in which they were evaluated."""
        return list(self._records.values())

    def find(self, arch: A, stage: str = FULL) -> Record | None:
        """The record of an architecture at a stage, whichever algorithm asked for it, or None."""
        return self._records.get((canonical_key(self.to_json(arch)), stage))

    def add(
        self,
        arch: A,
        *,
        algorithm: str,
        macs: int,
        metrics: Mapping[str, float],
        seconds: float,
        costs: Mapping[str, float] | None = None,
        stage: str = FULL,
    ) -> Record:
        """Write one record and return it when it is safely on the disk.

        Raises:
            ValueError: when the architecture already has a record of this stage.
        """
        value = self.to_json(arch)
        key = canonical_key(value)
        if (key, stage) in self._records:
            raise ValueError(f"{self.path}: {key} already has a record of stage {stage!r}")
        others = {name: float(number) for name, number in (costs or {}).items()}
        numbers = {name: float(number) for name, number in metrics.items()}
        record = Record(key, json.loads(key), algorithm, int(macs), numbers, float(seconds), others, stage)
        line = asdict(record)
        line["metrics"] = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
        self._append(line)
        self._records[key, stage] = record
        return record

    def _append(self, line: Mapping[str, Any]) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def read_journal(path: Path) -> tuple[dict[str, Any], list[Record]]:
    """Read header and records of a journal, without changing the file; a torn last line is left out.

    Raises:
        UserError: when the file is missing, or a line is not what a journal holds.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such search journal; run the search first")
    lines = _content(path).split(b"\n")[:-1]  # what stands after the last line break is torn, or nothing
    header: dict[str, Any] = {}
    records: dict[tuple[str, str], Record] = {}
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
            if number == 1:
                header = _header_of(value)
                if header["format"] != FORMAT:
                    break
                continue
            record = _record_of(value)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            kind = "header of a search journal" if number == 1 else "record"
            reason = f" ({error})" if type(error) is _FieldError else ""
            raise UserError(f"{path}: line {number} is not a {kind}{reason}; correct or remove it") from None
        if (record.key, record.stage) in records:
            raise UserError(f"{path}: line {number} repeats the record of {record.key}; remove one of the two")
        records[record.key, record.stage] = record
    if header.get("format", FORMAT) != FORMAT:
        raise UserError(f"{path}: journal format {header['format']}, this version reads {FORMAT}; use another folder")
    return header, list(records.values())


class _FieldError(ValueError):
    """A field of a line is not what belongs there."""


def _header_of(value: Any) -> dict[str, Any]:
    header = {name: value[name] for name in ("format", "space", "seed", "settings")}
    for name, kind in (("format", int), ("space", str), ("seed", int), ("settings", dict)):
        if type(header[name]) is not kind:
            raise _FieldError(f"its {name!r} is no {kind.__name__}")
    return header


def _record_of(value: Any) -> Record:
    """A record whose fields are of their types, and whose key is its architecture's."""
    metrics = {name: math.nan if n is None else _number(name, n) for name, n in value["metrics"].items()}
    costs = {name: _number(name, n) for name, n in value.get("costs", {}).items()}
    if type(value["macs"]) is not int or value["macs"] < 0:
        raise _FieldError("its 'macs' is no whole number from 0 on")
    if not isinstance(value["algorithm"], str) or not isinstance(value.get("stage", FULL), str):
        raise _FieldError("its 'algorithm' or 'stage' is no text")
    if value["key"] != canonical_key(value["arch"]):
        raise _FieldError("its key is not that of its architecture")
    return Record(**{**value, "metrics": metrics, "costs": costs, "seconds": _number("seconds", value["seconds"])})


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _FieldError(f"{name!r} is no number")
    return float(value)


def records_frame(records: Sequence[Record]) -> pd.DataFrame:
    """A table of records: algorithm, stage, macs, other costs, metrics, seconds, arch (its canonical JSON)."""
    import pandas as pd

    rows = [
        {
            "algorithm": r.algorithm,
            "stage": r.stage,
            "macs": r.macs,
            **r.costs,
            **r.metrics,
            "seconds": r.seconds,
            "arch": r.key,
        }
        for r in records
    ]
    return pd.DataFrame(rows, columns=None if rows else ["algorithm", "stage", "macs", "seconds", "arch"])


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The settings in which two results differ: name -> (found, wanted), sorted; None where one of them lacks it."""
    names = sorted({*found, *wanted})
    return {name: (found.get(name), wanted.get(name)) for name in names if found.get(name) != wanted.get(name)}


def _check_header(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    changes = differences({**found, "settings": 0}, {**wanted, "settings": 0})
    settings = differences(found["settings"], wanted["settings"])
    for name, (old, new) in {**changes, **{f"settings {name}": pair for name, pair in settings.items()}}.items():
        raise UserError(
            f"{path}: made with {name} {old!r}, this run has {new!r}; use another folder or remove the file"
        )


def _drop_torn_line(path: Path) -> None:
    """Cut off what a kill left behind the last line break, so that the next record starts on its own line."""
    if not path.exists():
        return
    content = _content(path)
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        log.warning("%s: dropped a last line that was cut off (%d bytes)", path, len(content) - whole)
        with path.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, LARGEST)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; use another folder or remove it") from error
