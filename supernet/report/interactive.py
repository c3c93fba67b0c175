"""Interactive figures of report.html, by Bokeh, which loads nothing from elsewhere once its script is in the page.

Scores come in as fractions and are shown in percent; a loss is shown as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from bokeh.models import (
    ColumnDataSource,
    HoverTool,
    InlineStyleSheet,
    Range1d,
    TabPanel,
    Tabs,
)
from bokeh.models.annotations.labels import LabelSet
from bokeh.models.annotations.legends import Legend, LegendItem
from bokeh.plotting import figure

from ..cost.costs import COSTS
from ..pose.metrics.score import Score
from ..search.pareto import non_dominated
from .plots import BLUE, GREEN, ORANGE, RED

COLOURS = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "#8C6D1F", "#3B3B3B")  # for any number of lines, in turn
MOST_POINTS = 2_000  # of one series, so that the page stays small
MOST_STEPS = 800  # of one curve
TIP = """<div style="max-width:min(460px,34vw);overflow-wrap:anywhere;font:13px/1.45 system-ui,sans-serif;color:#1b1f24">
<b>@name</b> · @what<br>SCORE &nbsp;·&nbsp; @costs
<div style="white-space:pre-wrap;color:#4a5560;margin-top:3px">@text</div></div>"""
TAB_STYLE = ".bk-tab { font: 15px system-ui, sans-serif; padding: 6px 16px; }"

Mark = Literal["circle", "x", "diamond", "square", "triangle", "star"]


@dataclass(frozen=True)
class Series:
    """Points of one kind, with one style.

    Attributes:
        label: in the legend and in the tooltips.
        points: ``name``, ``score`` (a fraction), ``text`` (lines), and the known costs of :data:`supernet.cost.costs.COSTS`.
        colour: of marks and line.
        mark: shape of the marks.
        size: of the marks, pixels.
        filled: whether they are filled.
        alpha: how opaque the marks are.
        line: whether the best points are joined, as steps.
        dash: of that line.
        named: whether names stand beside the marks.
    """

    label: str
    points: pd.DataFrame
    colour: str
    mark: Mark = "circle"
    size: int = 8
    filled: bool = True
    alpha: float = 1.0
    line: bool = False
    dash: Literal["solid", "dashed"] = "solid"
    named: bool = False


def score_tabs(series: Sequence[Series], score: Score, costs: Sequence[str]) -> Tabs:
    """Score against cost: a tab for each of ``costs``, with the series that have it."""
    scores = pd.concat([one.points["score"] for one in series])
    low, high = score.shown * float(scores.min()), score.shown * float(scores.max())
    margin = 0.08 * max(high - low, abs(high) / 100 if score.lower else 1.0)
    y_range = Range1d(start=low - margin, end=high + 1.6 * margin)
    sources = [ColumnDataSource(_columns(one, score)) for one in series]
    tip = TIP.replace("SCORE", f"{score.name} @score{{0.0000}}" if score.lower else "@score{0.0} %")
    panels = []
    for cost in costs:
        plot = _plot(
            height=520, x_axis_type="log", y_range=y_range, x_axis_label=COSTS[cost].axis, y_axis_label=score.heading
        )
        drawn = {
            one.label: _draw(plot, one, source, cost, score)
            for one, source in zip(series, sources, strict=True)
            if cost in one.points
        }
        marks = [renderers[0] for renderers in drawn.values()]
        plot.add_tools(HoverTool(renderers=marks, tooltips=tip, point_policy="snap_to_data", limit=1, visible=False))
        plot.add_layout(_legend(drawn), "below")
        panels.append(TabPanel(child=plot, title=COSTS[cost].title))
    return Tabs(tabs=panels, sizing_mode="stretch_width", stylesheets=[InlineStyleSheet(css=TAB_STYLE)])


def _draw(plot: Any, one: Series, source: ColumnDataSource, cost: str, score: Score) -> list[Any]:
    """The marks of a series, and its line if it has one."""
    below = []
    if one.line:
        stairs = _stairs(one.points, cost, score)
        below.append(plot.step(*stairs, mode="after", color=one.colour, line_width=2, line_dash=one.dash))
    marks = plot.scatter(
        cost, "score", source=source, marker=one.mark, size=one.size, line_color=one.colour, line_width=1.4,
        fill_color=one.colour if one.filled else "white", fill_alpha=one.alpha, line_alpha=one.alpha,
    )  # fmt: skip
    if one.named:
        names = LabelSet(
            x=cost, y="score", text="name", source=source, y_offset=8, text_align="center", text_color=one.colour,
            text_font_style="bold", text_font_size="13px",
        )  # fmt: skip
        plot.add_layout(names)
    return [marks, *below]


def curve_figure(curves: Sequence[tuple[str, pd.DataFrame]], y: str) -> Any:
    """Curves of trainings over their steps, on a logarithmic axis: name, and a table with ``step`` and ``y``."""
    plot = _plot(height=280, y_axis_type="log", x_axis_label="step", y_axis_label=y)
    lines: dict[str, list[Any]] = {}
    for index, (name, table) in enumerate(curves):
        shown = table[table[y] > 0].iloc[evenly(int((table[y] > 0).sum()), MOST_STEPS)]
        source = ColumnDataSource({"step": shown["step"], "value": shown[y], "name": [name] * len(shown)})
        colour = COLOURS[index % len(COLOURS)]
        lines[name] = [plot.line("step", "value", source=source, color=colour, line_width=1.6)]
    tips = [("", "@name"), ("step", "@step"), (y, "@value{0.0000}")]
    plot.add_tools(HoverTool(renderers=[line for (line,) in lines.values()], tooltips=tips, limit=1, visible=False))
    plot.add_layout(_legend(lines), "below")
    return plot


def agreement_figure(table: pd.DataFrame, metric: str, search: Score) -> Any:
    """Score of architectures in the supernet (``supernet``) against that of each trained stand-alone (``test``)."""
    unit = "lower is better" if search.lower else "%"
    plot = _plot(
        height=340, x_axis_label=f"{search.name} in the supernet, search split ({unit})",
        y_axis_label=f"{metric} trained stand-alone (%)",
    )  # fmt: skip
    supernet = search.shown * table["supernet"]
    data: dict[str, Any] = {"x": supernet, "y": 100 * table["test"], "macs": table["macs"] / 1e6}
    marks = plot.scatter("x", "y", source=ColumnDataSource(data), size=8, color=BLUE, alpha=0.7)
    tips = [
        ("in the supernet", "@x{0.0000}" if search.lower else "@x{0.0} %"),
        ("stand-alone", "@y{0.0} %"),
        ("MMACs", "@macs{0.0}"),
    ]
    plot.add_tools(HoverTool(renderers=[marks], tooltips=tips, visible=False))
    return plot


def thinned(table: pd.DataFrame) -> pd.DataFrame:
    """At most :data:`MOST_POINTS` rows, evenly."""
    rows: pd.DataFrame = table.iloc[evenly(len(table), MOST_POINTS)]
    return rows


def evenly(count: int, most: int) -> Any:
    """Indices of at most so many of ``count`` things, from the first to the last, evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)) if count else []


def _plot(**options: Any) -> Any:
    """An empty figure in the page's style; the wheel scrolls the page until its tool is chosen."""
    plot = figure(
        tools="pan,box_zoom,wheel_zoom,reset,save", active_drag=None, toolbar_location="above",
        sizing_mode="stretch_width", min_border_right=20, **options,
    )  # fmt: skip
    plot.toolbar.active_scroll = None
    plot.toolbar.logo = None
    plot.outline_line_color = None
    plot.grid.grid_line_color = "#E6E9ED"
    for axis in plot.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "13px"
        axis.axis_label_text_color = axis.major_label_text_color = "#1b1f24"
        axis.minor_tick_line_color = None
    return plot


def _legend(drawn: Mapping[str, list[Any]]) -> Legend:
    """Legend of what was drawn, by its label."""
    items = [LegendItem(label=label, renderers=renderers) for label, renderers in drawn.items()]
    return Legend(
        items=items, click_policy="hide", ncols=2, border_line_color=None, location="top_left", margin=0,
        label_text_font_size="13px", label_text_color="#1b1f24",
    )  # fmt: skip


def _columns(one: Series, score: Score) -> dict[str, Any]:
    """The data of a series in the axes' units."""
    points = one.points
    known = [name for name in COSTS if name in points]
    columns: dict[str, Any] = {name: (points[name] / COSTS[name].axis_unit).to_numpy(dtype=float) for name in known}
    texts = [
        ", ".join(_with_unit(name, value) for name, value in zip(known, row, strict=True) if value == value)
        for row in points[known].itertuples(index=False)
    ]
    return columns | {
        "score": (score.shown * points["score"]).to_numpy(dtype=float),
        "name": points["name"].astype(str).tolist(),
        "text": points["text"].tolist(),
        "what": [one.label] * len(points),
        "costs": texts,
    }


def _with_unit(name: str, value: float) -> str:
    return f"{COSTS[name].text(value)} {COSTS[name].noun}".rstrip()


def _stairs(points: pd.DataFrame, cost: str, score: Score) -> tuple[Any, Any]:
    """The non-dominated points, cheapest first, in the units of the axes."""
    pairs = points[[cost, "score"]].to_numpy(dtype=float)
    best = pairs[non_dominated(pairs * (1, score.sign))]
    best = best[np.argsort(best[:, 0])]
    return best[:, 0] / COSTS[cost].axis_unit, score.shown * best[:, 1]
