"""Several runs on one page: fronts in one figure, hypervolumes, networks side by side, and the settings that differ.

All runs have to be evaluated on one dataset by one metric. The page opens without a network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from search_spaces.space import codec

from ..config.loading import load_config
from ..config.yaml_file import plain
from ..errors import UserError
from ..io.run_folder import RunFolder
from ..pipeline.reports import dataset_name
from ..pipeline.run import Run
from ..report.runs import Run as RunTables
from ..report.runs import write_runs
from .command import bare_parser, run_program

EXAMPLES = """  python tools/compare.py output/synthetic/litepose output/synthetic/hrnet --out compare.html"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, read the runs, write the page, print its name."""
    command = bare_parser(__doc__, EXAMPLES)
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders that search.py finished")
    command.add_argument("--out", type=Path, default=Path("compare.html"), metavar="FILE", help="default compare.html")
    options = command.parse_args(arguments)
    settings = {folder: _run(folder) for folder in dict.fromkeys(options.runs)}
    evaluated = {folder: (dataset_name(run), run.score) for folder, run in settings.items()}
    first, (dataset, metric) = next(iter(evaluated.items()))
    search = settings[first].data.search_score
    for folder, other in evaluated.items():
        if other != (dataset, metric):
            raise UserError(
                f"{folder} is evaluated on {other[0]} by {other[1]}, {first} on {dataset} by {metric}; compare runs of one "
                "dataset and metric"
            )
        if (score := settings[folder].data.search_score) != search:
            raise UserError(
                f"{folder} was searched by {score.name}, {first} by {search.name}; compare runs of one SEARCH.SCORE"
            )
    names = [folder.name for folder in settings]
    runs = {
        folder.name if names.count(folder.name) == 1 else str(folder): RunTables(folder, _describe(run), plain(run.cfg))
        for folder, run in settings.items()
    }
    percent = settings[first].percent
    print(write_runs(options.out, runs, metric=metric, dataset=dataset, percent=percent, search=search))


def _run(folder: Path) -> Run:
    config = RunFolder(folder).config
    if not config.is_file():
        raise UserError(f"{folder}: no run folder, it has no config.yaml; give a folder that search.py made")
    return Run(load_config(config), config)


def _describe(run: Run) -> Callable[[Any], Any]:
    family = run.family
    return lambda arch: codec.to_json(family.from_json(arch))


def program() -> None:
    """``python tools/compare.py``."""
    run_program(main)
