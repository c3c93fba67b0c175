"""The loop around search algorithms, with successive halving: killed, resumed, out of order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from supernet.errors import UserError
from supernet.search.journal import Journal, Record
from supernet.search.loop import one_by_one, run_search
from supernet.search.nsga2 import NSGA2
from supernet.search.successive_halving import Halving
from tests.toy_search import ALGORITHMS, LARGE, TINY, Net, each_algorithm, score, searcher


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
def test_a_loss_is_searched_as_its_negative_and_kept_as_it_is(algorithm: Any, tmp_path: Path) -> None:
    whole = run_search(searcher(algorithm), Evaluator(), journal(tmp_path / "score"), 35)
    loss = one_by_one(lambda net: {"loss": -score(net)})
    found = run_search(searcher(algorithm), loss, journal(tmp_path / "loss"), 35, "loss", lower_is_better=True)
    assert [(record.key, -record.metrics["loss"]) for record in found] == by_key(whole)


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


def test_a_journal_without_the_score_is_refused_with_what_it_has(tmp_path: Path) -> None:
    run_search(searcher(NSGA2), Evaluator(), journal(tmp_path / "j"), 5)
    with pytest.raises(
        UserError, match=r"j: Net\(.*was evaluated without mOKS, with AP, APlarge; search by one of these, or move"
    ):
        run_search(searcher(NSGA2), Evaluator(), journal(tmp_path / "j"), 5, "mOKS")


# ------------------------------------------------------------------------------------------------ successive halving


def halving(seen: Evaluator, keep: float = 0.5) -> Halving[Net]:
    def loss(net: Net) -> dict[str, float]:
        return {"loss": 2 - seen.one(net)["AP"]}

    return Halving(one_by_one(loss), "loss on 8 images", keep)


@each_algorithm
def test_half_of_each_generation_is_evaluated_and_both_looks_are_written_down(algorithm: Any, tmp_path: Path) -> None:
    book, looks, evaluated = journal(tmp_path / "j"), Evaluator(), Evaluator()
    found = run_search(searcher(algorithm), evaluated, book, 20, halving=halving(looks))
    assert len(found) == len(evaluated.seen) == 20 and len(looks.seen) == 40 == len(set(looks.seen))
    assert [record.stage for record in book.records].count("loss on 8 images") == 40
    assert set(evaluated.seen) < set(looks.seen)
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
