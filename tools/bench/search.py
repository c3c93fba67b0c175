"""Does the search find a better front than chance does, at the same number of evaluations?

    python tools/bench/search.py                                 a stand-in for evaluated networks, 5 seeds
    python tools/bench/search.py --table runs/x/search.jsonl     really evaluated architectures (a journal or a CSV)
    python tools/bench/search.py --table experiments/synthetic/table.csv --seeds 20

Prints the hypervolume (MACs below the most expensive, score above the worst) of the front that each algorithm found
with equal evaluations, per seed. Where every architecture has a score, which is a table's case, also the evaluations
until 99 % of the true front's hypervolume; for that, a part of the stand-in is evaluated whole.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from search_spaces.space.space import Gene, Space, choice, repeat
from supernet.cost.cost_model import CostTable
from supernet.errors import UserError
from supernet.search.base import Searcher
from supernet.search.evolution import Evolution
from supernet.search.journal import read_journal, records_frame
from supernet.search.nsga2 import NSGA2
from supernet.search.pareto import hypervolume
from supernet.search.predictor import PredictorSearch
from supernet.search.random_search import RandomSearch
from supernet.sharing.protocols import Codes

ALGORITHMS: dict[str, Any] = {
    "nsga2": NSGA2,
    "predictor": PredictorSearch,
    "evolution": Evolution,
    "random": RandomSearch,
}
GOAL = 0.99  # part of the true front's hypervolume


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

    def __init__(self, codes: Codes, smallest: int, largest: int) -> None:
        self.codes, self.size = np.ascontiguousarray(codes), len(codes)
        self._rows = {code.tobytes(): row for row, code in enumerate(self.codes)}
        self._spread = np.maximum(codes.max(axis=0), 1).astype(np.float32)
        self._places = codes / self._spread
        self.genes = tuple(Gene(f"g[{i}]", tuple(range(int(column.max()) + 1))) for i, column in enumerate(codes.T))
        self.smallest, self.largest = smallest, largest

    def rows(self, codes: Codes) -> npt.NDArray[np.int64]:
        """The row of each code."""
        return np.array([self._rows[code.tobytes()] for code in codes], dtype=np.int64)

    def encode(self, arch: int) -> Codes:
        """The code of a row."""
        return self.codes[arch]

    def sample_codes(self, n: int, rng: np.random.Generator) -> Codes:
        """Random rows."""
        return self.codes[rng.integers(self.size, size=n)]

    def all_codes(self) -> Codes:
        """Every row's code."""
        return self.codes

    def mutate_codes(self, codes: Codes, rng: np.random.Generator, probability: float) -> Codes:
        """The nearest other rows after every gene was redrawn, from some row, with ``probability``."""
        donors = self.codes[rng.integers(self.size, size=codes.shape), np.arange(codes.shape[1])]
        return self._nearest(np.where(rng.random(codes.shape) < probability, donors, codes), rng, [codes])

    def crossover_codes(self, first: Codes, second: Codes, rng: np.random.Generator) -> Codes:
        """The nearest rows, none of the parents, to children with every gene from one of them."""
        return self._nearest(np.where(rng.random(first.shape) < 0.5, first, second), rng, [first, second])

    def _nearest(self, wanted: Codes, rng: np.random.Generator, excluded: Sequence[Codes]) -> Codes:
        distance = np.abs(self._places - (wanted / self._spread)[:, None]).sum(axis=2)
        distance *= 1 + 0.2 * rng.random(distance.shape)
        for codes in excluded:
            distance[np.arange(len(wanted)), self.rows(codes)] = np.inf
        return self.codes[distance.argmin(axis=1)]


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


@dataclass(frozen=True)
class Benchmark:
    """A space of which scores are known.

    Attributes:
        space: the architectures.
        macs: of codes.
        scores: of codes.
        title: what is printed above the result.
    """

    space: Any
    macs: Callable[[Codes], npt.NDArray[np.int64]]
    scores: Callable[[Codes], npt.NDArray[np.float64]]
    title: str

    def points(self, codes: Codes) -> npt.NDArray[np.float64]:
        """MACs and score, (N, 2)."""
        return np.column_stack([self.macs(codes), self.scores(codes)]).astype(np.float64)


def table_benchmark(
    macs: npt.NDArray[np.int64], scores: npt.NDArray[np.float64], codes: Codes, title: str
) -> Benchmark:
    """Rows of which MACs, score and code are given."""
    space = TableSpace(codes, int(macs.argmin()), int(macs.argmax()))
    return Benchmark(space, lambda rows: macs[space.rows(rows)], lambda rows: scores[space.rows(rows)], title)


def stand_in(space: Space[Network] = STAND_IN_SPACE) -> Benchmark:
    """A space of the stand-in's networks."""

    def decoded(function: Callable[[Network], Any]) -> Any:
        return lambda codes: np.array([function(space.decode(code)) for code in codes])

    title = f"stand-in, {space.size:,} architectures"
    return Benchmark(space, decoded(lambda net: stand_in_macs([net])[0]), decoded(stand_in_score), title)


def known_stand_in() -> Benchmark:
    """The part of the stand-in with one kind of block: few enough that every score, and so the true front, is known."""
    space = STAND_IN_SPACE.restrict({"kernel": [5], "expansion": [6]})
    whole, codes = stand_in(space), space.all_codes()
    points = dict(zip(map(bytes, codes), whole.points(codes), strict=True))
    title = f"stand-in with one kind of block, {space.size:,} architectures"
    return Benchmark(
        space,
        lambda codes: np.array([points[code.tobytes()][0] for code in codes], dtype=np.int64),
        lambda codes: np.array([points[code.tobytes()][1] for code in codes]),
        title,
    )


def compare(
    benchmark: Benchmark,
    *,
    seeds: Sequence[int],
    evaluations: int,
    population: int | None = None,
    algorithms: Sequence[str] = tuple(ALGORITHMS),
    reference: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """One row per seed and algorithm: hypervolume, evaluations, and evaluations until GOAL (NaN where unknown).

    Args:
        benchmark: what is searched.
        seeds: of the algorithms.
        evaluations: where the hypervolumes are compared.
        population: candidates per generation; each algorithm's own when not given.
        algorithms: names of ALGORITHMS.
        reference: largest MACs, smallest score; of the whole space when not given, which has to be a table then.
    """
    goal = np.inf
    if reference is None:
        points = benchmark.points(benchmark.space.all_codes())
        reference = (float(points[:, 0].max()), float(points[:, 1].min()))
        goal = GOAL * hypervolume(points, reference)
    rows = []
    for seed in seeds:
        for name in algorithms:
            found = _run(benchmark, name, seed, evaluations, population, reference, goal)
            volume = hypervolume(found[:evaluations], reference)
            rows.append((seed, name, volume, min(len(found), evaluations), _until(found, reference, goal)))
    return pd.DataFrame(rows, columns=["seed", "algorithm", "hypervolume", "evaluations", "until_goal"])


def _run(
    benchmark: Benchmark,
    name: str,
    seed: int,
    evaluations: int,
    population: int | None,
    reference: tuple[float, float],
    goal: float,
) -> npt.NDArray[np.float64]:
    """Points in the order asked: at least ``evaluations`` of them, and on until the goal if there is one."""
    size: dict[str, Any] = {} if population is None else {"population": population}
    if name == "evolution":
        size["iterations"] = benchmark.space.size
    searcher: Searcher[Any] = ALGORITHMS[name](
        benchmark.space, CostTable({"macs": benchmark.macs}), np.random.default_rng(seed), **size
    )
    found = np.empty((0, 2))
    while len(found) < evaluations or (np.isfinite(goal) and hypervolume(found, reference) < goal):
        codes = searcher.ask()
        if not len(codes):
            break
        points = benchmark.points(codes)
        found = np.concatenate([found, points])
        searcher.tell(codes, points[:, 1])
    return found


def _until(found: npt.NDArray[np.float64], reference: tuple[float, float], goal: float) -> float:
    """Evaluations until the goal, by bisection: the hypervolume only grows."""
    if not hypervolume(found, reference) >= goal:
        return np.nan
    low, high = 0, len(found)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if hypervolume(found[:middle], reference) >= goal else (middle, high)
    return float(high)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="search journal (.jsonl) or CSV with macs, the score, arch")
    parser.add_argument("--score", default="AP", help="the score's column (default AP)")
    parser.add_argument("--evaluations", type=int, default=400, help="default 400, at most a third of the table")
    parser.add_argument("--population", type=int, help="default: each algorithm's own")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args(argv)
    sizes: dict[str, Any] = {"seeds": range(args.seeds), "population": args.population}
    if args.table is None:
        whole = stand_in()
        ends = np.stack([STAND_IN_SPACE.encode(arch) for arch in (STAND_IN_SPACE.largest, STAND_IN_SPACE.smallest)])
        (largest, _), (_, worst) = whole.points(ends)
        _print(whole, compare(whole, evaluations=args.evaluations, reference=(largest, worst), **sizes))
        benchmark = known_stand_in()
    else:
        table = read_table(args.table, args.score)
        macs, scores = table["macs"].to_numpy(np.int64), table["score"].to_numpy(np.float64)
        title = f"{args.table}, {len(table):,} architectures"
        benchmark = table_benchmark(macs, scores, table_codes(table["arch"].tolist()), title)
    evaluations = min(args.evaluations, benchmark.space.size // 3)
    _print(benchmark, compare(benchmark, evaluations=evaluations, **sizes))


def _print(benchmark: Benchmark, result: pd.DataFrame) -> None:
    """Hypervolumes by seed, wins against chance, and the median evaluations until the goal."""
    volumes = result.pivot(index="seed", columns="algorithm", values="hypervolume")[list(ALGORITHMS)]
    print(f"{benchmark.title}; {int(result['evaluations'].max())} evaluations; hypervolume")
    print(volumes.to_string(float_format="{:.4g}".format))
    for name in ("nsga2", "predictor"):
        print(f"{name} ahead of random on {int((volumes[name] > volumes['random']).sum())} of {len(volumes)} seeds")
    median = result.groupby("algorithm")["until_goal"].median()
    if median.notna().all():
        figures = (f"{name} {median[name]:g} ({median[name] / median['random']:.2f} of random)" for name in ALGORITHMS)
        print(f"evaluations until {GOAL:.0%} of the true hypervolume, median: {', '.join(figures)}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
