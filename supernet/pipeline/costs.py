"""What architectures cost, and what they may: the objectives and limits of the COST node of a configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..cost.latency import LatencyModel, LatencyTable
from ..errors import UserError
from ..sharing.protocols import Codes, SupportsCosts

if TYPE_CHECKING:
    from .run import Run

Costs = NDArray[np.float64]
#: The quantities, the key of the largest value that is allowed, and how many of ours make one of its units.
LIMITS = {
    "macs": ("MAX_MACS", 1.0),
    "params": ("MAX_PARAMS", 1.0),
    "memory": ("MAX_MEMORY_MB", 1e6),
    "latency_ms": ("MAX_LATENCY_MS", 1.0),
}
_LISTED = 300_000  # architectures of a space up to which all are looked at
_SAMPLED = 20_000  # of a larger space, before the best are improved
_GENERATIONS, _CHILDREN = 30, 40


class CostTable:
    """Some quantities of architectures, side by side; see :class:`supernet.sharing.protocols.SupportsCosts`."""

    def __init__(self, functions: Mapping[str, Callable[[Codes], NDArray[Any]]]) -> None:
        self.names = tuple(functions)
        self._functions = tuple(functions.values())

    def __call__(self, codes: Codes) -> Costs:
        """Costs of N codes, (N, len(names))."""
        return np.stack([function(codes).astype(np.float64) for function in self._functions], axis=1)


def costs_of(run: Run) -> SupportsCosts:
    """The quantities that COST.OBJECTIVES and the limits need; ``macs`` first, always.

    Raises:
        UserError: an objective is not known, or the latency is needed and there is no table of it for this space.
    """
    objectives, limits = list(run.cfg.COST.OBJECTIVES), limits_of(run)
    unknown = [name for name in objectives if name not in LIMITS]
    if unknown or not objectives or len(set(objectives)) < len(objectives):
        raise UserError(f"COST.OBJECTIVES is {objectives}; write some of {', '.join(LIMITS)}, each once")
    model = run.costs
    known: dict[str, Callable[[Codes], NDArray[Any]]] = {
        "macs": model.macs,
        "params": model.params,
        "memory": model.memory,
    }
    needed = [name for name in LIMITS if name == "macs" or name in objectives or name in limits]
    if "latency_ms" in needed:
        known["latency_ms"] = run.latency.predict
    return CostTable({name: known[name] for name in needed})


def limits_of(run: Run) -> dict[str, float]:
    """The largest allowed value of each quantity that has a limit, in macs, params, bytes and ms.

    Raises:
        UserError: a limit is negative.
    """
    limits = {}
    for name, (key, unit) in LIMITS.items():
        value = run.cfg.COST[key]
        if value < 0:
            raise UserError(f"COST.{key} is {value}; write a positive number, or 0 for no limit")
        if value:
            limits[name] = value * unit
    return limits


def check_limits(run: Run) -> None:
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
            key, unit = LIMITS[name]
            raise UserError(
                f"COST.{key} is {run.cfg.COST[key]:,}, which no architecture of the space meets; the smallest possible is "
                f"{least * limits[name] / unit:,.{2 if unit > 1 or name == 'latency_ms' else 0}f}, of {_title(run, code)}"
            )
    code, least = _improved(run, pool, found.max(axis=1), lambda codes: excess(codes).max(axis=1))
    if least <= 1:
        return
    each = dict(zip(limits, costs(code[None])[0, columns], strict=True))
    wanted = " and ".join(f"COST.{LIMITS[name][0]} {run.cfg.COST[LIMITS[name][0]]:,}" for name in limits)
    nearest = ", ".join(f"{LIMITS[name][0][4:]} {value / LIMITS[name][1]:,.2f}" for name, value in each.items())
    raise UserError(
        f"{wanted} can be met one by one, but by no architecture together; the nearest has {nearest}: "
        f"{_title(run, code)}; raise one of them"
    )


def _pool(run: Run) -> Codes:
    """All codes of a small space; the smallest and random ones of a large one."""
    space = run.space
    if space.size <= _LISTED:
        return space.all_codes()
    sampled = space.sample_codes(_SAMPLED, np.random.default_rng(0))
    return np.concatenate([space.encode(space.smallest)[None], sampled])


def _improved(run: Run, pool: Codes, values: Costs, value: Callable[[Codes], Costs]) -> tuple[NDArray[np.int16], float]:
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


def _title(run: Run, code: Codes) -> str:
    """An architecture in a message."""
    if (code == run.space.encode(run.space.smallest)).all():
        return "its smallest architecture (the first option everywhere)"
    return f"the architecture {json.dumps(run.family.to_json(run.space.decode(code)), separators=(',', ':'))}"


def latency_of(run: Run) -> LatencyModel[Any]:
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
