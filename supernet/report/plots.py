"""Pareto plot of a run: score against multiply-accumulates of front, baseline, selected subnets and published networks."""

from __future__ import annotations

import io
import math
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ..cost.costs import macs_label
from ..io.files import write_atomically
from ..pose.metrics.score import Score
from ..search.pareto import non_dominated

# Okabe and Ito's colours, told apart by colour-blind readers too; every series differs in its mark as well.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6E6E6E"
PUBLISHED_MARKS = ("o", "s", "^", "v", "<", ">", "p", "h", "d", "8", "*", "P")
DATASETS = {"coco": "COCO", "crowdpose": "CrowdPose", "mpii": "MPII", "lsp": "LSP"}
HEADINGS = (
    "During the search, on the search split",
    "Selected subnets, on the reported split",
    "Published, MACs as counted there",
)
FAMILIES = {
    "efficient_hrnet": "EfficientHRNet",
    "higher_hrnet": "HigherHRNet",
    "hrformer": "HRFormer",
    "hrnet": "HRNet",
    "lite_hrnet": "Lite-HRNet",
    "litepose": "LitePose",
    "resnet": "ResNet",
    "transpose": "TransPose",
    "widehrnet": "Wide-HRNet",
}


def pareto_figure(
    front: pd.DataFrame,
    random: pd.DataFrame | None,
    subnets: pd.DataFrame,
    published: pd.DataFrame | None,
    *,
    metric: str,
    dataset: str,
    candidates: pd.DataFrame | None = None,
    search: Score | None = None,
) -> Figure:
    """Draw score (fractions in, percent on the axis; a loss as it is) against MACs (logarithmic).

    Where the search compared architectures by another number than subnets are reported by, each has axes of its own.

    Args:
        front: macs, score of the searched front, as evaluated while searching.
        random: macs, score of the random search's candidates, all of them.
        subnets: name, macs, ap_calibrated, ap_retrained, ap_scratch on the reported split; NaN where not done. The score
            straight after transfer is in the report's table only: it would stretch the axis to zero.
        published: what :func:`.tables.published_networks` gives, for this dataset and metric only.
        metric: of the subnets and published networks; name on the axis.
        dataset: name on the axis.
        candidates: macs, score of all that the search evaluated.
        search: by what it compared them; None is ``metric``.

    Returns:
        A figure of its own, without pyplot's global state.
    """
    search = search or Score(metric)
    other = search.name != metric
    apart = other and (len(subnets) > 0 or (published is not None and len(published) > 0))
    figure = Figure(figsize=(11.8 if apart else 8.2, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(1, 2 if apart else 1, 1)
    _heading(axes, HEADINGS[0])
    if candidates is not None and len(candidates):
        label = f"evaluated by the search ({len(candidates):,})"
        shown = search.shown * candidates["score"]
        axes.scatter(candidates["macs"], shown, s=9, color=BLUE, alpha=0.22, linewidths=0, label=label)
    if random is not None and len(random):
        _random(axes, random, search)
    _front(axes, front, search)
    if other:
        _dress(axes, search, f"{DATASETS.get(dataset, dataset)}, search split")
        axes = figure.add_subplot(1, 2, 2) if apart else axes
    if len(subnets):
        _heading(axes, HEADINGS[1])
        _subnets(axes, subnets)
    if published is not None and len(published):
        _heading(axes, HEADINGS[2])
        _published(axes, published)
    if apart or not other:
        _dress(axes, Score(metric), DATASETS.get(dataset, dataset))
    legend = figure.legend(loc="outside right upper", frameon=False, fontsize=8, labelspacing=0.6, handlelength=1.8)
    for text in legend.get_texts():
        if text.get_text() in HEADINGS:
            text.set_fontweight("bold")
    return figure


def save_figure(figure: Figure, folder: Path, stem: str) -> tuple[Path, Path]:
    """Write ``stem.png`` (200 dpi) and ``stem.svg``: equal figures as equal files, never half a file.

    Raises:
        UserError: when a file cannot be written.
    """
    paths = (folder / f"{stem}.png", folder / f"{stem}.svg")
    for path, metadata in zip(paths, ({"Software": None}, {"Date": None, "Creator": None}), strict=True):
        content = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": stem}):  # otherwise the ids in the SVG are random
            figure.savefig(content, format=path.suffix[1:], dpi=200, metadata=metadata)
        write_atomically(path, content.getvalue())
    return paths


def _steps(points: pd.DataFrame, search: Score) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """MACs and shown score of the non-dominated points, cheapest first."""
    pairs = points[["macs", "score"]].to_numpy(dtype=np.float64)
    best = pairs[non_dominated(pairs * (1, search.sign))]
    best = best[np.argsort(best[:, 0])]
    return best[:, 0], search.shown * best[:, 1]


def _front(axes: Axes, front: pd.DataFrame, search: Score) -> None:
    macs, percent = _steps(front, search)
    axes.step(macs, percent, where="post", color=BLUE, linewidth=1.8, zorder=3)
    axes.plot(macs, percent, "o", color=BLUE, markersize=4, zorder=3)
    axes.plot([], [], "-o", color=BLUE, markersize=4, linewidth=1.8, label="searched front")


def _random(axes: Axes, random: pd.DataFrame, search: Score) -> None:
    macs, percent = _steps(random, search)
    shown = search.shown * random["score"]
    axes.scatter(random["macs"], shown, s=11, marker="x", color=ORANGE, alpha=0.25, linewidths=0.8)
    axes.step(macs, percent, where="post", color=ORANGE, linewidth=1.4, linestyle=(0, (5, 2)), zorder=2.5)
    label = f"random search ({len(random):,})"
    axes.plot([], [], "x", linestyle=(0, (5, 2)), color=ORANGE, markersize=4, linewidth=1.4, label=label)


def _subnets(axes: Axes, subnets: pd.DataFrame) -> None:
    stages = (
        ("ap_scratch", "X", RED, 7.0, "the same, trained from scratch"),
        ("ap_calibrated", "o", GREEN, 5.0, "calibrated"),
        ("ap_retrained", "D", GREEN, 6.5, "retrained"),
    )
    for column, mark, colour, size, label in reversed(stages):
        done = subnets.dropna(subset=[column])
        if len(done):
            fill = colour if column != "ap_calibrated" else "white"
            axes.plot(
                done["macs"], 100 * done[column], mark, color=colour, markerfacecolor=fill, markeredgewidth=1.2,
                markeredgecolor="white" if column == "ap_scratch" else colour, markersize=size, zorder=5, label=label,
            )  # fmt: skip
    for _, row in subnets.iterrows():
        scores = [100 * float(row[column]) for column, *_ in stages if math.isfinite(float(row[column]))]
        if scores:
            axes.vlines(row["macs"], min(scores), max(scores), color=GREEN, linewidth=1.0, zorder=4)
            axes.annotate(
                str(row["name"]), (row["macs"], max(scores)), xytext=(0, 6), textcoords="offset points",
                ha="center", va="bottom", fontsize=9.5, fontweight="bold", color=GREEN, zorder=6,
            )  # fmt: skip


def _published(axes: Axes, published: pd.DataFrame) -> None:
    groups = published.groupby(["family", "convention", "source"], sort=False)
    for index, ((family, convention, source), rows) in enumerate(groups):
        name = FAMILIES.get(str(family), str(rows["name"].iloc[0]))
        counted = "MACs: not stated how" if convention == "unknown" else f"MACs: {convention}"
        axes.plot(
            rows["macs"], 100 * rows["score"], PUBLISHED_MARKS[index % len(PUBLISHED_MARKS)], markerfacecolor="none",
            markeredgecolor=GREY, markersize=5.5, linestyle="none", zorder=2, label=f"{name} ({source};\n{counted})",
        )  # fmt: skip


def _dress(axes: Axes, score: Score, data: str) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(low, high)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda macs, _: macs_label(macs).removesuffix("MACs")))
    axes.margins(y=0.09)
    axes.set_xlabel("multiply-accumulates (MACs) per image")
    axes.set_ylabel(f"{score.name} on {data} ({'lower is better' if score.lower else '%'})")
    axes.tick_params(labelsize=9)
    axes.grid(True, color="#E4E4E4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _heading(axes: Axes, text: str) -> None:
    """A line of its own in the legend."""
    axes.plot([], [], linestyle="none", label=text)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, at most six of them unless they are powers of ten."""
    ticks: list[float] = []
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) <= 6:
            break
    return ticks
