"""What a finished run is told by: ``pareto.png`` and ``.svg``, ``report.md``, ``report.html``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ..report import draw, write_report
from .page import PUBLISHED, approach_of, write_page
from .setting import Setting


def write_reports(setting: Setting, found: int, baseline: int) -> list[Path]:
    """Write all of them, from the tables and networks in the run folder; arguments as :func:`write_documents`."""
    plots = draw(
        setting.folder,
        metric=setting.score,
        dataset=dataset_name(setting),
        published=PUBLISHED,
        approach=approach_of(setting),
    )
    return [*plots, *write_documents(setting, found, baseline)]


def write_documents(setting: Setting, found: int, baseline: int) -> list[Path]:
    """Write ``report.md`` and ``report.html``.

    Args:
        setting: the run's.
        found: how many architectures the search judged.
        baseline: how many random ones.

    Returns:
        The files.
    """
    about = _about(setting, found, baseline)
    return [write_report(setting.folder, **about), write_page(setting, about, dataset_name(setting))]


def dataset_name(setting: Setting) -> str:
    """What the axes call the data: published scores belong beside it only where this is their dataset."""
    return "synthetic" if setting.cfg.DATASET.SYNTHETIC.TRAIN else setting.skeleton.name


def _about(setting: Setting, found: int, baseline: int) -> dict[str, Any]:
    """What the report says beside the tables."""
    cfg, space, cfg_file = setting.cfg, setting.space, setting.source
    ends = [int(setting.costs.macs(space.encode(arch)[None])[0]) for arch in (space.smallest, space.largest)]
    subnet = setting.folder / "subnets" / "NAME"
    return {
        "title": f"{cfg.SPACE.FAMILY} on {dataset_name(setting)}",
        "metric": setting.score,
        "ran": {
            "command": f"python search.py --cfg {cfg_file}",
            "seed": cfg.SEED,
            "training images": len(setting.train),
            "search images": len(setting.search),
            "images reported on": len(setting.test),
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
            f"python valid.py --cfg {cfg_file} --superconfig {subnet}/arch.json TEST.MODEL_FILE {subnet}/weights.pt",
            f"python train.py --cfg {cfg_file} --superconfig {subnet}/arch.json MODEL.PRETRAINED {subnet}/weights.pt",
        ],
    }
