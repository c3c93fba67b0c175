"""Does the search find a better front than chance does, at the same number of evaluations?

    python tools/bench/search.py                                 a stand-in for evaluated networks, 5 seeds
    python tools/bench/search.py --table runs/x/search.jsonl     really evaluated architectures (a journal or a CSV)

Prints the hypervolume (MACs below the most expensive, score above the worst) of the front that NSGA-II, evolution and
random search found, per seed, and the candidates that each proposes per second.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from search_spaces.space import Gene, Space, choice, repeat
from supernet.errors import UserError
from supernet.journal import read_journal, records_frame
from supernet.pareto import hypervolume
from supernet.search import NSGA2, Evolution, RandomSearch
from supernet.searcher import Searcher

ALGORITHMS: dict[str, Any] = {"nsga2": NSGA2, "evolution": Evolution, "random": RandomSearch}


@dataclass(frozen=True)
class Block:
    """A depthwise block of the stand-in."""

    kernel: Any
    expansion: Any


@dataclass(frozen=True)
class Stage:
    """Blocks of one width (a share of the stage's full width)."""

    width: Any
    blocks: Any


@dataclass(frozen=True)
class Network:
    """A network in the manner of LitePose: an input side in pixels and three stages."""

    resolution: Any
    stages: Any


STAND_IN_SPACE: Space[Network] = Space(
    Network(
        resolution=choice(256, 320, 384, 448, 512),
        stages=tuple(
            Stage(choice(0.25, 0.5, 0.75, 1.0), repeat(Block(choice(3, 5, 7), choice(4, 6)), depth=choice(*depths)))
            for depths in ((2, 3, 4), (2, 4, 6), (2, 4, 6))
        ),
    )
)


def stand_in_macs(networks: Sequence[Network]) -> npt.NDArray[np.int64]:
    """Multiply-accumulates as inverted bottlenecks of those widths have them, at strides 4, 8 and 16."""
    return np.array([sum(_stage_macs(net, stage) for stage in range(3)) for net in networks], dtype=np.int64)


def _stage_macs(net: Network, index: int) -> int:
    stage = net.stages[index]
    channels = int(stage.width * (32, 64, 128)[index])
    pixels = (net.resolution // (4, 8, 16)[index]) ** 2
    return sum(pixels * channels * b.expansion * (2 * channels + b.kernel**2) for b in stage.blocks)


def stand_in_score(net: Network) -> float:
    """A score between 0 and 100 that behaves like an AP: every resource has falling returns, and they need each other.

    Invented numbers, no measurement: resolution helps as far as the kernels and the depth can use it, stages differ in
    how much a unit of work is worth, and a fixed jitter of 0.3 stands for what training leaves to chance.
    """
    strength, reach = 0.0, 0.0
    for weight, stage in zip((0.5, 1.0, 1.2), net.stages, strict=True):
        strength += weight * stage.width**0.6 * (1 - np.exp(-sum(b.expansion for b in stage.blocks) / 14))
        reach += weight * sum(b.kernel**0.5 for b in stage.blocks) / 20
    capacity = 1 - np.exp(-1.1 * strength)
    detail = 1 - np.exp(-net.resolution / 300)
    usable = 1 - np.exp(-2.0 * reach * 384 / net.resolution)
    jitter = np.random.default_rng(zlib.crc32(repr(net).encode())).normal(0, 0.3)
    return float(100 * capacity * detail * usable + jitter)


class TableSpace:
    """The architectures of a table as a space: what variation proposes becomes the nearest row of the table.

    Args:
        codes: option index per gene, -1 where absent, shape (rows, genes). An architecture is a row number.
        smallest: the row of the cheapest architecture.
        largest: the row of the most expensive one.
    """

    def __init__(self, codes: npt.NDArray[np.int16], smallest: int, largest: int) -> None:
        self.codes, self.size = codes, len(codes)
        self._spread = np.maximum(codes.max(axis=0), 1).astype(np.float32)
        self._places = codes / self._spread
        self.genes = tuple(Gene(f"g[{i}]", tuple(range(int(column.max()) + 1))) for i, column in enumerate(codes.T))
        self.smallest, self.largest = smallest, largest

    def sample(self, rng: np.random.Generator) -> int:
        """A random row."""
        return int(rng.integers(self.size))

    def all_codes(self) -> npt.NDArray[np.int16]:
        """Every row's code."""
        return self.codes

    def decode(self, code: npt.NDArray[np.int16]) -> int:
        """The row of a code."""
        return int(np.flatnonzero((self.codes == code).all(axis=1))[0])

    def mutate(self, arch: int, rng: np.random.Generator, probability: float) -> int:
        """The nearest other row after every gene was redrawn, from some row, with ``probability``."""
        donors = self.codes[rng.integers(self.size, size=self.codes.shape[1]), np.arange(self.codes.shape[1])]
        drawn = rng.random(len(donors)) < probability
        return self._nearest(np.where(drawn, donors, self.codes[arch]), rng, {arch})

    def crossover(self, first: int, second: int, rng: np.random.Generator) -> int:
        """The nearest row, neither of the parents, to a child with every gene from one of them."""
        from_first = rng.random(self.codes.shape[1]) < 0.5
        return self._nearest(np.where(from_first, self.codes[first], self.codes[second]), rng, {first, second})

    def _nearest(self, code: npt.NDArray[np.int16], rng: np.random.Generator, excluded: set[int]) -> int:
        distance = np.abs(self._places - code / self._spread).sum(axis=1) * (1 + 0.2 * rng.random(self.size))
        distance[list(excluded)] = np.inf
        return int(np.argmin(distance))


def read_table(path: Path, score_key: str) -> pd.DataFrame:
    """Columns macs, score, arch of a journal (``.jsonl``) or of a CSV such as front.csv.

    Raises:
        UserError: when a column is missing or fewer than 100 rows have a score.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such table; give a search journal or a CSV with macs, {score_key}, arch")
    table = records_frame(read_journal(path)[1]) if path.suffix == ".jsonl" else pd.read_csv(path)
    for column in ("macs", score_key, "arch"):
        if column not in table:
            raise UserError(f"{path}: no column {column!r}; there are {', '.join(table.columns)}")
    table = table.rename(columns={score_key: "score"})[["macs", "score", "arch"]].dropna().drop_duplicates("arch")
    if len(table) < 100:
        raise UserError(f"{path}: {len(table)} evaluated architectures; a comparison needs at least 100")
    return table.reset_index(drop=True)


def table_codes(archs: Sequence[str]) -> npt.NDArray[np.int16]:
    """Architectures as JSON → one column per place where they differ, -1 where an architecture has no such place."""
    rows = [dict(_leaves(json.loads(arch), "")) for arch in archs]
    columns = []
    for place in dict.fromkeys(place for row in rows for place in row):
        values = [row.get(place) for row in rows]
        options = sorted({value for value in values if value is not None})
        if len(set(values)) > 1:
            columns.append([-1 if value is None else options.index(value) for value in values])
    return np.array(columns, dtype=np.int16).T


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for name, child in value.items() for leaf in _leaves(child, f"{path}.{name}")]
    if isinstance(value, list):
        return [leaf for index, child in enumerate(value) for leaf in _leaves(child, f"{path}[{index}]")]
    return [(path, value)]


def compare(
    space: Any,
    macs: Callable[[Sequence[Any]], npt.NDArray[np.int64]],
    score: Callable[[Any], float],
    reference: tuple[float, float],
    *,
    seeds: Sequence[int],
    evaluations: int,
    population: int | None = None,
    algorithms: Sequence[str] = tuple(ALGORITHMS),
) -> pd.DataFrame:
    """One row per seed and algorithm: hypervolume, evaluations, candidates_per_second (proposing only)."""
    rows = []
    size = {} if population is None else {"population": population}
    for seed in seeds:
        for name in algorithms:
            points: list[tuple[int, float]] = []
            seconds = 0.0
            searcher: Searcher[Any] = ALGORITHMS[name](space, macs, np.random.default_rng(seed), **size)
            while len(points) < evaluations:
                started = time.perf_counter()
                candidates = searcher.ask()
                seconds += time.perf_counter() - started
                if not candidates:
                    break
                scores = np.array([score(arch) for arch in candidates])
                points += list(zip(searcher.macs(candidates).tolist(), scores.tolist(), strict=True))
                started = time.perf_counter()
                searcher.tell(candidates, scores)
                seconds += time.perf_counter() - started
            points = points[:evaluations]
            volume = hypervolume(np.array(points, dtype=np.float64), reference)
            rows.append((seed, name, volume, len(points), len(points) / seconds))
    return pd.DataFrame(rows, columns=["seed", "algorithm", "hypervolume", "evaluations", "candidates_per_second"])


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="search journal (.jsonl) or CSV with macs, the score, arch")
    parser.add_argument("--score", default="AP", help="the score's column (default AP)")
    parser.add_argument("--evaluations", type=int, default=400, help="default 400, at most a third of the table")
    parser.add_argument("--population", type=int, help="default: each algorithm's own")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args(argv)
    sizes: dict[str, Any] = {"seeds": range(args.seeds), "evaluations": args.evaluations, "population": args.population}
    if args.table is None:
        largest, smallest = STAND_IN_SPACE.largest, STAND_IN_SPACE.smallest
        reference = (float(stand_in_macs([largest])[0]), stand_in_score(smallest))
        result = compare(STAND_IN_SPACE, stand_in_macs, stand_in_score, reference, **sizes)
        title = f"stand-in, {STAND_IN_SPACE.size:,} architectures"
    else:
        table = read_table(args.table, args.score)
        macs, scores = table["macs"].to_numpy(np.int64), table["score"].to_numpy(np.float64)
        space = TableSpace(table_codes(table["arch"].tolist()), int(macs.argmin()), int(macs.argmax()))
        reference = (float(macs.max()), float(scores.min()))
        sizes["evaluations"] = min(args.evaluations, len(table) // 3)
        result = compare(space, lambda rows: macs[list(rows)], lambda row: float(scores[row]), reference, **sizes)
        title = f"{args.table}, {len(table):,} architectures"
    volumes = result.pivot(index="seed", columns="algorithm", values="hypervolume")[list(ALGORITHMS)]
    print(f"{title}; {int(result['evaluations'].max())} evaluations; hypervolume")
    volumes["nsga2_over_random"] = volumes["nsga2"] / volumes["random"]
    print(volumes.to_string(float_format="{:.4g}".format))
    print(f"NSGA-II ahead of random on {int((volumes['nsga2'] > volumes['random']).sum())} of {len(volumes)} seeds")
    speed = result.groupby("algorithm")["candidates_per_second"].median()
    print("candidates proposed per second: " + ", ".join(f"{name} {speed[name]:.0f}" for name in ALGORITHMS))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
