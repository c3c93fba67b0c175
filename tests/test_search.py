"""A contract that every search algorithm keeps, the loop around them, and NSGA-II against chance."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from search_spaces.space import Space, choice, repeat
from supernet.errors import UserError
from supernet.journal import Journal, Record
from supernet.search import NSGA2, Evolution, RandomSearch, run_search
from tests.paths import ROOT
from tools.bench import search as bench

ALGORITHMS = [RandomSearch, NSGA2, Evolution]
each_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.name)


@dataclass(frozen=True)
class Block:
    kernel: Any
    width: Any


@dataclass(frozen=True)
class Net:
    side: Any
    blocks: Any


LARGE: Space[Net] = Space(Net(choice(2, 3, 4), repeat(Block(choice(3, 5, 7), choice(1, 2, 3, 4)), choice(2, 4, 6))))
TINY: Space[Net] = Space(Net(choice(2, 3), repeat(Block(choice(3, 5), 1), choice(1, 2))))  # 2 * (2 + 4) = 12


def macs(nets: Sequence[Net]) -> npt.NDArray[np.int64]:
    return np.array([n.side**2 * sum(b.kernel * b.width for b in n.blocks) for n in nets], dtype=np.int64)


def score(net: Net) -> float:
    return float(1 - np.exp(-sum(b.kernel**0.5 * b.width for b in net.blocks) / 20) + 0.1 * net.side)


def searcher(algorithm: Any, seed: int = 0, space: Space[Net] = LARGE, **kwargs: Any) -> Any:
    return algorithm(space, macs, np.random.default_rng(seed), **{"population": 10, **kwargs})


def asked(search: Any, generations: int) -> list[Net]:
    candidates: list[Net] = []
    for _ in range(generations):
        generation = search.ask()
        if not generation:
            break
        candidates += generation
        search.tell(generation, np.array([score(net) for net in generation]))
    return candidates


@each_algorithm
def test_nothing_is_asked_twice_and_all_is_of_the_space(algorithm: Any) -> None:
    candidates = asked(searcher(algorithm), 12)
    assert len(candidates) == 120 == len(set(candidates))
    assert all(LARGE.contains(net) for net in candidates)


@each_algorithm
def test_the_seed_and_the_scores_determine_everything(algorithm: Any) -> None:
    first, again, other = (asked(searcher(algorithm, seed), 8) for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("algorithm", [NSGA2, Evolution], ids=lambda a: a.name)
def test_scores_change_what_is_asked_next(algorithm: Any) -> None:
    search = searcher(algorithm)
    start = search.ask()
    search.tell(start, np.array([-score(net) for net in start]))
    assert asked(searcher(algorithm), 2)[10:] != search.ask()


@each_algorithm
@pytest.mark.parametrize("max_macs", [25, 40, 60, 150])
def test_the_budget_is_kept_and_what_it_allows_is_found(algorithm: Any, max_macs: int) -> None:
    candidates = asked(searcher(algorithm, max_macs=max_macs), 6)
    assert macs(candidates).max() <= max_macs and len(set(candidates)) == len(candidates)
    # the space has 1, 8, 38 and some thousand architectures within these budgets, among ten million
    assert len(candidates) >= {25: 1, 40: 8, 60: 25, 150: 60}[max_macs]


@each_algorithm
def test_a_budget_that_nothing_meets_is_refused(algorithm: Any) -> None:
    with pytest.raises(UserError, match="max_macs is 23, below the 24 of the smallest architecture"):
        searcher(algorithm, max_macs=23)


@each_algorithm
@pytest.mark.parametrize("population", [2, 5, 40])
def test_a_tiny_space_is_asked_whole_and_then_nothing(algorithm: Any, population: int) -> None:
    search = searcher(algorithm, space=TINY, population=population)
    candidates = asked(search, 50)
    assert len(candidates) == len(set(candidates)) == TINY.size == 12
    assert search.ask() == [] == search.ask()


@each_algorithm
def test_a_space_of_some_thousand_is_asked_to_the_last_one_within_the_budget(algorithm: Any) -> None:
    space: Space[Net] = Space(Net(choice(2, 3, 4), tuple(Block(choice(3, 5, 7), choice(1, 2, 3)) for _ in range(3))))
    nets = [space.decode(code) for code in space.all_codes()]
    allowed = [net for net, cost in zip(nets, macs(nets), strict=True) if cost <= 100]
    candidates = asked(searcher(algorithm, space=space, max_macs=100, population=100), 100)
    assert space.size == 2187 and set(candidates) == set(allowed) and len(candidates) == len(allowed) > 100


@each_algorithm
def test_what_is_told_is_checked(algorithm: Any) -> None:
    search = searcher(algorithm)
    candidates = search.ask()
    with pytest.raises(RuntimeError, match="call tell"):
        search.ask()
    with pytest.raises(ValueError, match="one score for each of the 10 candidates"):
        search.tell(candidates, np.zeros(9))
    with pytest.raises(ValueError, match="candidates asked last"):
        search.tell(candidates[::-1], np.zeros(10))
    with pytest.raises(UserError, match=r"score of Net\(side=.* is nan"):
        search.tell(candidates, np.array([np.nan] * 10))
    search.tell(candidates, np.zeros(10))
    assert len(search.ask()) == 10


def test_evolution_ends_with_its_plan_and_its_children_come_from_the_best() -> None:
    search = searcher(Evolution, iterations=3)
    assert len(asked(search, 50)) == 40
    search = searcher(Evolution, population=20, parent_ratio=0.1, mutation_probability=0.0)
    start = search.ask()
    search.tell(start, np.array([score(net) for net in start]))
    best = sorted(start, key=score)[-2:]
    codes = np.array([LARGE.encode(net) for net in best])
    for net in search.ask()[10:12]:  # the second half is crossed: every gene that both parents share is kept
        shared = codes[0] == codes[1]
        assert (LARGE.encode(net)[shared] == codes[0][shared]).all()


def test_the_front_starts_from_both_ends_of_the_space() -> None:
    start = searcher(NSGA2).ask()
    assert start[:2] == [LARGE.smallest, LARGE.largest]
    assert LARGE.largest not in searcher(NSGA2, max_macs=100).ask()


# --------------------------------------------------------------------------------------------------------- the loop


def journal(path: Path) -> Journal[Net]:
    return Journal(path, space=LARGE.fingerprint, seed=0, settings={}, to_json=dataclasses.asdict)


class Evaluator:
    def __init__(self, dies_after: int = 10**9) -> None:
        self.seen: list[Net] = []
        self.dies_after = dies_after

    def __call__(self, net: Net) -> dict[str, float]:
        if len(self.seen) == self.dies_after:
            raise KeyboardInterrupt
        self.seen.append(net)
        return {"AP": score(net), "AR": 0.5}


def by_key(records: list[Record]) -> list[tuple[str, float]]:
    return [(record.key, record.metrics["AP"]) for record in records]


@each_algorithm
@pytest.mark.parametrize("dies_after", [0, 1, 14, 20, 34])
def test_a_killed_search_ends_where_an_unbroken_one_does(algorithm: Any, dies_after: int, tmp_path: Path) -> None:
    whole = run_search(searcher(algorithm), Evaluator(), journal(tmp_path / "whole"), 35)
    first, second = Evaluator(dies_after), Evaluator()
    with pytest.raises(KeyboardInterrupt):
        run_search(searcher(algorithm), first, journal(tmp_path / "cut"), 35)
    resumed = run_search(searcher(algorithm), second, journal(tmp_path / "cut"), 35)
    assert by_key(resumed) == by_key(whole)
    assert len(first.seen) == dies_after and len(second.seen) == 35 - dies_after


@each_algorithm
def test_a_larger_number_of_evaluations_extends_a_search(algorithm: Any, tmp_path: Path) -> None:
    whole = run_search(searcher(algorithm), Evaluator(), journal(tmp_path / "whole"), 47)
    run_search(searcher(algorithm), Evaluator(), journal(tmp_path / "part"), 23)
    assert by_key(run_search(searcher(algorithm), Evaluator(), journal(tmp_path / "part"), 47)) == by_key(whole)


def test_algorithms_share_a_journal_and_nothing_is_evaluated_twice(tmp_path: Path) -> None:
    seen, results = Evaluator(), {}
    for algorithm in ALGORITHMS:
        search = searcher(algorithm, space=TINY)
        results[algorithm.name] = run_search(search, seen, journal(tmp_path / "j"), 100)
    assert len(seen.seen) == 12 == len(set(seen.seen))
    assert {name: len(records) for name, records in results.items()} == {"random": 12, "nsga2": 12, "evolution": 12}
    assert {record.algorithm for record in results["nsga2"]} == {"random"}


def test_the_loop_reports_progress_and_costs(tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    search = searcher(NSGA2)
    records = run_search(
        search, Evaluator(), journal(tmp_path / "j"), 12, on_progress=lambda done, r: progress.append((done, r.macs))
    )
    assert progress == [(index + 1, record.macs) for index, record in enumerate(records)]
    assert records[0].macs == 24 and records[0].algorithm == "nsga2"


def test_a_score_that_cannot_be_ranked_is_refused_and_not_written_down(tmp_path: Path) -> None:
    book = journal(tmp_path / "j")
    with pytest.raises(UserError, match=r"score of Net\(side=2.* is nan"):
        run_search(searcher(NSGA2), lambda _: {"AP": float("nan")}, book, 5)
    with pytest.raises(UserError, match="no metric 'AP'; there are PCKh"):
        run_search(searcher(NSGA2), lambda _: {"PCKh": 1.0}, book, 5)
    assert len(book) == 0


# ------------------------------------------------------------------------------------------------- against chance


def test_the_searched_front_beats_random_search_on_most_seeds() -> None:
    space = bench.STAND_IN_SPACE
    reference = (float(bench.stand_in_macs([space.largest])[0]), bench.stand_in_score(space.smallest))
    table = bench.compare(
        space, bench.stand_in_macs, bench.stand_in_score, reference, seeds=range(5), evaluations=200,
        algorithms=("nsga2", "random"),
    )  # fmt: skip
    volumes = table.pivot(index="seed", columns="algorithm", values="hypervolume")
    assert (table["evaluations"] == 200).all()
    assert (volumes["nsga2"] > 1.01 * volumes["random"]).sum() >= 4, volumes


def evaluated_table(path: Path, rows: int) -> Path:
    rng = np.random.default_rng(7)
    nets = [bench.STAND_IN_SPACE.sample(rng) for _ in range(rows)]
    archs = [json.dumps(dataclasses.asdict(net)) for net in nets]
    scores = [bench.stand_in_score(net) for net in nets]
    pd.DataFrame({"macs": bench.stand_in_macs(nets), "AP": scores, "arch": archs}).to_csv(path, index=False)
    return path


def test_the_searched_front_beats_random_search_on_a_table_of_evaluated_architectures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # with 100 evaluations of such a table, five generations, NSGA-II is no better than chance
    bench.main(["--table", str(evaluated_table(tmp_path / "table.csv", 1500)), "--evaluations", "400"])
    output = capsys.readouterr().out
    ahead = int(output.split("ahead of random on ")[1][0])
    assert "1,500 architectures; 400 evaluations" in output and ahead >= 4, output


def test_the_searched_front_beats_random_search_on_trained_networks(capsys: pytest.CaptureFixture[str]) -> None:
    """All 256 networks of a part of the demo's space, each extracted, calibrated and judged: 4 of 5 seeds, 85 evaluations."""
    bench.main(["--table", str(ROOT / "experiments" / "synthetic" / "table.csv")])
    wins = re.search(r"NSGA-II ahead of random on (\d) of 5 seeds", capsys.readouterr().out)
    assert wins is not None
    assert int(wins[1]) >= 4


def test_the_benchmark_refuses_tables_that_say_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such table"):
        bench.main(["--table", str(tmp_path / "none.csv")])
    with pytest.raises(UserError, match="30 evaluated architectures; a comparison needs at least 100"):
        bench.main(["--table", str(evaluated_table(tmp_path / "few.csv", 30))])
    with pytest.raises(UserError, match="no column 'PCKh'"):
        bench.main(["--table", str(tmp_path / "few.csv"), "--score", "PCKh"])


def test_table_codes_know_absent_places() -> None:
    archs = ['{"a": 3, "b": [{"k": 5}]}', '{"a": 3, "b": [{"k": 3}, {"k": 7}]}', '{"a": 3, "b": [{"k": 7}, {"k": 9}]}']
    assert bench.table_codes(archs).tolist() == [[1, -1], [0, 0], [2, 1]]
