"""Does progressive shrinking help? Supernets of one configuration, trained in its stages and with all open from the start.

Every training reads as many batches as the others. Then the same random architectures, the largest and the smallest are
extracted, calibrated and evaluated on the search split. Printed for each seed: the hypervolume of their front (MACs as a share
of the range of the space, scores above 0), the scores of the largest and the smallest, and the mean of all.

With --compare sampling, the trainings differ in how a sandwich's other architectures are drawn: uniform, best-up, worst-up.
A stopped run goes on with the same command.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from supernet.cli.command import parser, run_program
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.pipeline import inputs
from supernet.pipeline.candidates import scores_of
from supernet.pipeline.keys import provenance
from supernet.pipeline.progress import Progress
from supernet.pipeline.run import Run
from supernet.pipeline.train import load_supernet, train_supernet
from supernet.report import write_csv
from supernet.search.journal import Journal
from supernet.search.pareto import hypervolume
from supernet.sharing.protocols import Codes

EXAMPLES = """  python tools/bench/shrinking.py --cfg experiments/synthetic/litepose.yaml --seeds 3
  python tools/bench/shrinking.py --cfg experiments/synthetic/litepose.yaml --compare sampling SUPERNET.RANDOM 1"""
SAMPLINGS = ("sandwich", "best_up", "worst_up")


def variants(run: Run, compare: str) -> dict[str, list[str]]:
    """Name → what is set on top of the configuration."""
    if compare == "sampling":
        return {name: ["SUPERNET.SAMPLING", name] for name in SAMPLINGS}
    stages = run.cfg.SUPERNET.STAGES
    units = {"steps" if stage["steps"] else "epochs" for stage in stages}
    if len(units) != 1:
        raise UserError("SUPERNET.STAGES has to name stages, all of them in steps or all in epochs, to be put into one")
    (unit,) = units
    once = {"name": "all", "open": list(run.space.kinds), unit: sum(stage[unit] for stage in stages)}
    once["lr"] = max(stage["lr"] for stage in stages)
    return {"progressive": [], "none": ["SUPERNET.STAGES", str([once])]}


def judged(run: Run, codes: Codes, macs: Sequence[int]) -> pd.DataFrame:
    """Columns macs and score (larger is better): the architectures in the run's supernet, which is trained unless it is there."""
    source = train_supernet(run)
    journal: Journal[Any] = Journal(
        run.folder / "bench.jsonl",
        space=run.space.fingerprint,
        seed=0,
        settings=provenance(inputs.search(run, source)),
        to_json=run.family.to_json,
    )
    evaluate, rows = scores_of(run, load_supernet(run, source)), []
    with Progress("evaluating", len(codes)) as progress:
        for done, (code, cost) in enumerate(zip(codes, macs, strict=True), 1):
            arch = run.space.decode(code)
            record = journal.find(arch)
            if record is None:
                record = journal.add(arch, algorithm="bench", macs=cost, metrics=evaluate(arch), seconds=0.0)
            rows.append((cost, run.data.search_score.sign * record.metrics[run.data.search_score.name]))
            progress.to(done)
    return pd.DataFrame(rows, columns=["macs", "score"])


def summary(points: pd.DataFrame) -> dict[str, float]:
    """Hypervolume of the front as a share of the range of MACs, and the scores of the largest and the smallest (rows 0, 1)."""
    largest, smallest = points.macs.iloc[0], points.macs.iloc[1]
    scaled = np.column_stack([(points.macs - smallest) / (largest - smallest), points.score])
    return {
        "hypervolume": hypervolume(scaled, (1.0, 0.0)),
        "largest": float(points.score.iloc[0]),
        "smallest": float(points.score.iloc[1]),
        "mean": float(points.score.mean()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, train and evaluate what is missing, print the table."""
    command = parser(__doc__, EXAMPLES)
    command.add_argument("--seeds", type=int, default=3, help="trainings of each kind (default 3)")
    command.add_argument("--architectures", type=int, default=60, help="random ones that are evaluated (default 60)")
    command.add_argument("--compare", choices=("shrinking", "sampling"), default="shrinking")
    options = command.parse_args(arguments)
    base = Run(load_config(options.cfg, options.overrides), options.cfg)
    space, folder = base.space, Path(base.cfg.OUTPUT_DIR) / options.compare
    ends = [space.encode(space.largest), space.encode(space.smallest)]
    codes = np.stack([*ends, *space.sample_codes(options.architectures, np.random.default_rng(0))])
    macs = base.costs.macs(codes).tolist()
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        for name, overrides in variants(base, options.compare).items():
            mine = [*options.overrides, *overrides, "SEED", str(seed), "OUTPUT_DIR", str(folder / f"{name}-{seed}")]
            run = Run(load_config(options.cfg, mine), options.cfg)
            rows.append({"seed": seed, "training": name, **summary(judged(run, codes, macs))})
            table = pd.DataFrame(rows)
            write_csv(folder / "table.csv", table)
    print(table.to_string(index=False, float_format="{:.3f}".format))
    print(table.groupby("training", sort=False).mean().drop(columns="seed").to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    run_program(main)
