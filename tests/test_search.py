"""A contract that every search algorithm keeps, the loop around them, and all of them against chance."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from search_spaces.space import Space, choice, repeat
from supernet import predictor
from supernet.algorithms import NSGA2, Evolution, RandomSearch
from supernet.errors import UserError
from supernet.halving import Halving
from supernet.journal import Journal, Record
from supernet.predictor import PredictorSearch
from supernet.protocols import Codes
from supernet.search import one_by_one, run_search
from tests.paths import ROOT
from tools.bench import search as bench

ALGORITHMS = [RandomSearch, NSGA2, Evolution, PredictorSearch]


def each_algorithm(test: Any) -> Any:
    """The test for each of them."""
    quickly = pytest.mark.usefixtures("quick")
    return quickly(pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.name)(test))


@dataclass(frozen=True)
class Block:
    kernel: Any
    width: Any


@dataclass(frozen=True)
class Net:
    side: Any
    blocks: Any


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A predictor that looks about less: what it has to keep does not depend on how far it looks."""
    monkeypatch.setattr(predictor, "INNER_POPULATION", 20)
    monkeypatch.setattr(predictor, "INNER_GENERATIONS", 3)


LARGE: Space[Net] = Space(Net(choice(2, 3, 4), repeat(Block(choice(3, 5, 7), choice(1, 2, 3, 4)), choice(2, 4, 6))))
TINY: Space[Net] = Space(Net(choice(2, 3), repeat(Block(choice(3, 5), 1), choice(1, 2))))  # 2 * (2 + 4) = 12


def macs(net: Net) -> int:
    return int(net.side**2 * sum(b.kernel * b.width for b in net.blocks))


def params(net: Net) -> int:
    return int(sum(b.kernel**2 * b.width for b in net.blocks))


def score(net: Net) -> float:
    return float(1 - np.exp(-sum(b.kernel**0.5 * b.width for b in net.blocks) / 20) + 0.1 * net.side)


class Costs:
    """``macs`` and ``params``, many at once: every option's value, 0 where a gene is absent."""

    names = ("macs", "params")

    def __init__(self, space: Space[Net]) -> None:
        self.kinds = np.array([gene.kind for gene in space.genes])
        self.options = [np.array([*gene.options, 0]) for gene in space.genes]

    def __call__(self, codes: Codes) -> npt.NDArray[np.float64]:
        values = np.column_stack([options[codes[:, gene]] for gene, options in enumerate(self.options)]).astype(float)
        side, kernel = values[:, self.kinds == "side"], values[:, self.kinds == "kernel"]
        width = values[:, self.kinds == "width"] if "width" in self.kinds else np.ones_like(kernel)
        return np.column_stack([side[:, 0] ** 2 * (kernel * width).sum(axis=1), (kernel**2 * width).sum(axis=1)])


def searcher(algorithm: Any, seed: int = 0, space: Space[Net] = LARGE, **kwargs: Any) -> Any:
    return algorithm(space, Costs(space), np.random.default_rng(seed), **{"population": 10, **kwargs})


def scores(codes: Codes, space: Space[Net] = LARGE) -> npt.NDArray[np.float64]:
    return np.array([score(space.decode(code)) for code in codes])


def asked(search: Any, generations: int) -> list[Net]:
    candidates: list[Net] = []
    for _ in range(generations):
        codes = search.ask()
        if not len(codes):
            break
        candidates += [search.space.decode(code) for code in codes]
        search.tell(codes, scores(codes, search.space))
    return candidates


def test_the_stand_in_for_costs_is_right() -> None:
    codes = LARGE.sample_codes(50, np.random.default_rng(0))
    assert Costs(LARGE)(codes).tolist() == [[macs(net), params(net)] for net in map(LARGE.decode, codes)]


@each_algorithm
def test_nothing_is_asked_twice_and_all_is_of_the_space(algorithm: Any) -> None:
    candidates = asked(searcher(algorithm), 8)
    assert len(candidates) == 80 == len(set(candidates))
    assert all(LARGE.contains(net) for net in candidates)


@each_algorithm
def test_the_seed_and_the_scores_determine_everything(algorithm: Any) -> None:
    first, again, other = (asked(searcher(algorithm, seed), 4) for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("algorithm", [NSGA2, Evolution, PredictorSearch], ids=lambda a: a.name)
def test_scores_change_what_is_asked_next(algorithm: Any) -> None:
    search = searcher(algorithm)
    start = search.ask()
    search.tell(start, -scores(start))
    assert asked(searcher(algorithm), 2)[10:] != [LARGE.decode(code) for code in search.ask()]


@each_algorithm
@pytest.mark.parametrize("limit", [25, 40, 60, 150])
def test_a_limit_is_kept_and_what_it_allows_is_found(algorithm: Any, limit: int) -> None:
    candidates = asked(searcher(algorithm, limits={"macs": limit}), 6)
    assert max(map(macs, candidates)) <= limit and len(set(candidates)) == len(candidates)
    # the space has 1, 8, 38 and some thousand architectures within these limits, among ten million
    assert len(candidates) >= {25: 1, 40: 8, 60: 25, 150: 60}[limit]


@each_algorithm
def test_several_limits_are_kept_at_once(algorithm: Any) -> None:
    candidates = asked(searcher(algorithm, limits={"macs": 200, "params": 150}), 3)
    assert len(candidates) == 30 and max(map(macs, candidates)) <= 200 and max(map(params, candidates)) <= 150


@each_algorithm
def test_limits_that_nothing_meets_are_refused(algorithm: Any) -> None:
    with pytest.raises(UserError, match="limit macs 23 is below 24, the least that was found; raise it"):
        searcher(algorithm, limits={"macs": 23})
    with pytest.raises(UserError, match="no cost is called 'latency_ms'; there are macs, params"):
        searcher(algorithm, limits={"latency_ms": 5})
    with pytest.raises(UserError, match="population is 1, it has to be at least 2"):
        searcher(algorithm, population=1)


class Opposed(Costs):
    """Architectures that are cheap in one thing are dear in the other."""

    def __call__(self, codes: Codes) -> npt.NDArray[np.float64]:
        depth = codes[:, 1].astype(np.float64)
        return np.column_stack([depth, 2 - depth])


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(UserError, match="no architecture was found within the limits macs 0 and params 1 together"):
        RandomSearch(LARGE, Opposed(LARGE), np.random.default_rng(0), limits={"macs": 0, "params": 1})
    search = RandomSearch(LARGE, Opposed(LARGE), np.random.default_rng(0), limits={"params": 0}, population=10)
    assert (search.ask()[:, 1] == 2).all()  # although the smallest architecture is beyond the limit


@each_algorithm
@pytest.mark.parametrize("population", [2, 5, 40])
def test_a_tiny_space_is_asked_whole_and_then_nothing(algorithm: Any, population: int) -> None:
    search = searcher(algorithm, space=TINY, population=population)
    candidates = asked(search, 50)
    assert len(candidates) == len(set(candidates)) == TINY.size == 12
    assert len(search.ask()) == 0 == len(search.ask())


@each_algorithm
def test_a_space_of_some_thousand_is_asked_to_the_last_one_within_the_limit(algorithm: Any) -> None:
    space: Space[Net] = Space(Net(choice(2, 3, 4), tuple(Block(choice(3, 5, 7), choice(1, 2, 3)) for _ in range(3))))
    allowed = {net for net in map(space.decode, space.all_codes()) if macs(net) <= 80}
    candidates = asked(searcher(algorithm, space=space, limits={"macs": 80}, population=100), 100)
    assert space.size == 2187 and set(candidates) == allowed and len(candidates) == len(allowed) > 100


@each_algorithm
def test_what_is_told_is_checked(algorithm: Any) -> None:
    search = searcher(algorithm)
    codes = search.ask()
    with pytest.raises(RuntimeError, match="call tell"):
        search.ask()
    with pytest.raises(ValueError, match="one score for each of the 10 candidates"):
        search.tell(codes, np.zeros(9))
    with pytest.raises(ValueError, match="candidates asked last"):
        search.tell(codes[::-1], np.zeros(10))
    with pytest.raises(UserError, match=r"score of Net\(side=.* is nan"):
        search.tell(codes, np.array([np.nan] * 10))
    search.tell(codes, np.zeros(10))
    assert len(search.ask()) == 10


@each_algorithm
def test_what_is_dropped_needs_no_score_and_is_never_asked_again(algorithm: Any) -> None:
    search = searcher(algorithm, space=TINY, population=5)
    kept, dropped = [], []
    while len(codes := search.ask()):
        with pytest.raises(ValueError, match="candidates dropped"):
            search.drop(range(len(codes)))
        search.drop([0] if len(codes) > 1 else [])
        dropped += [TINY.decode(code) for code in codes[: int(len(codes) > 1)]]
        codes = codes[int(len(codes) > 1) :]
        kept += [TINY.decode(code) for code in codes]
        search.tell(codes, scores(codes, TINY))
    assert len(set(kept) | set(dropped)) == len(kept) + len(dropped) == 12 and len(dropped) >= 2


def test_evolution_ends_with_its_plan_and_its_children_come_from_the_best() -> None:
    search = searcher(Evolution, iterations=3)
    assert len(asked(search, 50)) == 40
    search = searcher(Evolution, population=20, parent_ratio=0.1, mutation_probability=0.0)
    start = search.ask()
    search.tell(start, scores(start))
    best = start[np.argsort(scores(start))[-2:]]
    shared = best[0] == best[1]
    for code in search.ask()[10:12]:  # the second half is crossed: every gene that both parents share is kept
        assert (code[shared] == best[0][shared]).all()


def test_the_front_starts_from_both_ends_of_the_space() -> None:
    start = [LARGE.decode(code) for code in searcher(NSGA2).ask()]
    assert start[:2] == [LARGE.smallest, LARGE.largest]
    assert LARGE.largest not in [LARGE.decode(code) for code in searcher(NSGA2, limits={"macs": 100}).ask()]


def test_every_objective_is_minimised() -> None:
    """With the score constant, the search moves to what is cheap in its objectives."""

    def best(objectives: tuple[str, ...], algorithm: Any = NSGA2) -> npt.NDArray[np.float64]:
        search, costs = searcher(algorithm, objectives=objectives), np.empty((0, 2))
        for _ in range(20):
            codes = search.ask()
            costs = np.concatenate([costs, Costs(LARGE)(codes)])
            search.tell(codes, np.zeros(len(codes)))
        mean: npt.NDArray[np.float64] = np.sort(costs, axis=0)[:20].mean(axis=0)
        return mean

    chance, cheap, small, both = best((), RandomSearch), best(("macs",)), best(("params",)), best(("macs", "params"))
    assert cheap[0] < 0.5 * chance[0] and small[1] < 0.5 * chance[1] and (both < 0.5 * chance).all()
    assert cheap[0] <= small[0] and small[1] <= cheap[1]


# --------------------------------------------------------------------------------------------------------- the loop


def journal(path: Path) -> Journal[Net]:
    return Journal(path, space=LARGE.fingerprint, seed=0, settings={}, to_json=dataclasses.asdict)


class Evaluator:
    """Evaluates one by one, remembers what it saw, and dies when told to."""

    def __init__(self, dies_after: int = 10**9) -> None:
        self.seen: list[Net] = []
        self.dies_after = dies_after

    def __call__(self, nets: Sequence[Net]) -> Iterator[tuple[int, Mapping[str, float], float]]:
        return one_by_one(self.one)(nets)

    def one(self, net: Net) -> dict[str, float]:
        if len(self.seen) == self.dies_after:
            raise KeyboardInterrupt
        self.seen.append(net)
        return {"AP": score(net), "APlarge": float("nan")}


def shuffled(seed: int) -> Any:
    """Results in any order, as of many workers."""

    def evaluate(nets: Sequence[Net]) -> Iterator[tuple[int, Mapping[str, float], float]]:
        for position in np.random.default_rng(seed).permutation(len(nets)):
            yield int(position), {"AP": score(nets[position])}, 0.5

    return evaluate


def by_key(records: list[Record]) -> list[tuple[str, float]]:
    return [(record.key, record.metrics["AP"]) for record in records]


@each_algorithm
@pytest.mark.parametrize("dies_after", [0, 7, 10, 23])
def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(
    algorithm: Any, dies_after: int, tmp_path: Path
) -> None:
    whole = run_search(searcher(algorithm), Evaluator(), journal(tmp_path / "whole"), 35)
    first, second = Evaluator(dies_after), Evaluator()
    with pytest.raises(KeyboardInterrupt):
        run_search(searcher(algorithm), first, journal(tmp_path / "cut"), 35)
    resumed = run_search(searcher(algorithm), second, journal(tmp_path / "cut"), 35)
    assert by_key(resumed) == by_key(whole)
    assert len(first.seen) == dies_after and len(second.seen) == 35 - dies_after


@each_algorithm
def test_the_order_of_results_changes_the_order_of_lines_and_nothing_else(algorithm: Any, tmp_path: Path) -> None:
    one, many = journal(tmp_path / "one"), journal(tmp_path / "many")
    serial = run_search(searcher(algorithm), one_by_one(lambda net: {"AP": score(net)}), one, 35)
    assert by_key(run_search(searcher(algorithm), shuffled(1), many, 35)) == by_key(serial)
    assert by_key(many.records) != by_key(one.records) and sorted(by_key(many.records)) == sorted(by_key(one.records))


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
    assert {len(records) for records in results.values()} == {12}
    assert {record.algorithm for record in results["nsga2"]} == {"random"}


def test_the_loop_reports_progress_and_costs(tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    records = run_search(
        searcher(NSGA2), Evaluator(), journal(tmp_path / "j"), 12,
        on_progress=lambda done, record: progress.append((done, record.macs)),
    )  # fmt: skip
    assert progress == [(index + 1, record.macs) for index, record in enumerate(records)]
    assert (records[0].macs, records[0].costs, records[0].algorithm) == (24, {"params": 18.0}, "nsga2")


def test_a_score_that_cannot_be_ranked_is_refused_and_not_written_down(tmp_path: Path) -> None:
    book = journal(tmp_path / "j")
    with pytest.raises(UserError, match=r"score of Net\(side=2.* is nan"):
        run_search(searcher(NSGA2), one_by_one(lambda _: {"AP": float("nan")}), book, 5)
    with pytest.raises(UserError, match="no metric 'AP'; there are PCKh"):
        run_search(searcher(NSGA2), one_by_one(lambda _: {"PCKh": 1.0}), book, 5)
    with pytest.raises(RuntimeError, match="5 of 5 architectures came back without metrics"):
        run_search(searcher(NSGA2), lambda nets: iter(()), book, 5)
    assert len(book) == 0


# ------------------------------------------------------------------------------------------------ successive halving


def halving(seen: Evaluator, keep: float = 0.5) -> Halving[Net]:
    def loss(net: Net) -> dict[str, float]:
        return {"loss": 2 - seen.one(net)["AP"]}

    return Halving(one_by_one(loss), "loss on 8 images", keep)


@each_algorithm
def test_half_of_each_generation_is_judged_and_both_looks_are_written_down(algorithm: Any, tmp_path: Path) -> None:
    book, looks, judged = journal(tmp_path / "j"), Evaluator(), Evaluator()
    found = run_search(searcher(algorithm), judged, book, 20, halving=halving(looks))
    assert len(found) == len(judged.seen) == 20 and len(looks.seen) == 40 == len(set(looks.seen))
    assert [record.stage for record in book.records].count("loss on 8 images") == 40
    assert set(judged.seen) < set(looks.seen)
    again = run_search(searcher(algorithm), Evaluator(0), journal(tmp_path / "j"), 20, halving=halving(Evaluator(0)))
    assert by_key(again) == by_key(found)


@pytest.mark.parametrize("dies_after", [3, 13, 22])
def test_a_halved_search_that_was_killed_goes_on(dies_after: int, tmp_path: Path) -> None:
    whole = run_search(searcher(NSGA2), Evaluator(), journal(tmp_path / "whole"), 15, halving=halving(Evaluator()))
    both = Evaluator(dies_after)  # one counter for both kinds of look
    with pytest.raises(KeyboardInterrupt):
        run_search(searcher(NSGA2), both, journal(tmp_path / "cut"), 15, halving=halving(both))
    rest = Evaluator()
    assert by_key(run_search(searcher(NSGA2), rest, journal(tmp_path / "cut"), 15, halving=halving(rest))) == by_key(
        whole
    )
    assert dies_after + len(rest.seen) == 15 + 30


def test_small_networks_survive_although_their_loss_is_larger() -> None:
    losses, costs = np.array([0.9, 0.5, 0.1, 0.6, 0.2]), np.array([[1.0], [2.0], [3.0], [4.0], [5.0]])
    cut = Halving(one_by_one(lambda net: {}), "loss", keep=0.6)
    assert cut.survivors(losses, costs).tolist() == [0, 1, 2]  # what another one beats in both is dropped
    assert cut.survivors(losses, costs[:, :0]).tolist() == [1, 2, 4]  # without objectives the loss alone decides
    with pytest.raises(UserError, match="halving keeps 0 of a generation; give a part above 0 and at most 1"):
        Halving(one_by_one(lambda net: {}), "loss", keep=0.0)


# ------------------------------------------------------------------------------------------------- against chance


def test_the_searched_front_beats_random_search_on_most_seeds() -> None:
    space, whole = bench.STAND_IN_SPACE, bench.stand_in()
    (largest, _), (_, worst) = whole.points(np.stack([space.encode(space.largest), space.encode(space.smallest)]))
    table = bench.compare(
        whole, seeds=range(5), evaluations=200, algorithms=("nsga2", "random"), reference=(largest, worst)
    )
    volumes = table.pivot(index="seed", columns="algorithm", values="hypervolume")
    assert (table["evaluations"] == 200).all()
    assert (volumes["nsga2"] > 1.01 * volumes["random"]).sum() >= 4, volumes


def test_the_predictor_needs_half_of_what_chance_needs_on_trained_networks(capsys: pytest.CaptureFixture[str]) -> None:
    """All 256 networks of a part of the demo's space, each extracted, calibrated and judged."""
    bench.main(["--table", str(ROOT / "experiments" / "synthetic" / "table.csv")])
    output = capsys.readouterr().out
    ratios = dict(re.findall(r"(\w+) [\d.]+ \(([\d.]+) of random\)", output))
    wins = re.search(r"nsga2 ahead of random on (\d) of 5 seeds", output)
    assert float(ratios["predictor"]) <= 0.5, output
    assert wins is not None and int(wins[1]) >= 4, output


def evaluated_table(path: Path, rows: int) -> Path:
    rng = np.random.default_rng(7)
    nets = [bench.STAND_IN_SPACE.sample(rng) for _ in range(rows)]
    archs = [json.dumps(dataclasses.asdict(net)) for net in nets]
    values = [bench.stand_in_score(net) for net in nets]
    pd.DataFrame({"macs": bench.stand_in_macs(nets), "AP": values, "arch": archs}).to_csv(path, index=False)
    return path


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
