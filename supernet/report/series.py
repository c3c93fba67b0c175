"""The series of the interactive figures: what a search evaluated, its front, selected subnets, published networks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..cost.costs import COSTS
from ..io.files import read_json
from ..io.run_folder import RunFolder
from ..search.journal import canonical_key
from .architecture_text import architecture_lines
from .interactive import Mark, Series, thinned
from .plots import BLUE, GREEN, GREY, ORANGE, RED

SUBNET_SERIES: tuple[
    tuple[str, str, str, Mark, int, bool], ...
] = (  # column of comparison.csv, label, colour, mark, size, filled
    ("ap_scratch", "from scratch", RED, "square", 9, True),
    ("ap_calibrated", "calibrated", GREEN, "circle", 9, False),
    ("ap_retrained", "retrained", GREEN, "diamond", 14, True),
)
Describe = Callable[[Any], Any]


def points_of(table: pd.DataFrame, metric: str, describe: Describe) -> pd.DataFrame:
    """Rows of front.csv or search/found.csv as points of a figure: name, score, architecture text, and their costs."""
    points = table[[name for name in COSTS if name in table]].assign(score=table[metric])
    points["name"] = table["name"] if "name" in table else "candidate"
    points["text"] = [text_of(json.loads(arch), describe) for arch in table["arch"]] if "arch" in table else ""
    return points


def text_of(arch: Any, describe: Describe) -> str:
    """The text of an architecture that is given as JSON."""
    return "\n".join(architecture_lines(describe(arch)))


def select_subnets(
    folder: Path, evaluated: Sequence[pd.DataFrame | None], comparison: pd.DataFrame, describe: Describe
) -> pd.DataFrame:
    """The selected subnets with their costs in the tables of what was evaluated, and their architecture text."""
    tables = [table for table in evaluated if table is not None and "arch" in table]
    known = [name for name in COSTS if name in tables[0] and name not in comparison]
    by_arch: dict[str, Any] = {
        canonical_key(json.loads(row["arch"])): row for table in tables for _, row in table.iterrows()
    }
    rows = []
    for _, row in comparison.iterrows():
        file = RunFolder(folder).subnet(str(row["name"])).architecture
        arch = read_json(file) if file.is_file() else None
        origin = by_arch.get(canonical_key(arch), {})
        text = text_of(arch, describe) if arch is not None else ""
        rows.append({**row, **{name: origin.get(name, float("nan")) for name in known}, "text": text})
    return pd.DataFrame(rows, columns=[*comparison.columns, *known, "text"])


def searched_series(
    metric: str, front: pd.DataFrame, found: pd.DataFrame | None, random: pd.DataFrame | None, describe: Describe
) -> list[Series]:
    """What the search and its random baseline evaluated, and the front, from the back to the front."""
    series = []
    if found is not None and "arch" in found:
        found = found[~found["arch"].isin(front["arch"])]
    if found is not None and len(found):
        label = f"evaluated by the search ({len(found):,})"
        series.append(Series(label, points_of(thinned(found), metric, describe), BLUE, size=6, alpha=0.3))
    if random is not None and len(random):
        points = points_of(thinned(random), metric, describe)
        label = f"random search ({len(random):,})"
        series.append(Series(label, points, ORANGE, "x", size=7, alpha=0.7, line=True, dash="dashed"))
    series.append(Series("searched front", points_of(front, metric, describe), BLUE, size=9, line=True))
    return series


def published_series(references: pd.DataFrame | None) -> list[Series]:
    """Published networks."""
    if references is None or references.empty:
        return []
    counted = "published; MACs as counted in " + references["source"] + ", " + references["convention"]
    points = references[["name", "macs", "score"]].assign(text=counted)
    return [Series("published", points, GREY, "triangle", size=9, filled=False)]


def subnet_series(selected: pd.DataFrame) -> list[Series]:
    """The selected subnets after each stage; names stand at the last one."""
    series = []
    last = [column for column, *_ in SUBNET_SERIES if selected[column].notna().any()][-1:]
    for column, label, colour, mark, size, filled in SUBNET_SERIES:
        done = selected.dropna(subset=[column])
        if len(done):
            points = done.assign(score=done[column].astype(float))
            series.append(Series(label, points, colour, mark, size=size, filled=filled, named=column in last))
    return series
