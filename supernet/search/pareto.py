"""Pareto fronts of cost against score: non-dominated sorting, crowding, hypervolume, the best point within a budget.

A point is (cost, score), or several costs and a score: costs are wanted low, the score high. Shapes: N points, K numbers
each. Where a function says *minimise*, all K are wanted low.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from supernet.errors import UserError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


def non_dominated(points_NK: ArrayLike) -> BoolArray:
    """Mark the points that no other dominates: none is as cheap and as good, and better in one of these.

    Of equal points only the first is marked.

    Args:
        points_NK: costs, and the score in the last column.

    Returns:
        (N,) in the points' order.

    Raises:
        UserError: a point has fewer than two numbers, or one is not a number.
    """
    points = _checked(points_NK, width=None)
    marks = np.zeros(len(points), dtype=np.bool_)
    if points.shape[1] == 2:
        # Cheapest first, of equal cost the best first, of equal points the earliest: each must then raise the best score.
        order = np.lexsort((np.arange(len(points)), -points[:, 1], points[:, 0]))
        scores = points[order, 1]
        best_before = np.maximum.accumulate(np.concatenate(([-np.inf], scores)))[:-1]
        marks[order] = scores > best_before
    else:
        first = np.unique(points, axis=0, return_index=True)[1]
        marks[first] = front_ranks(np.column_stack([points[first, :-1], -points[first, -1]])) == 0
    return marks


def front_ranks(points_NK: FloatArray, wanted: int | None = None) -> IntArray:
    """Non-dominated sorting: the front of each point, (N,): 0 where nothing dominates it, 1 where only front 0 does, …; minimise.

    Args:
        points_NK: what is ranked.
        wanted: stop after the front that completes so many points; all others share the next number.
    """
    no_worse = np.ones((len(points_NK), len(points_NK)), dtype=np.bool_)  # row is no worse than column
    for column in points_NK.T:
        no_worse &= column[:, None] <= column
    dominates = no_worse & ~no_worse.T
    ranks = np.full(len(points_NK), len(points_NK), dtype=np.int64)
    better = dominates.sum(axis=0)  # how many points of no front so far dominate each
    rank, left = 0, len(points_NK) if wanted is None else wanted
    while left > 0 and (front := np.flatnonzero((better == 0) & (ranks > rank))).size:
        ranks[front] = rank
        better -= dominates[front].sum(axis=0)
        rank, left = rank + 1, left - front.size
    return np.minimum(ranks, rank)


def crowding(points_NK: FloatArray, ranks: IntArray) -> FloatArray:
    """NSGA-II's crowding distance within each front, (N,): the ends of a front have infinity."""
    distance = np.zeros(len(points_NK))
    for column in points_NK.T if len(points_NK) else ():
        order = np.lexsort((column, ranks))
        values, fronts = column[order], ranks[order]
        first = np.append(True, fronts[1:] != fronts[:-1])
        last = np.append(first[1:], True)
        span = np.repeat(values[last] - values[first], np.diff(np.append(np.flatnonzero(first), len(values))))
        gaps = np.append(values[1:], values[-1:]) - np.append(values[:1], values[:-1])
        gaps = np.divide(gaps, span, out=np.zeros_like(gaps), where=span > 0)
        distance[order] += np.where(first | last, np.inf, gaps)
    return distance


def survivors(points_NK: FloatArray, wanted: int) -> IntArray:
    """NSGA-II's survival (Deb et al. 2002, section III): rows of the ``wanted`` best, the best first; minimise.

    Fronts in order; within a front the least crowded first. Not pymoo's, which the tests compare it with: that keeps one
    Python object per individual, and a search should not wait for its own book-keeping (tools/bench/search_speed.py).
    """
    ranks = front_ranks(points_NK, wanted)
    return np.lexsort((-crowding(points_NK, ranks), ranks))[:wanted]


def hypervolume(points_N2: ArrayLike, reference: tuple[float, float]) -> float:
    """Area that the points dominate, up to a reference: exact in two dimensions (Zitzler & Thiele, PPSN 1998).

    The value has the unit of cost times score; whoever compares fronts scales both first, and uses one reference.

    Args:
        points_N2: (N, 2) of cost and score.
        reference: (largest cost, smallest score); points beyond it in either add nothing.

    Raises:
        UserError: the points are not (N, 2), or a number is not one.
    """
    points = _checked(points_N2)
    cost_limit, score_floor = (float(value) for value in reference)
    if not (np.isfinite(cost_limit) and np.isfinite(score_floor)):
        raise UserError(f"hypervolume reference {tuple(reference)} is not finite: give (largest cost, smallest score)")
    front = points[non_dominated(points)]
    front = front[(front[:, 0] < cost_limit) & (front[:, 1] > score_floor)]
    front = front[np.argsort(front[:, 0])]
    # Steps: each point adds what its score rises above the cheaper ones', over all costs up to the limit.
    rises = np.diff(front[:, 1], prepend=score_floor)
    return float(np.sum((cost_limit - front[:, 0]) * rises))


def select_within_budgets(
    costs: Mapping[str, Sequence[float] | FloatArray],
    scores: Sequence[float] | FloatArray,
    budgets: Mapping[str, Mapping[str, float]],
) -> dict[str, int | None]:
    """Choose the point of the best score within each budget.

    Args:
        costs: by the cost's name, (N,).
        scores: (N,).
        budgets: name → largest value of each cost that it limits, which may be reached.

    Returns:
        Name → index, or None where no point is within the budget. Of equal scores the cheapest, by the budget's costs in
        their order, then the first.

    Raises:
        UserError: there are no points, costs and scores differ in number, a number is not finite, or a budget limits a
            cost that is not given.
    """
    selected: dict[str, int | None] = {}
    for name, limits in budgets.items():
        if missing := [cost for cost in limits if cost not in costs]:
            raise UserError(f"budget {name!r} limits {missing[0]}, which is not given; there are {', '.join(costs)}")
        for cost in limits:
            if len(costs[cost]) != len(scores):
                raise UserError(
                    f"{len(costs[cost])} values of {cost} and {len(scores)} scores: give one of each for every point"
                )
        points = _checked(np.column_stack([*(costs[cost] for cost in limits), scores]), width=None)
        if not len(points):
            raise UserError(f"no points to choose from for the budgets {', '.join(budgets)}: give at least one")
        order = np.lexsort((np.arange(len(points)), *points[:, -2::-1].T, -points[:, -1]))
        within = (points[order, :-1] <= np.array([*limits.values()], dtype=float)).all(axis=1)
        selected[name] = int(order[within][0]) if within.any() else None
    return selected


def _checked(points: ArrayLike, width: int | None = 2) -> FloatArray:
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] < 2 or array.shape[1] != (width or array.shape[1]):
        raise UserError(f"points have shape {array.shape}: give (N, {width or 'costs + 1'}) of cost and score")
    if bad := np.flatnonzero(~np.isfinite(array).all(axis=1)).tolist():
        raise UserError(f"point {bad[0]} is {tuple(array[bad[0]].tolist())}: leave out points that are not finite")
    return array
