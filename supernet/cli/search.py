"""The whole loop: train the supernet, search it, and bring the best architecture of every budget to a comparison.

Every step that is done already is left as it is; a run that was stopped goes on where it was. Where a key has changed, the
steps that depend on it are done again, and what they had made is archived in the run folder, in old-1, old-2 and so on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import pandas as pd

from ..io.files import sweep
from ..io.lock import locked
from ..pipeline import inputs
from ..pipeline.budgets import check_budgets, keep_selection, select_subnets
from ..pipeline.candidates import cluster_of
from ..pipeline.check import check_data
from ..pipeline.cluster import leave
from ..pipeline.dry_run import show_run
from ..pipeline.finalists import column, score_finalists
from ..pipeline.progress import say
from ..pipeline.provenance import Archive, renew_search, renew_supernet
from ..pipeline.reports import write_reports
from ..pipeline.run import Run
from ..pipeline.search import front_of, search
from ..pipeline.subnets import compare_subnets
from ..pipeline.train import load_supernet, train_supernet
from ..report import write_csv
from .command import parser, run_of, run_program

EXAMPLES = """  python search.py --cfg experiments/synthetic/litepose.yaml
  python search.py --cfg experiments/synthetic/litepose.yaml --dry-run
  python search.py --cfg experiments/synthetic/litepose.yaml SEARCH.EVALUATIONS 100 OUTPUT_DIR output-100"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    options = parser(__doc__, EXAMPLES, dry_run=True).parse_args(arguments)
    run = run_of(options)
    check_budgets(run)
    if options.dry_run:
        return show_run(run, search=True)
    with locked(run.folder):
        _loop(run)


def _loop(run: Run) -> None:
    """Every step of the run."""
    started, paths = time.monotonic(), run.paths
    for folder in (paths.path, paths.search):
        sweep(folder)
    if run.cfg.SEARCH.BACKEND == "ray":
        cluster_of(run).check()
    check_data(run)
    run.keep_config(paths.path)
    archive = Archive(paths)
    with locked(paths.supernet):
        renew_supernet(archive, inputs.supernet_training(run))
        source = train_supernet(run)
    supernet = load_supernet(run, source)
    renew_search(archive, inputs.search(run, source))
    found, baseline = search(run, supernet, source)
    front = front_of(run, found)
    write_csv(paths.front, front)
    say(f"front: {len(front)} architectures, {front.macs.min() / 1e6:,.1f} to {front.macs.max() / 1e6:,.1f} MMACs")
    finalists = score_finalists(run, supernet, source, found)
    leave()
    selected = keep_selection(run, select_subnets(run, front, finalists, column(run) if finalists is not None else ""))
    rows = compare_subnets(run, selected, supernet, source, archive)
    write_csv(paths.comparison, pd.DataFrame(rows))
    files = write_reports(run, len(found), len(baseline))
    if rows:
        say(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    say(f"{'  '.join(map(str, files))}  ({(time.monotonic() - started) / 60:.1f} minutes)")


def program() -> None:
    """``python search.py``."""
    run_program(main)
