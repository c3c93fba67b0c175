"""Random architectures whose MACs are near given ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import UserError

POOL, POOLS = 20_000, 100  # so many random architectures are looked at, so many times


def near_macs(
    space: Any,
    macs: Callable[[Any], Any],
    budgets: Sequence[float],
    counts: Sequence[int],
    rng: np.random.Generator,
    within: float = 0.02,
) -> list[list[Any]]:
    """So many random architectures near each of several MACs, none twice.

    Args:
        space: whose architectures are drawn, uniform in each choice.
        macs: from codes (N, genes) to MACs (N,).
        budgets: MACs.
        counts: how many architectures near each budget.
        rng: draws them.
        within: share of a budget that the MACs may differ from it.

    Raises:
        UserError: too few are that near.
    """
    found: list[dict[tuple[int, ...], Any]] = [{} for _ in budgets]
    for _ in range(POOLS):
        codes = space.sample_codes(POOL, rng)
        costs = macs(codes)
        for budget, count, some in zip(budgets, counts, found, strict=True):
            for code in codes[np.abs(costs / budget - 1) <= within]:
                if len(some) < count:
                    some.setdefault(tuple(code.tolist()), space.decode(code))
        if all(len(some) == count for some, count in zip(found, counts, strict=True)):
            return [list(some.values()) for some in found]
    few = next(group for group in zip(budgets, found, counts, strict=True) if len(group[1]) < group[2])
    raise UserError(
        f"of {POOL * POOLS:,} random architectures {len(few[1])} of {few[2]} lie within {within:.0%} of "
        f"{few[0] / 1e6:.1f} MMACs; choose another budget or a larger FIDELITY.WITHIN"
    )
