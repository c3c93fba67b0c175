"""Write ``report.md``: what a run did, on which machine, and its results."""

from __future__ import annotations

import math
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..cost.costs import COSTS, macs_label
from ..io.files import write_atomically
from ..io.run_folder import RunFolder
from ..pose.metrics.score import Score
from .tables import STAGES, read_comparison, read_finalists, read_front, shown_finalists, unmet_of

_TAG = re.compile(r"<(?=[A-Za-z/!?])")
FINALISTS = (
    "The search's best within each budget were scored again on other images that nothing was trained on. The best of many "
    "scores is partly the luckiest, so the mean of both, weighted by images, selects."
)
MOST_ROWS = 30  # of the front; the rest is in front.csv


def write_report(
    folder: Path,
    *,
    title: str = "",
    metric: str = "AP",
    percent: bool = False,
    ran: Mapping[str, Any] | None = None,
    space: Mapping[str, Any] | None = None,
    stages: pd.DataFrame | None = None,
    commands: Sequence[str] = (),
    search: Score | None = None,
) -> Path:
    """Write ``report.md`` beside front.csv, comparison.csv and pareto.png.

    Args:
        folder: the run's.
        title: heading; the folder's name when empty.
        metric: the score of subnets.
        percent: the run's tables have the score in percent (MPII's PCKh); otherwise as a fraction (AP).
        ran: what ran: command, configuration, seed, images, minutes …
        space: the search space: family, architectures, MACs from and to …
        stages: one row per stage of the supernet's training.
        commands: what a reader may run next.
        search: by what the search compared architectures, the score's column in front.csv; None is ``metric``.

    Returns:
        The file.

    Raises:
        UserError: when a table is missing or lacks a column, or the file cannot be written.
    """
    search = search or Score(metric, percent)
    front = read_front(folder, search.name, percent=search.percent, lower=search.lower)
    comparison = read_comparison(folder, percent=percent)
    parts = [f"# {escaped(title or folder.name)}", "![score against MACs](pareto.png)"]
    parts += ["## What ran", bullets({**(ran or {}), **environment()})]
    if space:
        parts += ["## The search space", bullets(space)]
    if stages is not None and len(stages):
        parts += ["## Training of the supernet", markdown_table(stages)]
    parts += ["## Selected subnets", *_comparison(comparison, metric, unmet_of(folder))]
    finalists = read_finalists(folder, search)
    if finalists is not None:
        parts += ["## Finalists", FINALISTS, markdown_table(shown_finalists(finalists, search))]
    parts += ["## The searched front", *_front(front, search)]
    if commands:
        parts += ["## Next", "```sh\n" + "\n".join(commands) + "\n```"]
    path = RunFolder(folder).report("md")
    write_atomically(path, "\n\n".join(parts) + "\n")
    return path


def environment() -> dict[str, str]:
    """The machine and the versions that results depend on: PyTorch, Python, CPU, GPU."""
    facts = {
        "PyTorch": torch.__version__,
        "Python": platform.python_version(),
        "CPU": f"{_cpu_name()}, {torch.get_num_threads()} threads",
    }
    if torch.cuda.is_available():
        facts["GPU"] = f"{torch.cuda.get_device_name()} ({torch.cuda.device_count()})"
    return facts


def bullets(facts: Mapping[str, Any]) -> str:
    """One line ``- name: value`` per fact."""
    return "\n".join(f"- {escaped(str(name))}: {escaped(cell(name, value))}" for name, value in facts.items())


def markdown_table(table: pd.DataFrame) -> str:
    """A Markdown table: numbers right-aligned, costs in readable units, missing values as empty cells."""
    header = "| " + " | ".join(escaped(str(name)) for name in table.columns) + " |"
    rule = "|" + "|".join("---:" if pd.api.types.is_numeric_dtype(table[name]) else "---" for name in table) + "|"
    rows = [
        "| " + " | ".join(_piped(name, value) for name, value in zip(table.columns, row, strict=True)) + " |"
        for row in table.itertuples(index=False)
    ]
    return "\n".join([header, rule, *rows])


def _piped(name: object, value: Any) -> str:
    return escaped(cell(name, value)).replace("|", "\\|")


def _comparison(comparison: pd.DataFrame, metric: str, unmet: Sequence[str]) -> list[str]:
    missing = (
        ["Budgets without a subnet of their own:", "\n".join(f"- {escaped(line)}" for line in unmet)] if unmet else []
    )
    if comparison.empty:
        return missing or ["None: the run has no SEARCH.BUDGETS."]
    return [
        f"{metric} on the reported split, which the search never saw. *After transfer*: extracted weights, with the "
        "BatchNorm statistics of the supernet; *calibrated*: with its own statistics, no weight changed.",
        markdown_table(shown_comparison(comparison, metric)),
        *missing,
    ]


def shown_comparison(comparison: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Costs of the subnets and their scores in percent, with a column for each stage that any of them has a score of."""
    names = {column: f"{metric} {stage} (%)" for column, stage in STAGES.items()}
    shown = comparison[["name", "macs", "params", "resolution", *names]].dropna(axis="columns", how="all")
    return _in_percent(shown, [name for name in names if name in shown]).rename(columns=names)


def _front(front: pd.DataFrame, search: Score) -> list[str]:
    rows = np.unique(np.linspace(0, len(front) - 1, min(len(front), MOST_ROWS)).round().astype(int))
    part = "" if len(rows) == len(front) else f" {len(rows)} of {len(front)} rows, evenly;"
    shown = front.iloc[rows][["name", "macs", "params", "resolution", search.name]]
    shown = shown if search.lower else _in_percent(shown, [search.name])
    shown = shown.rename(columns={search.name: search.heading})
    return [f"{search.name} on the search split;{part} with architectures in `front.csv`.", markdown_table(shown)]


def _in_percent(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    percent = (100 * table[list(columns)].astype(float)).round(1)
    return table.assign(**{name: percent[name] for name in columns})


def cell(name: object, value: Any) -> str:
    """A value as text of a table cell: costs in readable units, nothing for a missing one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if number and "macs" in str(name).lower():
        return macs_label(float(value))
    if number and str(name) in COSTS:
        return COSTS[str(name)].text(float(value))
    if isinstance(value, (float, np.floating)):
        return f"{value:.1f}" if "(%)" in str(name) else f"{value:.4g}"
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return f"{value:,}" if abs(int(value)) >= 10_000 else str(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return " ".join(str(value).split())


def escaped(text: str) -> str:
    """Text as Markdown shows it: what looks like HTML stays text."""
    return _TAG.sub("&lt;", text)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if sys.platform == "linux" and info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
