"""What a search gains over random choices of equal cost, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt

DRAWS = 200_000  # where there are more assignments than so many, so many are drawn


def p_value(selected: Sequence[float], others: Sequence[npt.ArrayLike], seed: int = 0) -> float:
    """Permutation test within groups: is the mean lead of the selected ones more than chance?

    If a search were no better than chance, each selected score could as well be any of its group, itself or one of the others.
    The p-value is the share of all such assignments whose mean lead is at least as large.

    Args:
        selected: one score for each group (budget); larger is better.
        others: the scores of random choices, of each group at least one.
        seed: of the drawing where there are too many assignments.
    """
    leads = []
    for one, scores in zip(selected, others, strict=True):
        values = np.array([one, *np.asarray(scores, dtype=np.float64)])
        rest = (values.sum() - values) / (len(values) - 1)
        leads.append(values - rest)  # of each member, were it the selected one; the real one first
    observed = sum(lead[0] for lead in leads)
    if np.prod([len(lead) for lead in leads], dtype=float) <= DRAWS:
        sums = reduce(lambda sums, lead: np.add.outer(sums, lead).ravel(), leads)
    else:
        rng = np.random.default_rng(seed)
        sums = np.sum([rng.choice(lead, DRAWS) for lead in leads], axis=0)
    return float((sums >= observed - 1e-12).mean())
