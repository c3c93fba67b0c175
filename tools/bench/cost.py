"""How fast architectures are costed, beside counting a built network: ``python tools/bench/cost.py``.

Every figure comes from this one run, on one thread. The published space is costed whole, the listing of its codes
included; the others by random architectures. A share of the results is compared with counting.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from search_spaces import litepose
from supernet.cost import CostModel
from supernet.counting import count
from supernet.skeleton import skeleton


def measure(name: str, rows: int, compared: int) -> str:
    """Build the tables of a LitePose space, use them, and say how fast that was."""
    space = litepose.SPACES[name]
    start = time.perf_counter()
    model = CostModel(litepose.build, space)
    tables_s = time.perf_counter() - start

    start = time.perf_counter()
    codes = space.all_codes() if space.size <= rows else space.sample_codes(rows, np.random.default_rng(0))
    listing_s = time.perf_counter() - start
    batch_s = []
    for _ in range(3):
        start = time.perf_counter()
        macs = model.macs(codes)
        batch_s.append(time.perf_counter() - start)

    picked = np.random.default_rng(1).integers(0, len(codes), compared)
    start = time.perf_counter()
    counted = []
    for code in codes[picked]:
        arch = space.decode(code)
        counted.append(count(skeleton(litepose.build, arch), (1, 3, *arch.input_hw)).macs)
    count_s = (time.perf_counter() - start) / compared
    if counted != macs[picked].tolist():
        raise SystemExit(f"{name}: the tables differ from counting")
    each_s = min(batch_s) / len(codes)
    return (
        f"{name:<10} tables {tables_s:5.1f} s from {model.built} networks   codes {listing_s:5.3f} s   "
        f"{len(codes):,} architectures {batch_s[0]:6.4f} s at first, {min(batch_s):6.4f} s at best = "
        f"{1e-6 / each_s:5.1f} million/s   "
        f"counting one network {1e3 * count_s:5.1f} ms = {count_s / each_s:,.0f} times as long"
    )


def main() -> None:
    """Measure the spaces that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spaces", nargs="*", default=list(litepose.SPACES), help=f"of {', '.join(litepose.SPACES)}")
    parser.add_argument("--rows", type=int, default=300_000, help="architectures per batch")
    parser.add_argument("--compared", type=int, default=30, help="architectures that are also counted")
    args = parser.parse_args()
    unknown = [name for name in args.spaces if name not in litepose.SPACES]
    if unknown:
        parser.error(f"space {unknown[0]!r} is not one of {', '.join(litepose.SPACES)}")
    torch.set_num_threads(1)
    for name in args.spaces:
        print(measure(name, args.rows, args.compared))


if __name__ == "__main__":
    main()
