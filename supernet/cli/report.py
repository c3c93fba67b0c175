"""Draw pareto.png and pareto.svg of a run again, from the tables in its folder, and write its report.md and report.html."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config.loading import load_config
from ..config.yaml_file import read_yaml
from ..errors import UserError
from ..io.run_folder import RunFolder
from ..pipeline.html_page import PUBLISHED
from ..pipeline.reports import write_documents
from ..pipeline.run import Run
from ..pose.datasets.kinds import kind_of
from ..pose.metrics.score import LOSS, Score
from ..report import draw, read_evaluated
from .command import bare_parser, run_program, settings_file

EXAMPLES = """  python tools/plot_pareto.py output/synthetic/litepose
  pose-supernet report output/crowd_pose/litepose --dataset crowdpose"""


def dataset_of(folder: Path) -> str:
    """The dataset that a run's config.yaml names: crowdpose, coco …, or synthetic.

    Raises:
        UserError: when there is no such file, or it names none.
    """
    dataset = _dataset_node(folder)
    if (dataset.get("SYNTHETIC") or {}).get("TRAIN"):
        return "synthetic"
    return kind_of(dataset["DATASET"]).name


def score_of(folder: Path) -> Score:
    """The score that a run's config.yaml names, or that of its dataset; AP where it names none."""
    _config(folder)  # a damaged one is refused, where one without a dataset is not
    try:
        score = kind_of(_dataset_node(folder)["DATASET"]).score
    except UserError:
        return Score("AP")
    named = _named(folder, "TEST")
    return replace(score, name=named) if named else score


def search_score_of(folder: Path, reported: Score) -> Score:
    """By what a run's search compared architectures as its config.yaml says, otherwise the reported score."""
    named = _named(folder, "SEARCH")
    if named == LOSS:
        return Score(LOSS, lower=True)
    return replace(reported, name=named) if named else reported


def _named(folder: Path, node: str) -> str:
    """The key SCORE of a node of a run's config.yaml; '' where it names none."""
    keys = _config(folder).get(node)
    return str(keys.get("SCORE") or "") if isinstance(keys, dict) else ""


def _dataset_node(folder: Path) -> dict[str, Any]:
    dataset = _config(folder).get("DATASET")
    try:
        if not isinstance(dataset, dict) or not isinstance(dataset.get("SYNTHETIC", {}), dict):
            raise KeyError("DATASET")
        kind_of(str(dataset["DATASET"]))
    except (KeyError, UserError):
        path = RunFolder(folder).config
        raise UserError(f"{path}: names no dataset; give --dataset, such as --dataset crowdpose") from None
    return dataset


def _config(folder: Path) -> dict[str, Any]:
    """What a run's config.yaml says; nothing where there is none.

    Raises:
        UserError: it is damaged; the line names the place.
    """
    path = RunFolder(folder).config
    found = read_yaml(path) if path.exists() else {}
    if not isinstance(found, dict):
        raise UserError(f"{path}: is no mapping of keys to values; remove it, and search.py writes it again")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, draw, print the files."""
    command = bare_parser(__doc__, EXAMPLES)
    command.add_argument("run", type=Path, help="the run's folder, with front.csv and comparison.csv")
    command.add_argument("--metric", help="the score's column; default: that of the run's dataset")
    command.add_argument("--dataset", help="default: what config.yaml in the folder says")
    command.add_argument("--published", type=Path, default=PUBLISHED, help="table of published networks")
    command.add_argument(
        "--approach", choices=("bottom-up", "top-down", "all"), default="bottom-up", help="published networks to show"
    )
    options = command.parse_args(arguments)
    if not options.run.is_dir():
        raise UserError(f"{options.run}: no such run folder; run search.py first")
    score = score_of(options.run)
    score = replace(score, name=options.metric) if options.metric else score
    search = score if options.metric else search_score_of(options.run, score)
    files: Sequence[Path] = draw(
        options.run,
        metric=score.name,
        percent=score.percent,
        dataset=options.dataset or dataset_of(options.run),
        published=options.published,
        approach=None if options.approach == "all" else options.approach,
        search=search,
    )
    if RunFolder(options.run).subnets.is_dir():
        run = _run(options.run)
        score = run.data.search_score
        unit = {"percent": score.percent, "lower": score.lower}
        tables = (read_evaluated(options.run, which, score.name, **unit) for which in ("found", "random"))
        files = [*files, *write_documents(run, *(0 if table is None else len(table) for table in tables))]
    print(*files, sep="\n")


def _run(folder: Path) -> Run:
    """The setting of a run folder, which may have been moved."""
    run = Run(
        load_config(RunFolder(folder).config), settings_file(f"experiments/{folder.parent.name}/{folder.name}.yaml")
    )
    run.folder = folder
    return run


def program() -> None:
    """``python tools/plot_pareto.py``."""
    run_program(main)
