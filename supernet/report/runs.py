"""Compare several runs on one page: fronts in one figure, hypervolumes, selected subnets, settings that differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..cost.costs import COSTS
from ..io.files import write_atomically
from ..search.pareto import hypervolume
from .html import Describe, as_table, points_of, render, select_subnets
from .interactive import COLOURS, Series, score_tabs
from .markdown import cell, shown_comparison
from .tables import read_comparison, read_front

MARGIN = 1.1  # the reference point's MACs over the largest of any front, so that the most expensive network counts, too


@dataclass(frozen=True)
class Run:
    """A run to compare.

    Attributes:
        folder: with front.csv and comparison.csv.
        describe: as :func:`.html.write_html` has it.
        config: the run's configuration, nodes and keys.
    """

    folder: Path
    describe: Describe
    config: Mapping[str, Any]


def write_runs(path: Path, runs: Mapping[str, Run], *, metric: str, dataset: str, percent: bool = False) -> Path:
    """Write a page of runs, by their names, that were evaluated on one dataset by one metric.

    Args:
        path: the page to write.
        runs: by their names on the page.
        metric: the score's column in every front.csv.
        dataset: names the page.
        percent: the runs' tables have the score in percent (MPII's PCKh); otherwise as a fraction (AP).

    Returns:
        The file.

    Raises:
        UserError: a table of a run is missing or lacks a column, or the file cannot be written.
    """
    fronts = {name: read_front(run.folder, metric, percent=percent) for name, run in runs.items()}
    comparisons = {name: read_comparison(run.folder, percent=percent) for name, run in runs.items()}
    series = []
    for index, (name, run) in enumerate(runs.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = points_of(fronts[name], metric, run.describe)
        series.append(Series(f"{name}: front", points, colour, line=True))
        selected = select_subnets(run.folder, fronts[name], comparisons[name], run.describe).dropna(
            subset=["ap_retrained"]
        )
        if len(selected):
            retrained = selected.assign(score=selected["ap_retrained"].astype(float))
            series.append(Series(f"{name}: retrained", retrained, colour, "diamond", size=14, named=True))
    shared = [cost for cost in COSTS if all(cost in front for front in fronts.values())]
    reference = MARGIN * max(float(front["macs"].max()) for front in fronts.values())
    content = {
        "title": f"{len(runs)} runs on {dataset}",
        "subtitle": ", ".join(f"{name} ({run.folder})" for name, run in runs.items()),
        "metric": metric,
        "reference": cell("macs", reference),
        "volumes": as_table(_volumes(fronts, metric, reference)),
        "subnets": _selected(comparisons, metric),
        "differences": _differences({name: run.config for name, run in runs.items()}),
    }
    write_atomically(path, render("compare.html", {"costs": score_tabs(series, metric, shared)}, content))
    return path


def _volumes(fronts: Mapping[str, pd.DataFrame], metric: str, reference: float) -> pd.DataFrame:
    rows = [
        {
            "run": name,
            "networks on the front": len(front),
            "smallest MACs": int(front["macs"].min()),
            "largest MACs": int(front["macs"].max()),
            f"best {metric} (%)": 100 * float(front[metric].max()),
            "hypervolume (%)": 100 * hypervolume(front[["macs", metric]].to_numpy(), (reference, 0.0)) / reference,
        }
        for name, front in fronts.items()
    ]
    return pd.DataFrame(rows)


def _selected(comparisons: Mapping[str, pd.DataFrame], metric: str) -> dict[str, Any] | None:
    """The selected subnets of all runs, cheapest first."""
    tables = [table.assign(run=name) for name, table in comparisons.items() if len(table)]
    if not tables:
        return None
    together = pd.concat(tables, ignore_index=True).sort_values("macs", kind="stable", ignore_index=True)
    shown = shown_comparison(together, metric)
    shown.insert(0, "run", together["run"])
    return as_table(shown)


def _differences(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The configuration keys that differ between the runs."""
    flat = {name: dict(_flat(config, "")) for name, config in configs.items()}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    rows = [
        {"key": key} | {name: values.get(key, "") for name, values in flat.items()}
        for key in keys
        if len({values.get(key) for values in flat.values()}) > 1
    ]
    return as_table(pd.DataFrame(rows, dtype=object)) if rows else None


def _flat(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
