"""Budgets of a run: which evaluated architecture is the best within each, and why a budget has none.

A budget is a name and the largest values of one or more costs (``SEARCH.BUDGETS``); a plain number means MACs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from yacs.config import CfgNode

from ..cost.costs import COSTS, amount
from ..errors import UserError
from ..report.tables import BUDGET_COLUMNS, write_csv
from ..search.pareto import select_within_budgets
from .costs import Bound, check_limits, check_together
from .progress import say
from .run import Run


@dataclass(frozen=True)
class Budget:
    """A budget: its name, and the largest allowed value of each of its costs, in the cost's own unit."""

    name: str
    limits: Mapping[str, float]

    @property
    def text(self) -> str:
        """The limits for a reader, such as ``60 MMACs and 5 ms``."""
        return " and ".join(amount(name, value) for name, value in self.limits.items())


@dataclass(frozen=True)
class Selection:
    """What became of a budget.

    Attributes:
        budget: the budget.
        arch: the best architecture within it, JSON; empty where none was evaluated.
        reason: why the budget has no subnet of its own; empty where it has one.
    """

    budget: Budget
    arch: str
    reason: str


def budgets_of(cfg: CfgNode) -> list[Budget]:
    """The budgets of a configuration: those of the same costs together, the smallest first."""
    found = []
    for name, value in cfg.SEARCH.BUDGETS.items():
        limits = dict(value) if isinstance(value, Mapping) else {"macs": value}
        found.append(Budget(name, {cost: limits[cost] for cost in COSTS if cost in limits}))
    order = list(COSTS)
    return sorted(found, key=lambda budget: ([order.index(cost) for cost in budget.limits], [*budget.limits.values()]))


def budget_costs(cfg: CfgNode) -> list[str]:
    """The costs that any budget limits."""
    limited = {cost for budget in budgets_of(cfg) for cost in budget.limits}
    return [cost for cost in COSTS if cost in limited]


def check_budgets(run: Run) -> None:
    """Before hours of training: can every limit of COST be met, and every budget beside these limits?

    Raises:
        UserError: no architecture of the space is within one of them, with the smallest possible value.
    """
    check_limits(run)
    for budget in budgets_of(run.cfg):
        label = f"SEARCH.BUDGETS.{budget.name}"
        check_together(
            run,
            {
                cost: Bound(label, limit, amount(cost, limit), partial(_beside, cost, limit))
                for cost, limit in budget.limits.items()
            },
        )


def select_subnets(
    run: Run, front: pd.DataFrame, finalists: pd.DataFrame | None = None, column: str = ""
) -> list[Selection]:
    """The best architecture within each budget; one that serves two budgets goes by the first one's name.

    A budget without a subnet of its own is said.

    Args:
        run: the run.
        front: what is best of all that was evaluated.
        finalists: what is selected from; None is the front.
        column: their score; '' is that of the search.

    Raises:
        UserError: the front lacks a cost that a budget limits.
    """
    budgets = budgets_of(run.cfg)
    for cost in budget_costs(run.cfg):
        if cost not in front:
            raise UserError(f"{run.paths.front}: no column {cost!r}, which a budget limits; run search.py again")
    offered = front if finalists is None else finalists
    costs = {cost: offered[cost].to_numpy(dtype=float) for cost in budget_costs(run.cfg)}
    scores = run.data.search_score.sign * offered[column or run.data.search_score.name].to_numpy(dtype=float)
    rows = select_within_budgets(costs, scores, {budget.name: budget.limits for budget in budgets})
    served: dict[str, str] = {}
    found = []
    for budget in budgets:
        row = rows[budget.name]
        arch = "" if row is None else str(offered.arch[row])
        if row is None:
            reason = _nearest(budget, front)
        elif arch in served:
            reason = f"same architecture as {served[arch]}: no better one within it was evaluated"
        else:
            served[arch], reason = budget.name, ""
        if reason:
            say(f"budget {budget.name} ({budget.text}): {reason}")
        found.append(Selection(budget, arch, reason))
    return found


def keep_selection(run: Run, selections: Sequence[Selection]) -> dict[str, str]:
    """Write ``budgets.csv``: name, limit, architecture (JSON, or empty), and why the budget has no subnet of its own.

    Returns:
        Name -> architecture as JSON of the budgets that have one.
    """
    rows = [(item.budget.name, item.budget.text, item.arch, item.reason) for item in selections]
    write_csv(run.paths.budgets, pd.DataFrame(rows, columns=list(BUDGET_COLUMNS)))
    return {item.budget.name: item.arch for item in selections if not item.reason}


def _nearest(budget: Budget, front: pd.DataFrame) -> str:
    """Why no evaluated architecture is within a budget, with what the nearest one has."""
    ratios = np.max([front[cost].to_numpy(dtype=float) / limit for cost, limit in budget.limits.items()], axis=0)
    nearest = front.iloc[int(ratios.argmin())]
    has = " and ".join(amount(cost, float(nearest[cost]), beside=limit) for cost, limit in budget.limits.items())
    return f"no evaluated architecture is within it, the nearest has {has}; raise it or SEARCH.EVALUATIONS"


def _beside(cost: str, limit: float, value: float) -> str:
    return amount(cost, value, beside=limit)
