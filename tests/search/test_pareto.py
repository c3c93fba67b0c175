"""Fronts against brute force, and against another library's hypervolume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymoo.indicators.hv import HV
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from supernet.errors import UserError
from supernet.search.pareto import crowding, front_ranks, hypervolume, non_dominated, select_within_budgets, survivors

# Few different values, so that ties and equal points are common.
POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14)


def naive_marks(points: list[tuple[int, int]]) -> list[bool]:
    def beaten(index: int) -> bool:
        cost, score = points[index]
        return any(
            other_cost <= cost and other_score >= score and (other_cost < cost or other_score > score or other < index)
            for other, (other_cost, other_score) in enumerate(points)
        )

    return [not beaten(index) for index in range(len(points))]


@settings(max_examples=300, deadline=None)
@given(POINTS)
def test_non_dominated_equals_brute_force(points: list[tuple[int, int]]) -> None:
    assert non_dominated(points).tolist() == naive_marks(points)


@settings(max_examples=300, deadline=None)
@given(POINTS, st.integers(0, 7), st.integers(-1, 6))
def test_hypervolume_counts_the_unit_squares_that_are_dominated(
    points: list[tuple[int, int]], cost_limit: int, score_floor: int
) -> None:
    squares = sum(
        any(cost <= x and score >= y + 1 for cost, score in points)
        for x in range(cost_limit)
        for y in range(score_floor, 6)
    )
    assert hypervolume(points, (cost_limit, score_floor)) == squares


def test_hypervolume_equals_pymoo() -> None:
    rng = np.random.default_rng(0)
    for number in (1, 2, 30, 400):
        points = rng.random((number, 2)) * (900, 70)
        expected = HV(ref_point=np.array([800.0, -5.0]))(points * (1, -1))
        assert hypervolume(points, (800.0, 5.0)) == pytest.approx(float(expected), rel=1e-12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=12))
def test_non_dominated_of_two_costs_equals_brute_force(points: list[tuple[int, int, int]]) -> None:
    def beats(one: tuple[int, ...], two: tuple[int, ...]) -> bool:
        return one[0] <= two[0] and one[1] <= two[1] and one[2] >= two[2] and one != two

    expected = [
        not any(beats(other, point) for other in points) and point not in points[:index]
        for index, point in enumerate(points)
    ]
    assert non_dominated(points).tolist() == expected


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_fronts_and_crowding_are_those_of_pymoo(objectives: int) -> None:
    for seed, number in enumerate((1, 2, 40, 150)):
        points = np.random.default_rng(seed).random((number, objectives))
        fronts = NonDominatedSorting().do(points)
        ranks = front_ranks(points)
        assert [np.flatnonzero(ranks == rank).tolist() for rank in range(len(fronts))] == [sorted(f) for f in fronts]
        distance = crowding(points, ranks)
        for front in fronts:
            if len(front) > 2:  # pymoo says infinity for up to two
                np.testing.assert_allclose(
                    distance[front] / objectives, calc_crowding_distance(points[front]), rtol=1e-9
                )
        best = survivors(points, number // 2)
        assert np.array_equal(best, survivors(points, number)[: number // 2])
        assert (np.diff(ranks[best]) >= 0).all() and ranks[best].max(initial=0) <= np.sort(ranks)[number // 2]


def test_the_least_crowded_survive_first() -> None:
    line = np.array([[0.0, 10.0], [1.0, 9.0], [1.5, 8.5], [2.0, 8.0], [10.0, 0.0], [11.0, 11.0]])
    assert survivors(line, 3).tolist() == [0, 4, 3]
    assert survivors(line, 6).tolist()[-1] == 5


def test_nothing_covers_nothing() -> None:
    assert non_dominated([]).shape == (0,)
    assert hypervolume([], (1.0, 0.0)) == 0.0
    assert hypervolume([(2.0, 0.5), (0.5, 0.0)], (1.0, 0.0)) == 0.0


def test_selected_the_best_score_within_each_budget() -> None:
    costs, scores = [10.0, 20.0, 30.0, 25.0, 20.0], [40.0, 55.0, 60.0, 55.0, 55.0]
    budgets = {"small": {"macs": 10.0}, "medium": {"macs": 29.0}, "large": {"macs": 1000.0}, "none": {"macs": 9.0}}
    found = select_within_budgets({"macs": costs}, scores, budgets)
    assert found == {"small": 0, "medium": 1, "large": 2, "none": None}
    backwards = {"macs": np.array(costs[::-1])}
    assert select_within_budgets(backwards, np.array(scores[::-1]), {"medium": {"macs": 29.0}}) == {"medium": 0}


def test_selected_within_budgets_of_several_costs() -> None:
    """Against a loop over random points: all limits hold, the score is the best, of equal ones the cheapest is chosen."""
    rng = np.random.default_rng(0)
    costs = {"macs": rng.integers(1, 6, 60).astype(float), "latency_ms": rng.integers(1, 6, 60).astype(float)}
    scores = rng.integers(0, 4, 60).astype(float)
    for limits in ({"latency_ms": 3.0}, {"macs": 2.0, "latency_ms": 4.0}, {"latency_ms": 1.0, "macs": 1.0}):
        within = [i for i in range(60) if all(costs[name][i] <= limit for name, limit in limits.items())]
        best = min(within, key=lambda i: (-scores[i], *(costs[name][i] for name in limits), i))  # noqa: B023
        assert select_within_budgets(costs, scores, {"S": limits}) == {"S": best}


def test_bad_input_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="2 values of macs and 1 scores"):
        select_within_budgets({"macs": [20.0, 10.0]}, [1.0], {"phone": {"macs": 5.0}})
    with pytest.raises(UserError, match="no points to choose from for the budgets phone"):
        select_within_budgets({"macs": []}, [], {"phone": {"macs": 5.0}})
    with pytest.raises(UserError, match="budget 'phone' limits params, which is not given; there are macs"):
        select_within_budgets({"macs": [1.0]}, [1.0], {"phone": {"params": 5.0}})
    with pytest.raises(UserError, match=r"point 1 is \(2.0, nan\)"):
        non_dominated([(1.0, 1.0), (2.0, np.nan)])
    with pytest.raises(UserError, match=r"points have shape \(2, 1\): give \(N, costs \+ 1\)"):
        non_dominated([[1.0], [2.0]])
    with pytest.raises(UserError, match=r"points have shape \(3,\)"):
        hypervolume([1.0, 2.0, 3.0], (1.0, 1.0))
    with pytest.raises(UserError, match="reference .* is not finite"):
        hypervolume([(1.0, 2.0)], (np.inf, 0.0))
