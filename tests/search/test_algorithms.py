"""A contract that every search algorithm keeps, and what is special in each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from search_spaces.space import Space, choice
from supernet.errors import UserError
from supernet.search.evolution import Evolution
from supernet.search.nsga2 import NSGA2
from supernet.search.predictor import PredictorSearch
from supernet.search.random_search import RandomSearch
from supernet.sharing.protocols import Codes
from tests.toy_search import (
    LARGE,
    TINY,
    Block,
    Costs,
    Net,
    asked,
    each_algorithm,
    macs,
    params,
    scores,
    searcher,
)


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
