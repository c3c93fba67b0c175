"""Measure the latency table of a space on this device and runtime, or extend it, and print how well it predicts.

The table is what COST.LATENCY_TABLE names; with it COST.MAX_LATENCY_MS and the objective latency_ms work. A measurement
that was stopped goes on; a larger --measure adds to what is there. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..cost.latency import LatencyModel, LatencyTable, Place
from ..deploy.benchmark import measure, place_of
from ..deploy.runtimes import RUNTIMES
from ..errors import UserError
from ..pipeline.progress import Progress, say
from ..pipeline.run import Run
from ..report.markdown import markdown_table
from .command import parser, run_of, run_program, whole

EXAMPLES = """  python tools/latency.py --cfg experiments/synthetic/litepose.yaml \\
      --runtime eager --threads 1 --check 50 --out latency.json"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, then fit, check and print."""
    command = parser(__doc__, EXAMPLES)
    command.add_argument("--runtime", choices=RUNTIMES, default="eager", help="what runs the networks")
    command.add_argument("--threads", type=whole(1, 1024), default=1, help="of the CPU")
    command.add_argument("--batch", type=whole(1, 65_536), default=1, help="images at once")
    command.add_argument(
        "--measure", type=whole(0, 10**6), default=60, help="architectures that the table is fitted to"
    )
    command.add_argument("--check", type=whole(0, 10**6), default=0, help="further architectures that it is checked on")
    command.add_argument(
        "--repeats", type=whole(1, 10**6), default=20, help="timed calls of one architecture; the median counts"
    )
    command.add_argument("--out", type=Path, default=Path("latency.json"), metavar="FILE", help="the table")
    options = command.parse_args(arguments)
    run = run_of(options)
    place = place_of(run.device, options.runtime, options.threads, options.batch)
    table = _table(run, options.out, place)
    _complete(run, table, options)

    model = LatencyModel(run.build, run.space, table)
    say(f"{place.machine}: {place.runtime} on {place.device}, threads {place.threads}, batch {place.batch}")
    say(markdown_table(pd.DataFrame(model.rows)))
    if table.checked:
        error = 100 * model.error()
        measured = np.array(list(table.checked.values()))
        say(
            f"{len(error)} other architectures of {measured.min():.2f} to {measured.max():.2f} ms: error median "
            f"{np.median(error):.1f} %, 90th percentile {np.percentile(error, 90):.1f} %, largest {error.max():.1f} %"
        )
    say(f"COST.LATENCY_TABLE {options.out}")


def _table(run: Run, path: Path, place: Place) -> LatencyTable:
    """The table of the file, if it was measured here; else an empty one."""
    if not path.exists():
        return LatencyTable(run.space.fingerprint, place)
    table = LatencyTable.load(path, run.space.fingerprint)
    if table.place != place:
        raise UserError(f"{path}: measured at {table.place}, this is {place}; give another --out")
    return table


def _complete(run: Run, table: LatencyTable, options: argparse.Namespace) -> None:
    """Measure what is missing; the file is written after every architecture."""
    for seed, (rows, wanted) in enumerate(((table.fitted, options.measure), (table.checked, options.check))):
        codes = run.space.sample_codes(wanted, np.random.default_rng(seed)).tolist()
        if rows is table.fitted and wanted:
            codes[:2] = [run.space.encode(arch).tolist() for arch in (run.space.smallest, run.space.largest)]
        missing = [tuple(code) for code in codes if tuple(code) not in rows]
        with Progress("checking" if seed else "measuring", len(missing)) as progress:
            for done, code in enumerate(missing, 1):
                rows[code] = measure(run.build, run.space, code, table.place, options.repeats)
                table.save(options.out)
                progress.to(done)


def program() -> None:
    """``python tools/latency.py``."""
    run_program(main)
