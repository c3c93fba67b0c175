"""Compare several runs on one page: fronts in one figure, hypervolumes, selected subnets, settings that differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..cost.costs import COSTS
from ..io.files import write_atomically
from ..pose.metrics.score import Score
from ..search.pareto import hypervolume
from .html import as_table, render
from .interactive import COLOURS, Series, score_tabs
from .markdown import cell, shown_comparison
from .series import Describe, points_of, select_subnets
from .tables import read_comparison, read_evaluated, read_front

MARGIN = (
    1.1  # the reference point's MACs, and loss, over the largest of any front, so that the last network counts, too
)


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


def write_runs(
    path: Path,
    runs: Mapping[str, Run],
    *,
    metric: str,
    dataset: str,
    percent: bool = False,
    search: Score | None = None,
) -> Path:
    """Write a page of runs, by their names, that were searched and evaluated on one dataset by one metric each.

    Args:
        path: the page to write.
        runs: by their names on the page.
        metric: the score of subnets.
        dataset: names the page.
        percent: the runs' tables have the score in percent (MPII's PCKh); otherwise as a fraction (AP).
        search: by what the searches compared architectures, the score's column in every front.csv; None is ``metric``.

    Returns:
        The file.

    Raises:
        UserError: a table of a run is missing or lacks a column, or the file cannot be written.
    """
    search = search or Score(metric, percent)
    unit = {"percent": search.percent, "lower": search.lower}
    fronts = {name: read_front(run.folder, search.name, **unit) for name, run in runs.items()}
    comparisons = {name: read_comparison(run.folder, percent=percent) for name, run in runs.items()}
    series, reported = [], []
    for index, (name, run) in enumerate(runs.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = points_of(fronts[name], search.name, run.describe)
        series.append(Series(f"{name}: front", points, colour, line=True))
        found = read_evaluated(run.folder, "found", search.name, **unit)
        selected = select_subnets(run.folder, [fronts[name], found], comparisons[name], run.describe)
        selected = selected.dropna(subset=["ap_retrained"])
        if len(selected):
            retrained = selected.assign(score=selected["ap_retrained"].astype(float))
            reported.append(Series(f"{name}: retrained", retrained, colour, "diamond", size=14, named=True))
    shared = [cost for cost in COSTS if all(cost in front for front in fronts.values())]
    reference = MARGIN * max(float(front["macs"].max()) for front in fronts.values())
    worst = MARGIN * max(float(front[search.name].max()) for front in fronts.values()) if search.lower else 0.0
    plots = {"costs": score_tabs([*series, *reported] if search.name == metric else series, search, shared)}
    if search.name != metric and reported:
        plots["reported"] = score_tabs(reported, Score(metric, percent), shared)
    content = {
        "title": f"{len(runs)} runs on {dataset}",
        "subtitle": ", ".join(f"{name} ({run.folder})" for name, run in runs.items()),
        "metric": metric,
        "reference": cell("macs", reference),
        "score": search.name,
        "best": "0" if search.lower else "100 %",
        "worst": cell(search.name, worst) if search.lower else "0",
        "volumes": as_table(_volumes(fronts, search, reference, worst)),
        "subnets": _selected(comparisons, metric),
        "differences": _differences({name: run.config for name, run in runs.items()}),
    }
    write_atomically(path, render("compare.html", plots, content))
    return path


def _volumes(fronts: Mapping[str, pd.DataFrame], search: Score, reference: float, worst: float) -> pd.DataFrame:
    rows = []
    for name, front in fronts.items():
        points = front[["macs", search.name]].to_numpy(dtype=float) * (1, search.sign)
        area = reference * (worst if search.lower else 1.0)
        rows.append(
            {
                "run": name,
                "networks on the front": len(front),
                "smallest MACs": int(front["macs"].min()),
                "largest MACs": int(front["macs"].max()),
                f"best {search.heading}": search.shown * search.sign * float(points[:, 1].max()),
                "hypervolume (%)": 100 * hypervolume(points, (reference, search.sign * worst)) / area,
            }
        )
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
