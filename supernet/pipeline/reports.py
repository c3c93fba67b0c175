"""The plots and documents of a run, from the tables and networks in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ..report import draw, write_report
from .html_page import PUBLISHED, approach_of, write_page
from .run import Run


def write_reports(run: Run, found: int, baseline: int) -> list[Path]:
    """Write all of them, from the tables and networks in the run folder; arguments as :func:`write_documents`."""
    plots = draw(
        run.folder,
        metric=run.score,
        percent=run.percent,
        dataset=dataset_name(run),
        published=PUBLISHED,
        approach=approach_of(run),
        search=run.data.search_score,
    )
    return [*plots, *write_documents(run, found, baseline)]


def write_documents(run: Run, found: int, baseline: int) -> list[Path]:
    """Write ``report.md`` and ``report.html``.

    Args:
        run: the run's.
        found: how many architectures the search evaluated.
        baseline: how many random ones.

    Returns:
        The files.
    """
    about = _about(run, found, baseline)
    return [write_report(run.folder, **about), write_page(run, about, dataset_name(run))]


def dataset_name(run: Run) -> str:
    """What the axes call the data: published scores belong beside it only where this is their dataset."""
    return "synthetic" if run.cfg.DATASET.SYNTHETIC.TRAIN else run.data.kind.name


def _about(run: Run, found: int, baseline: int) -> dict[str, Any]:
    """What the report says beside the tables."""
    cfg, space, cfg_file = run.cfg, run.space, run.source
    ends = [int(run.costs.macs(space.encode(arch)[None])[0]) for arch in (space.smallest, space.largest)]
    subnet = run.paths.subnet("NAME")
    return {
        "title": f"{cfg.SPACE.FAMILY} on {dataset_name(run)}",
        "metric": run.score,
        "percent": run.percent,
        "search": run.data.search_score,
        "ran": {
            "command": f"python search.py --cfg {cfg_file}",
            "seed": cfg.SEED,
            "training images": len(run.train),
            "search images": len(run.search),
            **({} if run.data.final is None else {"final images": len(run.data.final)}),
            "images reported on": len(run.test),
            "architectures compared by": run.data.search_score.heading,
            "architectures evaluated": f"{found} ({cfg.SEARCH.ALGORITHM}), {baseline} (random)",
        },
        "space": {
            "name": f"{cfg.SPACE.FAMILY} {cfg.SPACE.NAME}",
            "architectures": space.size,
            "smallest MACs": ends[0],
            "largest MACs": ends[1],
            "choices": ", ".join(space.kinds),
        },
        "stages": pd.DataFrame([dict(stage) for stage in cfg.SUPERNET.STAGES]),
        "commands": [
            f"python valid.py --weights {subnet.weights}",
            f"python train.py --cfg {cfg_file} --superconfig {subnet.architecture} MODEL.PRETRAINED {subnet.weights}",
        ],
    }
