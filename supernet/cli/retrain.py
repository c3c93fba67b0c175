"""Retrain the selected subnets of a finished search: what search.py does after its front, here for several of them at a time.

With ``--backend ray`` each pick is a Ray Tune trial, which goes on from its checkpoint elsewhere when its machine dies. All
machines have to see OUTPUT_DIR. No scheduler stops a trial early: each pick is the only one of its budget.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..cost.costs import COSTS
from ..errors import UserError
from ..io.lock import locked
from ..io.tables import read_table
from ..pipeline.budgets import keep_selection, select_subnets
from ..pipeline.candidates import Worker, cluster_of
from ..pipeline.check import check_data
from ..pipeline.cluster import RETRIES
from ..pipeline.finalists import column, kept_finalists
from ..pipeline.progress import say
from ..pipeline.run import Run
from ..pipeline.subnets import compare_subnets
from ..pipeline.train import load_supernet
from ..report import write_csv
from .command import next_command, parser, run_of, run_program

EXAMPLES = """  python tools/retrain.py --cfg experiments/synthetic/litepose.yaml --backend ray RAY.ADDRESS head:6379"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    command = parser(__doc__, EXAMPLES)
    command.add_argument("--backend", choices=("local", "ray"), help="SEARCH.BACKEND, if not that of the configuration")
    options = command.parse_args(arguments)
    run = run_of(options)
    if not run.cfg.SEARCH.BUDGETS:
        raise UserError("SEARCH.BUDGETS is empty: name the budgets whose best architectures are retrained")
    source, front = run.paths.supernet_weights, run.paths.front
    for path in (source, front):
        if not path.is_file():
            raise UserError(f"{path}: no such file; run search.py with this --cfg first")
    check_data(run, ("train", "calibration", "test"))
    score = run.data.search_score.name
    table = read_table(front, ("macs", "arch", score), "run search.py again", (score, *COSTS))
    finalists = kept_finalists(run)
    selections = select_subnets(run, table, finalists, column(run) if finalists is not None else "")
    with locked(run.folder):
        selected = keep_selection(run, selections)
        rows = retrain(run, selected, source, options.backend or run.cfg.SEARCH.BACKEND)
        write_csv(run.paths.comparison, pd.DataFrame(rows))
    say(f"{run.paths.comparison}\nnext: {next_command(run, 'search')}  (draws pareto.png, report.md)")


def retrain(run: Run, selected: Mapping[str, str], source: Path, backend: str) -> list[dict[str, Any]]:
    """The rows of comparison.csv, in the order of the selected subnets; what is done already is not done again.

    Args:
        run: the run.
        selected: name -> architecture as JSON.
        source: the file of the supernet.
        backend: ``local``, one after the other in this process, or ``ray``.
    """
    if backend == "local":
        return compare_subnets(run, selected, load_supernet(run, source), source)
    rows = _trials(run, selected, source)
    return [rows[name] for name in selected]


def _trials(run: Run, selected: Mapping[str, str], source: Path) -> dict[str, dict[str, Any]]:
    """The row of each pick, made by a trial."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends this program as it ends the others
    cluster = cluster_of(run)
    cluster.connect()
    tune: Any = importlib.import_module("ray.tune")  # without its types, which are there only where Ray is installed

    class Retraining(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any], worker: Worker, selected: Mapping[str, str], source: Path) -> None:
            self.work = worker, config["name"], selected[config["name"]], source

        def step(self) -> dict[str, Any]:
            return {"done": True, **_in_a_trial(*self.work)}

    say(f"retraining {', '.join(selected)} by trials; log.csv in {run.paths.subnet('NAME').retrained} grows")
    trainable = tune.with_parameters(
        Retraining, worker=Worker.of(run), selected=dict(selected), source=source.resolve()
    )
    with tempfile.TemporaryDirectory(
        dir=run.folder.resolve(), prefix=".tune-", ignore_cleanup_errors=True
    ) as folder:  # seen by all machines, which Tune checks
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": cluster.cpus, "gpu": cluster.gpus}),
            param_space={"name": tune.grid_search(list(selected))},
            tune_config=tune.TuneConfig(max_concurrent_trials=cluster.workers or None),
            run_config=tune.RunConfig(
                storage_path=folder, failure_config=tune.FailureConfig(max_failures=RETRIES), verbose=0
            ),
        )
        results = list(tuner.fit())
    for result in results:
        name, metrics = result.config["name"], result.metrics or {}
        if "refused" in metrics:
            raise UserError(metrics["refused"])
        if "row" not in metrics:
            reason = str(result.error).strip().splitlines()[-1]
            raise UserError(
                f"{name}: its retraining failed {1 + RETRIES} times ({reason}); the same command tries again"
            )
    return {result.config["name"]: result.metrics["row"] for result in results}


def _in_a_trial(worker: Worker, name: str, arch: str, source: Path) -> dict[str, Any]:
    """One pick to its end: its row, or why it is refused, which no further try would change."""
    try:
        run = worker.begin()
        (row,) = compare_subnets(run, {name: arch}, load_supernet(run, source), source)
        return {"row": row}
    except UserError as error:
        return {"refused": str(error)}


def program() -> None:
    """``python tools/retrain.py``."""
    run_program(main)
