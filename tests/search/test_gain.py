"""The permutation test of a search's gain, with known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from supernet.report.gain import gains, shown_gains
from supernet.search.gain import p_value


def test_the_best_of_a_group_is_one_of_its_size() -> None:
    """Above nine others: one of ten assignments is as good. In two groups: one of a hundred."""
    others = np.arange(9.0)
    assert p_value([10.0], [others]) == pytest.approx(0.1)
    assert p_value([10.0, 10.0], [others, others]) == pytest.approx(0.01)
    assert p_value([-1.0], [others]) == 1.0
    assert p_value([8.0], [others]) == pytest.approx(0.2)  # a tie counts as being as good


def test_many_assignments_are_drawn() -> None:
    """Six groups of ten: the share of a million assignments, and of those that are drawn."""
    rng = np.random.default_rng(0)
    others = rng.standard_normal((6, 9))
    found = p_value([0.8] * 6, list(others))
    leads = []
    for row in others:
        values = np.array([0.8, *row])
        leads.append(values - (values.sum() - values) / 9)
    sums = np.array(np.meshgrid(*leads)).sum(axis=0)
    exact = (sums >= sum(lead[0] for lead in leads) - 1e-12).mean()
    assert found == pytest.approx(exact, rel=0.1) and 0 < exact < 0.05
    assert found == p_value([0.8] * 6, list(others))


def test_chance_is_even() -> None:
    """Of scores without any difference the p-value is below 0.1 in a tenth of the cases."""
    rng = np.random.default_rng(1)
    below = [p_value(rows[:, 0].tolist(), list(rows[:, 1:])) <= 0.1 for rows in rng.standard_normal((400, 2, 11))]
    assert 0.06 < np.mean(below) < 0.14


def test_the_table_of_gains() -> None:
    lines = [("S", "selected", 0, 10e6, 0.5, "a"), ("S", "selected", 1, 10e6, 0.6, "a")]
    lines += [("S", "random", 0, 10e6, score, f"r{score}") for score in (0.3, 0.4, 0.8)]
    table, p = gains(pd.DataFrame(lines, columns=["name", "group", "seed", "macs", "test", "arch"]))
    (row,) = table.itertuples()
    assert (row.trainings, row.networks) == (2, 3) and row.above == pytest.approx(2 / 3) and p == pytest.approx(0.5)
    assert (row.selected, row.random, row.best, row.gain) == pytest.approx((0.55, 0.5, 0.8, 0.05))
    assert shown_gains(table, "AP").iloc[0].tolist() == ["S", "10.0", "55.0", "50.0 (80.0)", "+5.0", "67% of 3"]
