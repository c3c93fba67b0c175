"""Write ``report.html``: one self-contained page of a run with interactive figures, tables, images and commands."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
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
from ..errors import UserError
from ..io.files import sha256, write_atomically
from ..io.reading import read_text
from ..io.run_folder import LOG, RunFolder
from ..io.tables import read_table
from ..pose.metrics.score import Score
from .diagram import LABEL, Network, draw_diagrams, legend
from .gain import COLUMNS as GAIN_COLUMNS
from .gain import gains, shown_gains
from .interactive import agreement_figure, curve_figure, score_tabs
from .markdown import FINALISTS, cell, environment, shown_comparison
from .series import Describe, published_series, searched_series, select_subnets, subnet_series
from .tables import (
    as_fractions,
    published_networks,
    read_comparison,
    read_evaluated,
    read_finalists,
    read_front,
    shown_finalists,
    unmet_of,
)

PACKAGES = ("pose-supernet", "numpy", "pandas", "opencv-python-headless", "pycocotools")
HEADS = {name: cost.noun or cost.title for name, cost in COSTS.items()}


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
    search: Score | None = None,
) -> Path:
    """Write ``report.html`` from the tables of a run. Parts that the run does not have are left out.

    Args:
        folder: the run's, with front.csv and comparison.csv; the rest is shown where it is there.
        title: heading; the folder's name when empty.
        metric: the score of subnets.
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
        search: by what the search compared architectures, the score's column in front.csv; None is ``metric``.

    Returns:
        The file.

    Raises:
        UserError: when a table is missing or lacks a column, or the file cannot be written.
    """
    search = search or Score(metric, percent)
    unit = {"percent": search.percent, "lower": search.lower}
    front, comparison = read_front(folder, search.name, **unit), read_comparison(folder, percent=percent)
    found, random = (read_evaluated(folder, which, search.name, **unit) for which in ("found", "random"))
    fidelity, predictor = _fidelity(folder, percent, search), _predictor(folder, search)
    finalists = read_finalists(folder, search)
    selected = select_subnets(folder, [front, found], comparison, describe)
    references = None if published is None else published_networks(published, dataset, metric, approach)
    searched = searched_series(search.name, front, found, random, describe)
    behind, before = published_series(references), subnet_series(selected)
    plots, costs = _curves(folder, comparison["name"].tolist()), [name for name in COSTS if name in front]
    if search.name == metric:
        plots["costs"] = score_tabs([*behind, *searched, *before], search, costs)
    else:  # numbers of two kinds have no axis in common
        plots["costs"] = score_tabs(searched, search, costs)
        if behind or before:
            plots["reported"] = score_tabs([*behind, *before], Score(metric, percent), costs)
    if fidelity is not None:
        plots["agreement"] = agreement_figure(fidelity[0], metric, search)
    config = RunFolder(folder).config
    content = {
        "title": title or folder.name,
        "subtitle": _subtitle(metric, front, comparison),
        "metric": metric,
        "compared": search.heading,
        "subnets": as_table(shown_comparison(comparison, metric)) if len(comparison) else None,
        "unmet": unmet_of(folder),
        "finalists": None if finalists is None else as_table(shown_finalists(finalists, search)),
        "about_finalists": FINALISTS,
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
        **_gain(folder, metric, percent),
        "predictor": None if predictor is None else as_table(predictor),
        "ran": as_facts(ran or {}),
        "space": as_facts(space or {}),
        "environment": as_facts({**environment(), **_versions()}),
        "config": _text(config) if config.is_file() else "",
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


def _gain(folder: Path, metric: str, percent: bool) -> dict[str, Any]:
    """What the selected subnets gain over random networks, where tools/gain.py trained them."""
    trainings = _optional(RunFolder(folder).gain / "gain.csv", *GAIN_COLUMNS)
    if trainings is None:
        return {"gain": None}
    table, p = gains(trainings)
    return {"gain": as_table(shown_gains(table, metric, 1 if percent else 100)), "gain_p": f"{p:.2g}"}


def _fidelity(folder: Path, percent: bool, search: Score) -> tuple[pd.DataFrame, pd.DataFrame] | None:
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
    return as_fractions(scores, ("test",) if search.lower else ("supernet", "test"), percent), shown


def _predictor(folder: Path, search: Score) -> pd.DataFrame | None:
    """How good the search's predictor was, by generation, with errors in the unit of the score; None where there was none."""
    table = _optional(RunFolder(folder).predictor, "evaluated")
    if table is None or search.lower:
        return table
    errors = {name: f"{name} (%)" for name in ("error", "deviation") if name in table}
    return table.assign(**{name: table[name] * (1 if search.percent else 100) for name in errors}).rename(
        columns=errors
    )


def _optional(path: Path, *columns: str) -> pd.DataFrame | None:
    """A table that not every run has; None without a file or without rows.

    Raises:
        UserError: when it is no table, or lacks a column.
    """
    if not path.is_file() or path.stat().st_size <= 1:  # a table without columns is a line's end
        return None
    table = read_table(path, columns, "remove it")
    return table if len(table) else None


def _text(path: Path) -> str:
    """A text file as it is shown.

    Raises:
        UserError: it is too large, or no text.
    """
    try:
        return read_text(path, 2**20)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; remove it") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not text in UTF-8 (byte {error.start}); remove it") from None


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
