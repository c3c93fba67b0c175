"""Read CSV tables: every row as long as the header, numbers where numbers belong, architectures that are JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from .reading import read_text

if TYPE_CHECKING:  # a training takes no pandas
    import pandas as pd

#: Columns that are numbers in every table, never empty, and not below 0.
COUNTS = frozenset({"macs", "params", "step", "seed"})
#: Columns that are numbers where they are not empty.
NUMBERS = frozenset(
    {"loss", "lr", "images_per_second", "evaluated", "search", "test", "supernet", "kendall", "spearman", "seconds"}
    | {"ap_transferred", "ap_calibrated", "ap_retrained", "ap_scratch", "gmacs_published"}
)
ARCHITECTURE = "arch"
_LONGEST_CELL = 2**24  # characters


def read_rows(path: Path, remedy: str, *, torn: bool = False) -> list[tuple[int, list[str]]]:
    """The rows of a CSV file with the numbers of their lines, the header first; empty lines are passed over.

    With ``torn``, so is a last line without an end, which a killed program may leave.

    Raises:
        UserError: it cannot be read, is no text, or has a row that is not as long as the header.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; {remedy}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a table: no text in UTF-8 (byte {error.start}); {remedy}") from None
    if torn:
        text = text[: text.rfind("\n") + 1]
    rows: list[tuple[int, list[str]]] = []
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if not row:
                continue
            rows.append((reader.line_num, row))
            if len(row) != len(rows[0][1]):
                raise UserError(
                    f"{path}: line {reader.line_num} has {len(row)} cells, the header {len(rows[0][1])}; {remedy}"
                )
    except csv.Error as error:
        raise UserError(f"{path}: not a table: line {reader.line_num}: {error}; {remedy}") from None
    return rows


def read_table(path: Path, columns: Sequence[str], remedy: str, numbers: Collection[str] = ()) -> pd.DataFrame:
    """A CSV file that has these columns.

    Args:
        path: the file.
        columns: that it has to have; others may be there.
        remedy: ends the message.
        numbers: columns that are numbers in this table, beside :data:`COUNTS` and :data:`NUMBERS`.

    Raises:
        UserError: when there is none, it is no table, lacks a column, or has a cell that is not of its column's kind.
    """
    import pandas as pd

    if not path.is_file():
        raise UserError(f"{path}: no such file; {remedy}")
    rows = read_rows(path, remedy)
    if not rows:
        raise UserError(f"{path}: not a table: it is empty; {remedy}")
    head = rows[0][1]
    if len(set(head)) < len(head):
        raise UserError(f"{path}: two columns of the same name; {remedy}")
    for column in columns:
        if column not in head:
            raise UserError(f"{path}: no column {column!r}; there are {', '.join(head)}; {remedy}")
    for place, column in enumerate(head):
        if column in COUNTS or column in NUMBERS or column in numbers:
            for line, row in rows[1:]:
                if not _is_number(row[place], counted=column in COUNTS):
                    what = "no number from 0 on" if column in COUNTS else "no number"
                    raise UserError(f"{path}: line {line}: {column} is {row[place][:40]!r}, {what}; {remedy}")
        elif column == ARCHITECTURE:
            for line, row in rows[1:]:
                if row[place] and not _is_json(row[place]):
                    raise UserError(f"{path}: line {line}: {column} is no architecture (JSON); {remedy}")
    text = io.StringIO()
    csv.writer(text).writerows(row for _, row in rows)
    text.seek(0)
    return pd.read_csv(text, converters={"name": str})  # budgets may be called 01 or NA


def _is_number(text: str, *, counted: bool) -> bool:
    if not text and not counted:
        return True
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and value >= 0 if counted else not math.isinf(value)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
