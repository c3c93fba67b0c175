"""How many candidates a second do the algorithms propose, evaluation left out?

    python tools/bench/search_speed.py

On the LitePose spaces, on one core, costs and survival included, with random scores and pymoo's own loop beside it (40
real variables, no costs, no search for duplicates). Seconds are processor time, so other work on the machine does not count.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2 as PymooNSGA2
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination

from search_spaces import litepose
from supernet.cost.cost_model import CostModel, CostTable
from supernet.search.evolution import Evolution
from supernet.search.nsga2 import NSGA2
from supernet.search.random_search import RandomSearch

CANDIDATES = 50_000
ALGORITHMS: tuple[tuple[Any, dict[str, Any]], ...] = (
    (NSGA2, {"population": 20}),
    (NSGA2, {"population": 100}),
    (Evolution, {"population": 40, "iterations": sys.maxsize}),
    (RandomSearch, {"population": 20}),
)


def ours(space: Any, costs: CostTable, algorithm: Any, plan: dict[str, Any]) -> tuple[int, int, float]:
    """Candidates, how many of them were asked before, and candidates a second."""
    searcher = algorithm(space, costs, np.random.default_rng(0), **plan)
    scores, asked = np.random.default_rng(1), []
    started = time.process_time()
    for _ in range(CANDIDATES // plan["population"]):
        codes = searcher.ask()
        searcher.tell(codes, scores.random(len(codes)))
        asked.append(codes)
    seconds = time.process_time() - started
    whole = np.concatenate(asked)
    return len(whole), len(whole) - len(np.unique(whole, axis=0)), len(whole) / seconds


def pymoos(population: int) -> float:
    """Candidates a second of pymoo's ask and tell."""
    algorithm = PymooNSGA2(pop_size=population)
    algorithm.setup(Problem(n_var=40, n_obj=2, xl=0, xu=1), termination=NoTermination(), seed=0)
    scores = np.random.default_rng(1)
    started = time.process_time()
    for _ in range(CANDIDATES // population):
        candidates = algorithm.ask()
        candidates.set("F", scores.random((population, 2)))
        algorithm.tell(infills=candidates)
    return CANDIDATES / (time.process_time() - started)


def main() -> None:
    """Measure and print."""
    for name, space in litepose.SPACES.items():
        costs = CostTable({"macs": CostModel(litepose.build, space).macs})
        for algorithm, plan in ALGORITHMS:
            total, twice, rate = ours(space, costs, algorithm, plan)
            print(f"litepose {name:<10} {algorithm.name:<10} population {plan['population']:<4} {rate:8,.0f} a second, "
                  f"{twice} of {total:,} asked twice")  # fmt: skip
    for population in (20, 100):
        print(f"pymoo alone{'':<20} population {population:<4} {pymoos(population):8,.0f} a second")


if __name__ == "__main__":
    main()
