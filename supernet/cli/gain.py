"""Does the search pay? Its selected subnets against random networks of equal MACs, all trained stand-alone alike.

Every network begins with fresh weights and is trained for FIDELITY.EPOCHS; the score is that of the reported split, which nothing
was selected by. The run's report shows the table from then on.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UserError
from ..io.lock import locked
from ..io.tables import read_table
from ..pipeline.check import check_data
from ..pipeline.gain import gain_table
from ..pipeline.progress import say
from ..pipeline.run import Run
from ..report.gain import COLUMNS, gains, shown_gains
from ..report.markdown import markdown_table
from ..report.tables import read_comparison
from .command import parser, run_of, run_program, whole

EXAMPLES = (
    """  python tools/gain.py --cfg experiments/synthetic/litepose.yaml --random 10 --workers 2 FIDELITY.EPOCHS 6"""
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    command = parser(__doc__, EXAMPLES)
    command.add_argument(
        "--random", type=whole(1, 10**6), default=10, help="random networks for each selected subnet (default 10)"
    )
    command.add_argument(
        "--seeds", type=whole(1, 1000), default=2, help="trainings of each selected subnet (default 2)"
    )
    command.add_argument(
        "--workers", type=whole(1, 512), default=1, help="processes that train, of one thread each (default 1)"
    )
    options = command.parse_args(arguments)
    run = run_of(options)
    selected = selected_subnets(run)
    check_data(run)
    with locked(run.paths.gain):
        path = gain_table(
            run, selected, run.paths.gain, random=options.random, seeds=options.seeds, workers=options.workers
        )
    table, p = gains(read_table(path, COLUMNS, "run the same command again"))
    say(f"{markdown_table(shown_gains(table, run.score))}\n\np = {p:.3g}, all budgets together\n{path}")


def selected_subnets(run: Run) -> dict[str, object]:
    """The architectures of comparison.csv by name.

    Raises:
        UserError: the run has not been searched, or selected nothing.
    """
    names = read_comparison(run.folder)["name"].tolist()
    if not names:
        raise UserError(f"{run.paths.comparison}: no subnet was selected; name SEARCH.BUDGETS and run search.py again")
    return {name: run.architecture(str(run.paths.subnet(name).architecture)) for name in names}


def program() -> None:
    """``python tools/gain.py``."""
    run_program(main)
