"""Draw pareto.png and pareto.svg of a run again, from the tables in its folder.

python tools/plot_pareto.py output/crowd_pose/litepose --dataset crowdpose
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml

import search_spaces
from supernet.errors import UserError
from supernet.programs.command import run
from supernet.programs.data import READERS
from supernet.report import draw

PUBLISHED = Path(search_spaces.__file__).parent / "published" / "networks.csv"


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run's folder, with front.csv and comparison.csv")
    parser.add_argument("--metric", default="AP", help="the score's column (default AP)")
    parser.add_argument("--dataset", help="default: what config.yaml in the folder says")
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="table of published networks")
    parser.add_argument(
        "--approach", choices=("bottom-up", "top-down", "all"), default="bottom-up", help="published networks to show"
    )
    options = parser.parse_args(arguments)
    if not options.run.is_dir():
        raise UserError(f"{options.run}: no such run folder; run search.py first")
    files = draw(
        options.run,
        metric=options.metric,
        dataset=options.dataset or dataset_of(options.run),
        published=options.published,
        approach=None if options.approach == "all" else options.approach,
    )
    print(*files, sep="\n")


if __name__ == "__main__":
    run(main)
