"""Minimum-cost assignment: the classical Munkres algorithm with fixed choices among ties, and a fast thresholded one.

Associative-embedding grouping rounds its costs, so optima tie all the time and the people found depend on which
optimum the solver returns. Published bottom-up numbers were measured with the solver of munkres 1.0/1.1, whose
choices ``munkres`` follows; newer releases and scipy choose others.
Source: J. Munkres, "Algorithms for the Assignment and Transportation Problems", 1957.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Costs = npt.NDArray[np.float64]
_PROHIBITIVE = 1e6  # far above any sum of allowed costs: as many allowed pairs as possible come first


def munkres(cost: Costs) -> list[tuple[int, int]]:
    """Solve the assignment problem, breaking ties as munkres 1.1.4 does.

    Args:
        cost: finite costs, shape (rows, columns); the smaller side is padded with zeros.

    Returns:
        (row, column) pairs in row order, min(rows, columns) of them.

    Raises:
        ValueError: a cost is not finite (the search for a zero would not end).
    """
    rows, columns = cost.shape
    if not np.isfinite(cost).all():
        raise ValueError(f"munkres: the {rows}x{columns} cost matrix has entries that are not finite, remove them")
    n = max(rows, columns)
    reduced = np.zeros((n, n))
    reduced[:rows, :columns] = cost
    reduced -= reduced.min(axis=1, keepdims=True, initial=np.inf)
    zeros = _zero_masks(reduced)
    star_of_row, star_of_column = [-1] * n, [-1] * n
    unstarred = (1 << n) - 1  # bit c: column c has no star
    for row in range(n):
        choice = zeros[row] & unstarred
        if choice:
            column = (choice & -choice).bit_length() - 1
            star_of_row[row], star_of_column[column] = column, row
            unstarred ^= 1 << column
    while unstarred:
        row, column, prime_of_row, zeros = _prime_until_free(reduced, zeros, star_of_row, unstarred)
        while True:  # alternate: star this prime, whose column's old star gives way to the prime of its row
            row_before = star_of_column[column]
            star_of_row[row], star_of_column[column] = column, row
            if row_before < 0:
                unstarred ^= 1 << column
                break
            row, column = row_before, prime_of_row[row_before]
    return [(row, column) for row, column in enumerate(star_of_row[:rows]) if column < columns]


def _prime_until_free(
    reduced: Costs, zeros: list[int], star_of_row: list[int], open_columns: int
) -> tuple[int, int, list[int], list[int]]:
    """Prime uncovered zeros until one has no star in its row; ``reduced`` changes in place, its zero masks return."""
    n = len(zeros)
    open_rows = [True] * n
    prime_of_row = [-1] * n
    first_row = column = 0
    while True:
        for row in (*range(first_row, n), *range(first_row)):
            choice = zeros[row] & open_columns if open_rows[row] else 0
            if choice:
                # the last zero in the cyclic order column, column + 1, ..., column - 1
                column = (choice & ((1 << column) - 1) or choice).bit_length() - 1
                break
        else:
            zeros = _make_zero(reduced, open_rows, open_columns)
            first_row = column = 0
            continue
        prime_of_row[row] = column
        star = star_of_row[row]
        if star < 0:
            return row, column, prime_of_row, zeros
        open_rows[row] = False
        open_columns |= 1 << star
        first_row, column = row, star


def _make_zero(reduced: Costs, open_rows: list[bool], open_columns: int) -> list[int]:
    """Move the smallest uncovered cost to zero. The order of the two roundings matters for later ties."""
    rows = np.array(open_rows)
    columns = np.array([open_columns >> c & 1 for c in range(len(open_rows))], dtype=bool)
    smallest = reduced[np.ix_(rows, columns)].min()
    reduced[~rows] += smallest
    reduced[:, columns] -= smallest
    return _zero_masks(reduced)


def _zero_masks(reduced: Costs) -> list[int]:
    """One integer per row whose bit c says that column c is exactly zero."""
    packed = np.packbits(reduced == 0, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def assign_below(cost: Costs, allowed: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Solve the assignment over the allowed pairs only, with scipy's solver.

    All other pairs cost one constant, so they cannot pull an allowed pair apart: the largest number of allowed pairs
    is found first, then the cheapest choice of them.

    Args:
        cost: costs, shape (rows, columns).
        allowed: which pairs may be made, same shape.

    Returns:
        allowed (row, column) pairs in row order.
    """
    rows, columns = linear_sum_assignment(np.where(allowed, cost, _PROHIBITIVE))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if allowed[r, c]]
