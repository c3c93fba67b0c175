"""Reads one entry of SEARCH.BUDGETS: a name that can be a folder's, and MACs or the largest values of several costs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from yacs.config import CfgNode

from ..cost.costs import COSTS
from ..errors import UserError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def read_budget(name: str, value: Any, coerce: Callable[[Any, Any, str], Any], source: str) -> Any:
    """The entry as a configuration keeps it: a whole number of MACs, or a node of costs.

    Args:
        name: of the budget.
        value: as the file or the command line has it.
        coerce: from a value, an example of its type and its key to the value of that type.
        source: the file, or the command line.

    Raises:
        UserError: the name is no word, the value is neither, or a cost is unknown or not above 0.
    """
    key = f"SEARCH.BUDGETS.{name}"
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{source}: SEARCH.BUDGETS has the name {name!r}; write at most 64 letters, digits, and -_. behind the first, "
            "since it becomes a folder's name"
        )
    start, _, last = name.rpartition(".")
    if start and last in COSTS:  # SEARCH.BUDGETS.S.latency_ms 5
        raise UserError(f"{source}: {key} would be a budget of that name; write SEARCH.BUDGETS.{start} '{{{last}: …}}'")
    if not isinstance(value, Mapping):
        return _above_0(coerce(value, 0, key), key, source)
    if not value:
        raise UserError(f"{source}: {key} limits nothing; name some of {', '.join(COSTS)}")
    node = CfgNode()
    for cost, limit in value.items():
        if cost not in COSTS:
            raise UserError(f"{source}: {key} limits {cost!r}, which is not one of {', '.join(COSTS)}")
        node[cost] = _above_0(coerce(limit, COSTS[cost].no_limit, f"{key}.{cost}"), f"{key}.{cost}", source)
    return node


def _above_0(value: Any, key: str, source: str) -> Any:
    if value <= 0:
        raise UserError(f"{source}: {key} is {value}; write a number above 0")
    return value
