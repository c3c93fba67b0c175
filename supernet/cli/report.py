"""Draw pareto.png and pareto.svg of a run again, from the tables in its folder, and write its report.md and report.html."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ..config.loading import load_config
from ..errors import UserError
from ..pipeline.data import READERS
from ..pipeline.html_page import PUBLISHED, approach_of, write_page
from ..pipeline.run import Setting
from ..report import draw, read_evaluated, write_report
from .command import bare_parser, run, settings_file

EXAMPLES = """  python tools/plot_pareto.py output/synthetic/litepose
  pose-supernet report output/crowd_pose/litepose --dataset crowdpose"""


def dataset_of(folder: Path) -> str:
    """The dataset that a run's config.yaml names: crowdpose, coco …, or synthetic.

    Raises:
        UserError: when there is no such file, or it names none.
    """
    path = folder / "config.yaml"
    try:
        dataset = yaml.safe_load(path.read_text(encoding="utf-8"))["DATASET"]
        if (dataset.get("SYNTHETIC") or {}).get("TRAIN"):
            return "synthetic"
        return READERS[dataset["DATASET"]].name
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: names no dataset; give --dataset, such as --dataset crowdpose") from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, draw, print the files."""
    command = bare_parser(__doc__, EXAMPLES)
    command.add_argument("run", type=Path, help="the run's folder, with front.csv and comparison.csv")
    command.add_argument("--metric", default="AP", help="the score's column (default AP)")
    command.add_argument("--dataset", help="default: what config.yaml in the folder says")
    command.add_argument("--published", type=Path, default=PUBLISHED, help="table of published networks")
    command.add_argument(
        "--approach", choices=("bottom-up", "top-down", "all"), default="bottom-up", help="published networks to show"
    )
    options = command.parse_args(arguments)
    if not options.run.is_dir():
        raise UserError(f"{options.run}: no such run folder; run search.py first")
    files: Sequence[Path] = draw(
        options.run,
        metric=options.metric,
        dataset=options.dataset or dataset_of(options.run),
        published=options.published,
        approach=None if options.approach == "all" else options.approach,
    )
    if (options.run / "subnets").is_dir():
        setting = _setting(options.run)
        tables = (read_evaluated(options.run, which, setting.score) for which in ("found", "random"))
        files = [*files, *write_documents(setting, *(0 if table is None else len(table) for table in tables))]
    print(*files, sep="\n")


def _setting(folder: Path) -> Setting:
    """The setting of a run folder, which may have been moved."""
    setting = Setting(
        load_config(folder / "config.yaml"), settings_file(f"experiments/{folder.parent.name}/{folder.name}.yaml")
    )
    setting.folder = folder
    return setting


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
        found: how many architectures the search evaluated.
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


def program() -> None:
    """``python tools/plot_pareto.py``."""
    run(main)
