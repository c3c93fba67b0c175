"""How many candidates a second do two worker processes evaluate, beside one? Prints both, and the ratio of the medians.

python tools/bench/workers.py --cfg experiments/synthetic/litepose.yaml [--candidates 24] [--rounds 3]

The evaluation is that of search.py: cut out of the run's supernet, calibrated, evaluated on the search split; one thread a
process. Without a trained supernet in the run folder it has fresh weights, whose answers take other time to group. Rounds
of one and of two processes alternate; a first one of each, in which the processes open data and weights, is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from supernet.cli.command import run_program
from supernet.config.loading import load_config
from supernet.io import checkpoint
from supernet.pipeline.candidates import cluster_of, evaluate_of
from supernet.pipeline.run import Run
from supernet.pipeline.train import load_supernet
from supernet.pipeline.training import new_supernet


def main(arguments: Any = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg", type=Path, required=True)
    parser.add_argument("--candidates", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE")
    options = parser.parse_args(arguments)

    def setting_of(workers: int) -> Run:
        mine = ["SEARCH.BACKEND", "ray", "THREADS", "1", "RAY.WORKERS", str(workers)]
        return Run(load_config(options.cfg, [*options.overrides, *mine]), options.cfg)

    run = setting_of(2)
    source = run.folder / "supernet" / "weights.pt"
    if not source.exists():
        source = run.folder / "bench-fresh.pt"
        torch.manual_seed(0)
        checkpoint.save(source, {"state_dict": new_supernet(run).state_dict()})
    supernet = load_supernet(run, source)
    cluster_of(run).connect()  # of two CPUs, before the single process would start one of its own
    _ = run.search  # drawn once, before the processes look for it
    evaluate = {workers: evaluate_of(setting_of(workers), supernet, source) for workers in (2, 1)}
    rng = np.random.default_rng(0)
    archs = [run.space.sample(rng) for _ in range(options.candidates)]
    speeds: dict[int, list[float]] = {1: [], 2: []}
    scores: dict[int, list[Any]] = {}
    for number in range(options.rounds + 1):
        for workers in (1, 2):
            started = time.perf_counter()
            found = sorted((position, metrics[run.score]) for position, metrics, _ in evaluate[workers](archs))
            speed = options.candidates / (time.perf_counter() - started)
            print(
                f"round {number}: {workers} process{'es' * (workers > 1)}: {speed:.3f} candidates a second", flush=True
            )
            if number:
                speeds[workers].append(speed)
            scores[workers] = found
    one, two = (statistics.median(speeds[workers]) for workers in (1, 2))
    print(
        f"one {one:.3f}, two {two:.3f} candidates a second: {two / one:.2f} x; scores equal: {scores[1] == scores[2]}"
    )


if __name__ == "__main__":
    run_program(main)
