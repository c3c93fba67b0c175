"""How fast architectures are costed, and that it is exact: ``python tools/bench/cost.py --family all``.

For every space: seconds to learn the tables (macs and params; memory), then random architectures a second for each quantity,
and how many of some architectures that are also built and counted come out equal. All on one thread, in one run. Seconds are
the process's own, so that other programs disturb less.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is there

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from search_spaces import FAMILIES
from supernet.cost.cost_model import CostModel
from supernet.cost.macs import count
from supernet.cost.peak_memory import peak_memory
from supernet.sharing.meta import meta_network
from supernet.sharing.probes import image_batch

QUANTITIES = ("macs", "params", "memory")


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """What a function returns, and its processor seconds."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def measure(family: str, name: str, rows: int, compared: int) -> str:
    """One row of the table: learn, evaluate, compare."""
    build, space = FAMILIES[family].build, FAMILIES[family].SPACES[name]
    codes = space.sample_codes(rows, np.random.default_rng(0))
    model, learn_s = timed(lambda: CostModel(build, space))
    _, memory_s = timed(lambda: model.memory(codes[:1]))
    costs, rates = {}, []
    for quantity in QUANTITIES:
        function = getattr(model, quantity)
        function(codes)  # what was never seen is learned
        costs[quantity], seconds = timed(lambda function=function: function(codes))
        rates.append(f"{rows / seconds / 1e6:.2f}")
    exact = 0
    for row, code in enumerate(codes[:compared]):
        arch = space.decode(code)
        network, shape = meta_network(build, arch), image_batch(arch)
        cost = count(network, shape)
        said = [int(costs[quantity][row]) for quantity in QUANTITIES]
        exact += said == [cost.macs, cost.params, peak_memory(network, shape)]
    cells = [
        family,
        name,
        f"{float(space.size):.1e}",
        f"{learn_s:.1f}",
        f"{memory_s:.1f}",
        *rates,
        f"{exact} of {compared}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure the spaces that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="litepose", choices=("all", *FAMILIES))
    parser.add_argument("--space", help="only this one of the family's spaces")
    parser.add_argument("--rows", type=int, default=1_000_000, help="random architectures")
    parser.add_argument("--compared", type=int, default=200, help="architectures that are also built and counted")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| family | space | architectures | learn, s | memory, s | macs, M/s | params, M/s | memory, M/s | exact |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    failed = False
    for family in FAMILIES if args.family == "all" else (args.family,):
        for name in FAMILIES[family].SPACES:
            if args.space in (None, name):
                line = measure(family, name, args.rows, args.compared)
                print(line, flush=True)
                failed |= f"| {args.compared} of {args.compared} |" not in line
    if failed:
        raise SystemExit("the tables differ from counting, or there is no such space")


if __name__ == "__main__":
    main()
