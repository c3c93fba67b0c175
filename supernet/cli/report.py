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
from ..pipeline.run import Run
from ..report import draw, read_evaluated, write_report
from .command import bare_parser, run_program, settings_file

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
        run = _run(options.run)
        tables = (read_evaluated(options.run, which, run.score) for which in ("found", "random"))
        files = [*files, *write_documents(run, *(0 if table is None else len(table) for table in tables))]
    print(*files, sep="\n")


def _run(folder: Path) -> Run:
    """The setting of a run folder, which may have been moved."""
    run = Run(
        load_config(folder / "config.yaml"), settings_file(f"experiments/{folder.parent.name}/{folder.name}.yaml")
    )
    run.folder = folder
    return run


def write_reports(run: Run, found: int, baseline: int) -> list[Path]:
    """Write all of them, from the tables and networks in the run folder; arguments as :func:`write_documents`."""
    plots = draw(
        run.folder,
        metric=run.score,
        dataset=dataset_name(run),
        published=PUBLISHED,
        approach=approach_of(run),
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
    return "synthetic" if run.cfg.DATASET.SYNTHETIC.TRAIN else run.skeleton.name


def _about(run: Run, found: int, baseline: int) -> dict[str, Any]:
    """What the report says beside the tables."""
    cfg, space, cfg_file = run.cfg, run.space, run.source
    ends = [int(run.costs.macs(space.encode(arch)[None])[0]) for arch in (space.smallest, space.largest)]
    subnet = run.folder / "subnets" / "NAME"
    return {
        "title": f"{cfg.SPACE.FAMILY} on {dataset_name(run)}",
        "metric": run.score,
        "ran": {
            "command": f"python search.py --cfg {cfg_file}",
            "seed": cfg.SEED,
            "training images": len(run.train),
            "search images": len(run.search),
            "images reported on": len(run.test),
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
    run_program(main)
