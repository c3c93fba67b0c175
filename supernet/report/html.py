"""Write ``report.html``: one self-contained page of a run with interactive figures, tables, images and commands."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
from bokeh.embed import json_item
from bokeh.resources import Resources
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..cost.costs import COSTS
from ..io.files import read_json, sha256, write_atomically
from ..io.run_folder import LOG, RunFolder
from ..search.journal import canonical_key
from .architecture_text import architecture_lines
from .diagram import LABEL, Network, draw_diagrams, legend
from .interactive import Mark, Series, agreement_figure, curve_figure, score_tabs, thinned
from .markdown import cell, environment, shown_comparison
from .plots import BLUE, GREEN, GREY, ORANGE, RED
from .tables import as_fractions, published_networks, read_comparison, read_evaluated, read_front, read_table, unmet_of

PACKAGES = ("pose-supernet", "numpy", "pandas", "opencv-python-headless", "pycocotools")
SUBNET_SERIES: tuple[
    tuple[str, str, str, Mark, int, bool], ...
] = (  # column of comparison.csv, label, colour, mark, size, filled
    ("ap_scratch", "from scratch", RED, "square", 9, True),
    ("ap_calibrated", "calibrated", GREEN, "circle", 9, False),
    ("ap_retrained", "retrained", GREEN, "diamond", 14, True),
)
HEADS = {name: cost.noun or cost.title for name, cost in COSTS.items()}
Describe = Callable[[Any], Any]


@dataclass(frozen=True)
class Images:
    """One row of images with poses: title (network or ground truth), a remark, and the JPEG files."""

    title: str
    note: str
    jpegs: Sequence[bytes]


def write_html(
    folder: Path,
    *,
    title: str = "",
    metric: str = "AP",
    percent: bool = False,
    dataset: str = "",
    approach: str | None = "bottom-up",
    published: Path | None = None,
    describe: Describe = lambda arch: arch,
    networks: Mapping[str, Network] | None = None,
    images: Sequence[Images] = (),
    deploy: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    ran: Mapping[str, Any] | None = None,
    space: Mapping[str, Any] | None = None,
    stages: pd.DataFrame | None = None,
) -> Path:
    """Write ``report.html`` from the tables of a run. Parts that the run does not have are left out.

    Args:
        folder: the run's, with front.csv and comparison.csv; the rest is shown where it is there.
        title: heading; the folder's name when empty.
        metric: the score's column in front.csv.
        percent: the run's tables have the score in percent (MPII's PCKh); otherwise as a fraction (AP).
        dataset: chooses the published networks.
        approach: show only published networks of this kind.
        published: table of published networks; None shows none.
        describe: from an architecture as the tables have it (JSON) to one whose fields have names.
        networks: what the diagram of each subnet is drawn from, by its name.
        images: rows of equally many images with poses.
        deploy: of each subnet, what a command does and the command.
        ran: what ran: command, configuration, seed, images, minutes …
        space: the search space: family, architectures, MACs from and to …
        stages: one row per stage of the supernet's training.

    Returns:
        The file.

    Raises:
        UserError: when a table is missing or lacks a column, or the file cannot be written.
    """
    front, comparison = read_front(folder, metric, percent=percent), read_comparison(folder, percent=percent)
    found, random = (read_evaluated(folder, which, metric, percent=percent) for which in ("found", "random"))
    fidelity, predictor = _fidelity(folder, percent), _predictor(folder, percent)
    selected = select_subnets(folder, front, comparison, describe)
    references = None if published is None else published_networks(published, dataset, metric, approach)
    series = _series(metric, front, found, random, selected, references, describe)
    plots = _curves(folder, comparison["name"].tolist())
    plots |= {"costs": score_tabs(series, metric, [name for name in COSTS if name in front])}
    if fidelity is not None:
        plots["agreement"] = agreement_figure(fidelity[0], metric)
    config = RunFolder(folder).config
    content = {
        "title": title or folder.name,
        "subtitle": _subtitle(metric, front, comparison),
        "metric": metric,
        "subnets": as_table(shown_comparison(comparison, metric)) if len(comparison) else None,
        "unmet": unmet_of(folder),
        "poses": [
            {"title": row.title, "note": row.note, "images": [base64.b64encode(jpeg).decode() for jpeg in row.jpegs]}
            for row in images
        ],
        "diagrams": draw_diagrams(networks or {}),
        "legend": legend(),
        "first_box": LABEL,
        "texts": dict(zip(selected["name"], selected["text"], strict=True)),
        "deploy": deploy or {},
        "stages": None if stages is None or stages.empty else as_table(stages),
        "fidelity": None if fidelity is None else as_table(fidelity[1]),
        "predictor": None if predictor is None else as_table(predictor),
        "ran": as_facts(ran or {}),
        "space": as_facts(space or {}),
        "environment": as_facts({**environment(), **_versions()}),
        "config": config.read_text(encoding="utf-8") if config.is_file() else "",
    }
    path = RunFolder(folder).report("html")
    write_atomically(path, render("report.html", plots, content))
    return path


def render(template: str, plots: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """Render a template with Bokeh's script and figures, by the ids of their elements."""
    pages = Environment(
        loader=PackageLoader("supernet.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    # unsorted: a figure's references stand behind what they refer to
    pages.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    scripts = Markup(Resources(mode="inline", components=["bokeh"]).render_js() if plots else "")  # noqa: S704
    items = {name: json_item(plot) for name, plot in plots.items()}
    return pages.get_template(template).render(plots=items, scripts=scripts, **content)


def as_table(table: pd.DataFrame) -> dict[str, Any]:
    """A table for the templates: ``head``, ``rows`` of texts, and which columns stand to the ``right``."""
    return {
        "head": [HEADS.get(str(name), str(name)) for name in table],
        "rows": [
            [cell(name, value) for name, value in zip(table.columns, row, strict=True)]
            for row in table.itertuples(index=False)
        ],
        "right": [pd.api.types.is_numeric_dtype(table[name]) for name in table],
    }


def as_facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as texts."""
    return [(name, cell(name, value)) for name, value in facts.items()]


def points_of(table: pd.DataFrame, metric: str, describe: Describe) -> pd.DataFrame:
    """Rows of front.csv or search/found.csv as points of a figure: name, score, architecture text, and their costs."""
    points = table[[name for name in COSTS if name in table]].assign(score=table[metric])
    points["name"] = table["name"] if "name" in table else "candidate"
    points["text"] = [text_of(json.loads(arch), describe) for arch in table["arch"]] if "arch" in table else ""
    return points


def text_of(arch: Any, describe: Describe) -> str:
    """The text of an architecture that is given as JSON."""
    return "\n".join(architecture_lines(describe(arch)))


def select_subnets(folder: Path, front: pd.DataFrame, comparison: pd.DataFrame, describe: Describe) -> pd.DataFrame:
    """The selected subnets with their costs in the front, and their architecture text."""
    known = [name for name in COSTS if name in front and name not in comparison]
    by_arch: dict[str, Any] = {canonical_key(json.loads(row["arch"])): row for _, row in front.iterrows()}
    rows = []
    for _, row in comparison.iterrows():
        file = RunFolder(folder).subnet(str(row["name"])).architecture
        arch = read_json(file) if file.is_file() else None
        origin = by_arch.get(canonical_key(arch), {})
        text = text_of(arch, describe) if arch is not None else ""
        rows.append({**row, **{name: origin.get(name, float("nan")) for name in known}, "text": text})
    return pd.DataFrame(rows, columns=[*comparison.columns, *known, "text"])


def _series(
    metric: str,
    front: pd.DataFrame,
    found: pd.DataFrame | None,
    random: pd.DataFrame | None,
    selected: pd.DataFrame,
    references: pd.DataFrame | None,
    describe: Describe,
) -> list[Series]:
    """The series of the figure, from the back to the front."""
    series = []
    if references is not None and len(references):
        counted = "published; MACs as counted in " + references["source"] + ", " + references["convention"]
        points = references[["name", "macs", "score"]].assign(text=counted)
        series.append(Series("published", points, GREY, "triangle", size=9, filled=False))
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
    last = [column for column, *_ in SUBNET_SERIES if selected[column].notna().any()][-1:]
    for column, label, colour, mark, size, filled in SUBNET_SERIES:
        done = selected.dropna(subset=[column])
        if len(done):
            points = done.assign(score=done[column].astype(float))
            series.append(Series(label, points, colour, mark, size=size, filled=filled, named=column in last))
    return series


def _curves(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """The loss of the supernet by stage, and that of each subnet's retraining."""
    run, plots = RunFolder(folder), {}
    log = _optional(run.supernet / LOG, "step", "stage", "loss")
    if log is not None:
        stages = [(str(stage), log[log["stage"] == stage]) for stage in log["stage"].unique()]
        plots["supernet-loss"] = curve_figure(stages, "loss")
    logs = [(name, _optional(run.subnet(name).retrained / LOG, "step", "loss")) for name in names]
    retrained = [(name, log) for name, log in logs if log is not None]
    if retrained:
        plots["subnet-loss"] = curve_figure(retrained, "loss")
    return plots


def _fidelity(folder: Path, percent: bool) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Scores and rank correlations of the run's supernet, where tools/fidelity.py measured them."""
    weights = RunFolder(folder).supernet_weights
    if not weights.is_file():
        return None
    mine = RunFolder(folder).fidelity / sha256(weights)[:12]
    scores = _optional(mine / "scores.csv", "supernet", "test", "macs")
    table = _optional(mine / "correlations.csv", "evaluated on", "predictor", "band", "kendall", "spearman")
    if scores is None or table is None:
        return None
    table = table[table["evaluated on"] == "test"]
    shown = pd.DataFrame({"predictor": table["predictor"], "MACs of": table["band"], "n": table["architectures"]})
    for name in ("kendall", "spearman"):
        ends = table[[name, f"{name}_low", f"{name}_high"]].itertuples(index=False)
        shown[f"{name} (95 %)"] = [f"{value:.2f} ({low:.2f} to {high:.2f})" for value, low, high in ends]
    return as_fractions(scores, ("supernet", "test"), percent), shown


def _predictor(folder: Path, percent: bool) -> pd.DataFrame | None:
    """How good the search's predictor was, by generation, with errors in percent of the score; None where there was none."""
    table = _optional(RunFolder(folder).predictor, "evaluated")
    if table is None:
        return None
    errors = {name: f"{name} (%)" for name in ("error", "deviation") if name in table}
    return table.assign(**{name: table[name] * (1 if percent else 100) for name in errors}).rename(columns=errors)


def _optional(path: Path, *columns: str) -> pd.DataFrame | None:
    """A table that not every run has; None without a file or without rows.

    Raises:
        UserError: when it is no table, or lacks a column.
    """
    if not path.is_file() or path.stat().st_size <= 1:  # a table without columns is a line's end
        return None
    table = read_table(path, columns, "remove it")
    return table if len(table) else None


def _subtitle(metric: str, front: pd.DataFrame, comparison: pd.DataFrame) -> str:
    """The result in one line."""
    done = comparison.dropna(subset=["ap_retrained"])
    low, high = (cell("macs", front["macs"].agg(end)) for end in ("min", "max"))
    line = f"{len(front)} networks on the searched front, {low} to {high}"
    if done.empty:
        return f"{line}."
    cheap, best = done.iloc[0], done.iloc[int(done["ap_retrained"].argmax())]
    texts = [
        f"{row['name']} reaches {100 * row['ap_retrained']:.1f} at {cell('macs', row['macs'])}" for row in (cheap, best)
    ]
    return f"{line}. {metric} after retraining: {', '.join(dict.fromkeys(texts))}."


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
