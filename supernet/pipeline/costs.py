"""Objectives and limits of a search, from the COST node of a configuration; limits that no architecture meets are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
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


def costs_of(run: CostedRun) -> SupportsCosts:
    """The costs that COST.OBJECTIVES and the limits need; ``macs`` first, always.

    Raises:
        UserError: there is no objective, or one is written twice, or the latency is needed and there is no table of it for
            this space.
    """
    objectives, limits = list(run.cfg.COST.OBJECTIVES), limits_of(run)
    if not objectives or len(set(objectives)) < len(objectives):
        raise UserError(f"COST.OBJECTIVES is {objectives}; write some of {', '.join(COSTS)}, each once")
    needed = [cost for name, cost in COSTS.items() if name == "macs" or name in objectives or name in limits]
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
    limits = limits_of(run)
    if not limits:
        return
    costs = costs_of(run)
    columns = [costs.names.index(name) for name in limits]
    largest = np.array(list(limits.values()))

    def excess(codes: Codes) -> Costs:
        ratios: Costs = costs(codes)[:, columns] / largest
        return ratios

    pool = _pool(run)
    found = excess(pool)
    if (found.max(axis=1) <= 1).any():
        return
    for place, name in enumerate(limits):
        code, least = _improved(run, pool, found[:, place], lambda codes, at=place: excess(codes)[:, at])  # type: ignore[misc]
        if least > 1:
            cost = COSTS[name]
            raise UserError(
                f"COST.{cost.limit} is {run.cfg.COST[cost.limit]:,}, which no architecture of the space meets; "
                f"the smallest possible is {cost.in_limit_units(least * limits[name])}, of {_title(run, code)}"
            )
    code, least = _improved(run, pool, found.max(axis=1), lambda codes: excess(codes).max(axis=1))
    if least <= 1:
        return
    each = zip((COSTS[name] for name in limits), costs(code[None])[0, columns], strict=True)
    wanted = " and ".join(f"COST.{COSTS[name].limit} {run.cfg.COST[COSTS[name].limit]:,}" for name in limits)
    nearest = ", ".join(f"{cost.limit.removeprefix('MAX_')} {cost.in_limit_units(value)}" for cost, value in each)
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
        UserError: there is no such table, or it is of another space.
    """
    if not run.cfg.COST.LATENCY_TABLE:
        raise UserError(
            "COST asks for latency, and COST.LATENCY_TABLE is empty; measure one: "
            f"python tools/latency.py --cfg {run.source} --out latency.json"
        )
    table = LatencyTable.load(Path(run.cfg.COST.LATENCY_TABLE), run.space.fingerprint)
    return LatencyModel(run.build, run.space, table)
