"""Read and check the tables of a run, and the table of published networks.

Scores are returned as fractions from 0 to 1, whatever unit the files have; figures and reports show them in percent.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..cost.costs import COSTS
from ..errors import UserError
from ..io.files import write_atomically
from ..io.run_folder import RunFolder
from ..io.tables import read_table
from ..pose.metrics.score import Score

FRONT_COLUMNS = ("name", "macs", "params", "resolution", "arch")
STAGES = {
    "ap_transferred": "after transfer",
    "ap_calibrated": "calibrated",
    "ap_retrained": "retrained",
    "ap_scratch": "from scratch",
}
COMPARISON_COLUMNS = ("name", "macs", "params", "resolution", *STAGES)
BUDGET_COLUMNS = ("name", "limit", "arch", "reason")
#: Behind the name of the search's score: on the final images, and on both parts.
FINAL, BOTH = "_final", "_both"
PUBLISHED_COLUMNS = (
    "name",
    "family",
    "dataset",
    "approach",
    "gmacs_published",
    "counting_convention",
    "metric",
    "score",
)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table, whole or not at all."""
    text = io.StringIO()
    table.to_csv(text, index=False)
    write_atomically(path, text.getvalue())


def read_front(folder: Path, metric: str, *, percent: bool = False, lower: bool = False) -> pd.DataFrame:
    """``front.csv`` of a run: name, macs, params, resolution, scores, arch; cheapest first.

    Args:
        folder: the run's.
        metric: the score's column.
        percent: the file has the score in percent, as MPII's PCKh; otherwise as a fraction, as COCO's AP.
        lower: the score is a loss, which stays as it is.

    Raises:
        UserError: when it is missing, empty, or lacks a column.
    """
    table = read_table(RunFolder(folder).front, (*FRONT_COLUMNS, metric), "run search.py first", (metric, *COSTS))
    if table.empty:
        raise UserError(f"{folder / 'front.csv'}: no architectures; run search.py again with more SEARCH.EVALUATIONS")
    return as_fractions(table, [] if lower else [metric], percent).sort_values("macs", ignore_index=True)


def read_comparison(folder: Path, *, percent: bool = False) -> pd.DataFrame:
    """``comparison.csv`` of a run: the subnets and their scores after every step; a step not done is NaN.

    Args:
        folder: the run's.
        percent: the file has scores in percent; otherwise as fractions.

    Raises:
        UserError: when it is missing or lacks a column.
    """
    path = RunFolder(folder).comparison
    if _is_blank(path):
        return pd.DataFrame(columns=list(COMPARISON_COLUMNS))  # a run without budgets compares nothing
    table = read_table(path, COMPARISON_COLUMNS, "run search.py first").sort_values("macs", ignore_index=True)
    return as_fractions(table, list(STAGES), percent)


def unmet_of(folder: Path) -> list[str]:
    """A line for each budget without a subnet of its own, from ``budgets.csv`` of a run: its name, its limit, why.

    Raises:
        UserError: when the file lacks a column.
    """
    path = RunFolder(folder).budgets
    if not path.is_file():  # a run of before it was written
        return []
    table = read_table(path, BUDGET_COLUMNS, "run search.py again")
    table = table[table["reason"].notna()]
    return [f"{row['name']} ({row['limit']}): {row['reason']}" for _, row in table.iterrows()]


def read_finalists(folder: Path, search: Score) -> pd.DataFrame | None:
    """The finalists of a run's search, cheapest first, with the budgets that selected them; None where there are none.

    Raises:
        UserError: when the file lacks a column.
    """
    path = RunFolder(folder).finalists
    if not path.is_file():
        return None
    scores = [search.name, f"{search.name}{FINAL}", f"{search.name}{BOTH}"]
    table = read_table(path, ("budgets", "macs", "params", *scores, "arch"), "run search.py again", scores)
    table = as_fractions(table, [] if search.lower else scores, search.percent).sort_values("macs", ignore_index=True)
    budgets = RunFolder(folder).budgets
    selected = read_table(budgets, BUDGET_COLUMNS, "run search.py again") if budgets.is_file() else None
    names = (
        {} if selected is None else {row["arch"]: row["name"] for _, row in selected[selected.reason.isna()].iterrows()}
    )
    return table.assign(selected=[names.get(arch, "") for arch in table["arch"]])


def shown_finalists(table: pd.DataFrame, search: Score) -> pd.DataFrame:
    """Finalists for a reader: costs, budgets, and the three scores in the unit that the score is shown in."""
    unit = "lower is better" if search.lower else "%"
    parts = {"": "search images", FINAL: "final images", BOTH: "both"}
    names = {f"{search.name}{end}": f"{search.name}, {part} ({unit})" for end, part in parts.items()}
    shown = table[["selected", "budgets", "macs", "params", *names]]
    digits = 4 if search.lower else 1
    return shown.assign(**{name: (search.shown * shown[name]).round(digits) for name in names}).rename(columns=names)


def read_evaluated(
    folder: Path, which: str, metric: str, *, percent: bool = False, lower: bool = False
) -> pd.DataFrame | None:
    """The architectures that the search (``found``) or its random baseline (``random``) evaluated; None without a file.

    Args:
        folder: the run's.
        which: ``found`` or ``random``.
        metric: the score's column.
        percent: the file has the score in percent; otherwise as a fraction.
        lower: the score is a loss, which stays as it is.

    Raises:
        UserError: when the file lacks a column.
    """
    path = RunFolder(folder).evaluated(which)
    if not path.is_file() or _is_blank(path):
        return None
    table = read_table(path, ("macs", metric), "run search.py again", (metric, *COSTS))
    return as_fractions(table, [] if lower else [metric], percent)


def as_fractions(table: pd.DataFrame, columns: Sequence[str], percent: bool) -> pd.DataFrame:
    """The table with scores from 0 to 1 in these columns.

    Raises:
        UserError: scores that are said to be fractions exceed 1.
    """
    scores = table[list(columns)].astype(float)
    if percent:
        scores = scores / 100
    elif (scores > 1).any(axis=None):
        name = next(column for column in columns if (scores[column] > 1).any())
        raise UserError(f"{name}: {scores[name].max():g} is no fraction of 1; scores in percent need percent=True")
    return table.assign(**{name: scores[name] for name in columns})


def published_networks(path: Path, dataset: str, metric: str, approach: str | None = None) -> pd.DataFrame:
    """Networks that papers report on one dataset by one metric.

    Args:
        path: a table with :data:`PUBLISHED_COLUMNS`.
        dataset: such as ``crowdpose``; rows of ``crowdpose (top-down)`` belong to it.
        metric: such as ``AP``. Where a row has it "with post-processing / without", the first number counts.
        approach: only ``bottom-up`` (MACs are per image) or ``top-down`` (MACs are per person) networks.

    Returns:
        name, family, approach, macs, score (fraction), convention, source. ``macs`` are as that paper counted them:
        no two conventions agree, so whoever shows them has to say which one it is.

    Raises:
        UserError: when the table is missing or lacks a column.
    """
    table = read_table(path, (*PUBLISHED_COLUMNS, "source"), "give the table of published networks")
    mine = table["dataset"].astype(str).str.replace(r" \(.*\)", "", regex=True) == dataset
    mine &= table["metric"].astype(str).str.split(" with ").str[0] == metric
    if approach is not None:
        mine &= table["approach"] == approach
    table = table[mine & table["gmacs_published"].notna()]
    return pd.DataFrame(
        {
            "name": table["name"].str.split(" (", regex=False).str[0],
            "family": table["family"],
            "approach": table["approach"],
            "macs": table["gmacs_published"].astype(float) * 1e9,
            "score": _first_number(path, table["score"]) / 100,
            "convention": table["counting_convention"]
            .fillna("unknown")
            .astype(str)
            .str.split(" (", regex=False)
            .str[0],
            "source": table["source"],
        }
    ).reset_index(drop=True)


def _first_number(path: Path, scores: pd.Series) -> pd.Series:
    """The scores of ``77.4`` and of ``77.4 / 76.1``.

    Raises:
        UserError: one is neither.
    """
    texts = scores.astype(str).str.split(" / ").str[0]
    numbers = pd.to_numeric(texts, errors="coerce")
    if (wrong := numbers.isna() & (texts != "nan")).any():
        raise UserError(f"{path}: score {texts[wrong].iloc[0]!r} is no number; give the table of published networks")
    return numbers.astype(float)


def _is_blank(path: Path) -> bool:
    """Whether a file is there and has nothing in it but line breaks."""
    return path.is_file() and path.stat().st_size <= 2 and not path.read_bytes().strip()
