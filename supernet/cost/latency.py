"""Latency model: predict the latency of every architecture of a space on one device from a few measurements.

Some random architectures of the space are measured whole. A network is blocks of a few kinds (dense, 1×1, depthwise and
transposed convolutions, linear layers), and what a block takes is modelled as a time per call, per output element (with the
normalisation and activation behind it) and per multiply-accumulate. These rates, one row of the table for each kind, and the
time of an empty network are the non-negative least squares of the relative error over what was measured; so runtimes that
fuse layers are met as well as those that do not. The latency of an architecture is then a sum over its blocks, which
:class:`supernet.cost.tables.fitting.Tabulated` gives for many codes at once. Architectures measured beside say how good that is.

The file is JSON: what was measured where, and every measurement. Fitting follows from it, so that it can be extended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import nn

from ..errors import UserError
from ..io.files import read_json, write_atomically
from ..sharing.meta import meta_network
from ..sharing.probes import image_batch
from ..sharing.protocols import Codes, SupportsSpace
from .cost_model import names_in_largest
from .macs import Factors, Operation, operations
from .tables.factors import FactorSum
from .tables.fitting import Tabulated

A = TypeVar("A")
KINDS = ("dense", "pointwise", "depthwise", "deconv", "linear")
_PER = ("call", "output", "mac")
_FORMAT = 1
_LISTS = ("fitted", "checked")
_LONGEST_MS = 1e9


@dataclass(frozen=True)
class Place:
    """Place of a latency measurement: device, runtime, threads, batch size, machine.

    Attributes:
        device: of PyTorch, ``cpu`` or ``cuda:0``.
        runtime: one of :data:`supernet.deploy.runtimes.RUNTIMES`.
        threads: of the CPU.
        batch: images at once.
        machine: the processor's name, or the GPU's.
    """

    device: str
    runtime: str
    threads: int
    batch: int
    machine: str


@dataclass
class LatencyTable:
    """Latency measurements of architectures, milliseconds by their codes; ``checked`` are never fitted."""

    space: str  # fingerprint
    place: Place
    fitted: dict[tuple[int, ...], float] = field(default_factory=dict)
    checked: dict[tuple[int, ...], float] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        measured = {
            name: [{"code": list(code), "ms": ms} for code, ms in rows.items()]
            for name, rows in (("fitted", self.fitted), ("checked", self.checked))
        }
        content = {"format": _FORMAT, "space": self.space, "place": asdict(self.place), **measured}
        write_atomically(path, json.dumps(content) + "\n")

    @classmethod
    def load(cls, path: Path, space: str) -> LatencyTable:
        """Read a file.

        Raises:
            UserError: there is none, it is no table of latencies, a row is none, or it is of another space.
        """
        data: Any = read_json(path)
        if not isinstance(data, dict) or data.get("format") != _FORMAT or not isinstance(data.get("space"), str):
            raise UserError(f"{path}: not a latency table; measure one with tools/latency.py")
        table = cls(data["space"], _place(data.get("place"), path), *(_rows(data, name, path) for name in _LISTS))
        if len({len(code) for code in (*table.fitted, *table.checked)}) > 1:
            raise UserError(f"{path}: rows of unequal length; measure another table with tools/latency.py")
        if table.space != space:
            raise UserError(
                f"{path}: a latency table of space {table.space}, this is {space}; measure one for this space"
            )
        return table


def _place(value: Any, path: Path) -> Place:
    kinds = {"device": str, "runtime": str, "threads": int, "batch": int, "machine": str}
    if not isinstance(value, dict) or value.keys() != kinds.keys():
        raise UserError(f"{path}: not a latency table; measure one with tools/latency.py")
    if any(type(value[name]) is not kind for name, kind in kinds.items()):
        raise UserError(f"{path}: a wrong type in 'place'; measure another with tools/latency.py")
    return Place(**value)


def _rows(data: dict[str, Any], name: str, path: Path) -> dict[tuple[int, ...], float]:
    """The measurements of one list of a file, milliseconds by code."""
    rows, found = data.get(name), {}
    if not isinstance(rows, list):
        raise UserError(f"{path}: {name!r} is no list; measure another table with tools/latency.py")
    for number, row in enumerate(rows):
        code, ms = (row.get("code"), row.get("ms")) if isinstance(row, dict) else (None, None)
        whole = isinstance(code, list) and code and all(type(gene) is int and -1 <= gene < 2**15 for gene in code)
        time = isinstance(ms, int | float) and not isinstance(ms, bool) and 0 < ms < _LONGEST_MS
        if not whole or not time:
            raise UserError(
                f"{path}: {name}[{number}] needs 'code' (whole numbers) and 'ms' (above 0); remove that row"
            )
        found[tuple(code or ())] = float(ms or 0)
    return found


class LatencyModel(Generic[A]):
    """Predict the latency of every architecture of a space from a table of measurements.

    Args:
        build: from an architecture to its network.
        space: the search space.
        table: measurements in that space.
    """

    def __init__(self, build: Callable[[A], nn.Module], space: SupportsSpace[A], table: LatencyTable) -> None:
        self._build, self._space, self.table = build, space, table
        self._blocks = Tabulated(
            space, self._observe, [FactorSum() for _ in KINDS for _ in _PER], image_batch, checks=16, seed=0
        )

    def predict(self, codes: Codes) -> NDArray[np.float64]:
        """Milliseconds of N codes, (N,).

        Raises:
            UserError: an architecture has blocks of a kind that was never measured.
        """
        features = self._features(codes)
        unknown = (features > 0).any(axis=0) & ~self._measured
        if unknown.any():
            kind = KINDS[(int(unknown.argmax()) - 1) // len(_PER)]
            raise UserError(f"the latency table has no {kind} layer measured; extend it with tools/latency.py")
        predicted: NDArray[np.float64] = features @ self._rates
        return predicted

    def error(self) -> NDArray[np.float64]:
        """|predicted - measured| / measured of each checked architecture."""
        codes, measured = _arrays(self.table.checked)
        return np.abs(self.predict(codes) - measured) / measured

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The table, one row for each kind of block: nanoseconds per call, output element and multiply-accumulate."""
        names = [f"ns_per_{unit}" for unit in _PER]
        rates = (1e6 * self._rates[1:]).reshape(len(KINDS), len(_PER)).tolist()
        rows = [{"block": kind, **dict(zip(names, row, strict=True))} for kind, row in zip(KINDS, rates, strict=True)]
        return [{"block": "network", names[0]: 1e6 * self._rates[0]}, *rows]

    @cached_property
    def _fit(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        codes, measured = _arrays(self.table.fitted)
        features = self._features(codes)
        scale = np.maximum(features.max(axis=0), 1)
        rates, _ = nnls(features / scale / measured[:, None], np.ones(len(measured)))
        measured_kinds: NDArray[np.bool_] = np.any(features > 0, axis=0)
        return rates / scale, measured_kinds

    @property
    def _rates(self) -> NDArray[np.float64]:
        return self._fit[0]

    @property
    def _measured(self) -> NDArray[np.bool_]:
        return self._fit[1]

    def _features(self, codes: Codes) -> NDArray[np.float64]:
        """(N, 1 + kinds × units): 1, then calls, outputs and multiply-accumulates of each kind."""
        columns = [np.ones(len(codes)), *(self._blocks(codes, i) for i in range(len(KINDS) * len(_PER)))]
        return np.stack(columns, axis=1).astype(np.float64)

    def _observe(self, arch: A) -> Sequence[dict[str, Factors]]:
        network = meta_network(self._build, arch)
        features: dict[tuple[str, str], dict[str, Factors]] = {(kind, unit): {} for kind in KINDS for unit in _PER}
        calls: dict[str, int] = {}
        for operation in operations(network, image_batch(arch), names_in_largest(network)):
            kind = _kind(operation)
            if kind is None:
                continue
            calls[operation.layer] = calls.get(operation.layer, 0) + 1
            name = f"{operation.layer} {calls[operation.layer]}"
            features[kind, "call"][name] = (1,)
            features[kind, "output"][name] = (operation.positions, operation.weight[0])
            features[kind, "mac"][name] = (operation.positions, *operation.weight)
        return list(features.values())


def _kind(operation: Operation) -> str | None:
    """The kind of block that an operation is; None where it multiplies with no weight."""
    if operation.kind != "conv":
        return operation.kind if operation.kind in KINDS else None
    if operation.weight[1] == 1 and operation.weight[0] > 1:
        return "depthwise"
    return "pointwise" if all(side == 1 for side in operation.weight[2:]) else "dense"


def _arrays(rows: dict[tuple[int, ...], float]) -> tuple[Codes, NDArray[np.float64]]:
    if not rows:
        raise UserError("the latency table has too few measurements; extend it with tools/latency.py")
    return np.array(list(rows), dtype=np.int16), np.array(list(rows.values()))
