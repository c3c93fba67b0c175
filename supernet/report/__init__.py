"""Reports of a run, from its tables: ``pareto.png``, ``pareto.svg``, ``report.md``, ``report.html``, comparison of runs."""

from __future__ import annotations

from pathlib import Path

from ..pose.metrics.score import Score
from .diagram import Network
from .html import Images, write_html
from .markdown import environment, write_report
from .plots import pareto_figure, save_figure
from .tables import published_networks, read_comparison, read_evaluated, read_front, write_csv

__all__ = [
    "Network",
    "Images",
    "draw",
    "environment",
    "pareto_figure",
    "published_networks",
    "read_comparison",
    "read_evaluated",
    "save_figure",
    "write_csv",
    "write_html",
    "write_report",
]


def draw(
    folder: Path,
    *,
    metric: str = "AP",
    percent: bool = False,
    dataset: str = "",
    published: Path | None = None,
    approach: str | None = "bottom-up",
    search: Score | None = None,
) -> tuple[Path, Path]:
    """Draw ``pareto.png`` and ``pareto.svg`` from the tables of a run.

    Args:
        folder: the run's, with front.csv and comparison.csv; search/found.csv and search/random.csv are drawn if there.
        metric: the score of subnets.
        percent: the run's tables have the score in percent (MPII's PCKh); otherwise as a fraction (AP).
        dataset: names the axis and chooses the published networks.
        published: table of published networks; None draws none.
        approach: draw only published networks of this kind, whose MACs are per what the run's are per.
        search: by what the search compared architectures, the score's column in front.csv; None is ``metric``.

    Returns:
        The two files.

    Raises:
        UserError: when a table is missing or lacks a column, or a file cannot be written.
    """
    search = search or Score(metric, percent)
    scored, unit = {search.name: "score"}, {"percent": search.percent, "lower": search.lower}
    front = read_front(folder, search.name, **unit).rename(columns=scored)
    found, random = (read_evaluated(folder, which, search.name, **unit) for which in ("found", "random"))
    figure = pareto_figure(
        front,
        None if random is None else random.rename(columns=scored),
        read_comparison(folder, percent=percent),
        None if published is None else published_networks(published, dataset, metric, approach),
        metric=metric,
        dataset=dataset,
        candidates=None if found is None else found.rename(columns=scored),
        search=search,
    )
    return save_figure(figure, folder, "pareto")
