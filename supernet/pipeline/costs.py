"""Objectives and limits of a search, from the COST node of a configuration; limits that no architecture meets are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn
from yacs.config import CfgNode

from search_spaces import Space

from ..cost.cost_model import CostTable
from ..cost.costs import COSTS
from ..cost.description import CostSources
from ..cost.latency import LatencyModel, LatencyTable
from ..errors import UserError
from ..sharing.protocols import Codes, SupportsCosts

Costs = NDArray[np.float64]
_LISTED = 300_000  # architectures of a space up to which all are looked at
_SAMPLED = 20_000  # of a larger space, before the best are improved
_GENERATIONS, _CHILDREN = 30, 40


class CostedRun(CostSources, Protocol):
    """What is asked of a run here."""

    cfg: CfgNode

    @property
    def source(self) -> Path:
        """The configuration's file."""
        ...

    @property
    def family(self) -> ModuleType:
        """The family of the space."""
        ...

    @property
    def space(self) -> Space[Any]:
        """The search space."""
        ...

    @property
    def build(self) -> Callable[[Any], nn.Module]:
        """From an architecture to its network."""
        ...


@dataclass(frozen=True)
class Bound:
    """The largest allowed value of a cost: what messages call it, the value, its text, and the text of other values."""

    label: str
    limit: float
    text: str
    show: Callable[[float], str]


def costs_of(run: CostedRun, more: Sequence[str] = ()) -> SupportsCosts:
    """The costs that COST.OBJECTIVES and the limits need, and more by their names; ``macs`` first, always.

    Raises:
        UserError: there is no objective, or one is written twice, or the latency is needed and there is no table of it for
            this space.
    """
    objectives, limits = list(run.cfg.COST.OBJECTIVES), limits_of(run)
    if not objectives or len(set(objectives)) < len(objectives):
        raise UserError(f"COST.OBJECTIVES is {objectives}; write some of {', '.join(COSTS)}, each once")
    names = {"macs", *objectives, *limits, *more}
    needed = [cost for name, cost in COSTS.items() if name in names]
    return CostTable({cost.name: cost.compute(run) for cost in needed})


def limits_of(run: CostedRun) -> dict[str, float]:
    """The largest allowed value of each cost that has a limit, in the cost's own unit.

    Raises:
        UserError: a limit is negative.
    """
    limits = {}
    for name, cost in COSTS.items():
        value = run.cfg.COST[cost.limit]
        if value < 0:
            raise UserError(f"COST.{cost.limit} is {value}; write a positive number, or 0 for no limit")
        if value:
            limits[name] = value * cost.limit_unit
    return limits


def check_limits(run: CostedRun) -> None:
    """Before hours of training: can all limits be met at once?

    A space of up to 300,000 architectures is looked through; in a larger one the search starts at its smallest
    architecture and at random ones, and improves on them.

    Raises:
        UserError: no architecture meets one of the limits, with the smallest value and its architecture; or none meets
            all of them, which can be met one by one.
    """
    _refuse(run, _general(run))


def check_together(run: CostedRun, bounds: Mapping[str, Bound]) -> None:
    """The same for further bounds, by cost, which have to be met together with the limits of COST.

    Raises:
        UserError: as :func:`check_limits`.
    """
    general = {
        name: bound for name, bound in _general(run).items() if name not in bounds or bound.limit < bounds[name].limit
    }
    _refuse(run, {**bounds, **general})


def _general(run: CostedRun) -> dict[str, Bound]:
    """The limits of COST."""
    costs = {name: (COSTS[name], limit) for name, limit in limits_of(run).items()}
    return {
        name: Bound(f"COST.{cost.limit}", limit, f"{run.cfg.COST[cost.limit]:,}", cost.in_limit_units)
        for name, (cost, limit) in costs.items()
    }


def _refuse(run: CostedRun, bounds: Mapping[str, Bound]) -> None:
    """Refuse bounds that no architecture meets."""
    if not bounds:
        return
    costs = costs_of(run, list(bounds))
    columns = [costs.names.index(name) for name in bounds]
    largest = np.array([bound.limit for bound in bounds.values()], dtype=np.float64)

    def excess(codes: Codes) -> Costs:
        ratios: Costs = costs(codes)[:, columns] / largest
        return ratios

    if (excess(run.space.encode(run.space.smallest)[None]) <= 1).all():
        return
    pool = _pool(run)
    found = excess(pool)
    if (found.max(axis=1) <= 1).any():
        return
    for place, bound in enumerate(bounds.values()):
        code, least = _improved(run, pool, found[:, place], lambda codes, at=place: excess(codes)[:, at])  # type: ignore[misc]
        if least > 1:
            raise UserError(
                f"{bound.label} is {bound.text}, which no architecture of the space meets; "
                f"the smallest possible is {bound.show(least * bound.limit)}, of {_title(run, code)}"
            )
    code, least = _improved(run, pool, found.max(axis=1), lambda codes: excess(codes).max(axis=1))
    if least <= 1:
        return
    each = zip(bounds.items(), costs(code[None])[0, columns], strict=True)
    wanted = " and ".join(f"{bound.label} {bound.text}" for bound in bounds.values())
    nearest = ", ".join(
        f"{COSTS[name].limit.removeprefix('MAX_')} {bound.show(value)}" for (name, bound), value in each
    )
    raise UserError(
        f"{wanted} can be met one by one, but by no architecture together; the nearest has {nearest}: "
        f"{_title(run, code)}; raise one of them"
    )


def _pool(run: CostedRun) -> Codes:
    """All codes of a small space; the smallest and random ones of a large one."""
    space = run.space
    if space.size <= _LISTED:
        return space.all_codes()
    sampled = space.sample_codes(_SAMPLED, np.random.default_rng(0))
    return np.concatenate([space.encode(space.smallest)[None], sampled])


def _improved(
    run: CostedRun, pool: Codes, values: Costs, value: Callable[[Codes], Costs]
) -> tuple[NDArray[np.int16], float]:
    """The code of the least value, and that value: the least of the pool, improved by mutations in a large space."""
    space, rng = run.space, np.random.default_rng(0)
    best, least = pool[values.argmin()], float(values.min())
    for _ in range(_GENERATIONS if space.size > len(pool) else 0):
        arch = space.decode(best)
        children = np.stack([space.encode(space.mutate(arch, rng, 1.5 / len(space.genes))) for _ in range(_CHILDREN)])
        found = value(children)
        if found.min() < least:
            best, least = children[found.argmin()], float(found.min())
    return best, least


def _title(run: CostedRun, code: Codes) -> str:
    """An architecture in a message."""
    if (code == run.space.encode(run.space.smallest)).all():
        return "its smallest architecture (the first option everywhere)"
    return f"the architecture {json.dumps(run.family.to_json(run.space.decode(code)), separators=(',', ':'))}"


def latency_of(run: CostedRun) -> LatencyModel[Any]:
    """Latency by COST.LATENCY_TABLE.

    Raises:
        UserError: there is no such table, it is of another space, or has a row that is no architecture of it.
    """
    if not run.cfg.COST.LATENCY_TABLE:
        raise UserError(
            "COST or a budget asks for latency, and COST.LATENCY_TABLE is empty; measure one: "
            f"python tools/latency.py --cfg {run.source} --out latency.json"
        )
    path = Path(run.cfg.COST.LATENCY_TABLE)
    table = LatencyTable.load(path, run.space.fingerprint)
    for code in (*table.fitted, *table.checked):
        try:
            run.space.decode(np.array(code, np.int16))
        except (ValueError, IndexError):
            raise UserError(f"{path}: code {list(code)} is no architecture of this space; remove its row") from None
    return LatencyModel(run.build, run.space, table)
