"""Look up the values of many codes at once, in tables over few genes.

Shapes: N codes, G genes; a code is (G,), the index of an option per gene, -1 where the gene is absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ...sharing.protocols import Codes
from .dependence import Genes, Integers

UNKNOWN = -(2**50)  # beyond any sum of known entries, so one unknown entry makes the whole sum negative
_CHUNK = 2048  # codes per step, so that they stay in the processor's cache


class Lookup:
    """The largest of several sums, each of one entry from each of its tables, for many codes at once.

    The tables lie one after another; the places of a code's entries are one matrix product, exact in floating point.

    Args:
        groups: the tables of each sum, by the genes they are over; an entry that is unknown is as large as ±UNKNOWN.
        low: the lowest state of each gene, -1 or 0, (G,).
    """

    def __init__(self, groups: Sequence[Mapping[Genes, Integers]], low: Integers) -> None:
        tables = [item for group in groups for item in group.items()]
        self._entries: Integers = np.concatenate([table.ravel() for _, table in tables])
        self._groups = np.cumsum([0, *map(len, groups)])[:-1]
        exact = np.float32 if self._entries.size < 2**24 else np.float64
        self._strides = np.zeros((len(low), len(tables)), dtype=exact)
        self._offsets = np.cumsum([0, *(table.size for _, table in tables)])[:-1]
        self._start = np.zeros(len(tables), dtype=exact)
        for column, ((genes, table), offset) in enumerate(zip(tables, self._offsets.tolist(), strict=True)):
            strides = np.array([prod(table.shape[axis + 1 :]) for axis in range(table.ndim)], dtype=np.int64)
            self._strides[list(genes), column] = strides
            self._start[column] = offset - int(strides @ low[list(genes)])

    def __call__(self, codes: Codes) -> Integers:
        """The value of each code of (N, G), int64 (N,); negative where a combination was never seen."""
        result = np.empty(len(codes), dtype=np.int64)
        for start in range(0, len(codes), _CHUNK):
            entries = self._entries.take(self._places(codes[start : start + _CHUNK]))
            if len(self._groups) > 1:
                if len(self._groups) < entries.shape[1]:
                    entries = np.add.reduceat(entries, self._groups, axis=1)
                entries.max(axis=1, out=result[start : start + _CHUNK])
            else:
                entries.sum(axis=1, out=result[start : start + _CHUNK])
        result[result >= -UNKNOWN // 2] = -1
        return result

    def covering(self, codes: Codes, most: int) -> list[int]:
        """Rows of codes (N, G), at most so many, that hold every unknown entry that occurs in them."""
        unknown = abs(self._entries) >= -UNKNOWN // 2
        gaps = np.logical_or.reduceat(unknown, self._offsets)
        chunks = [self._places(codes[i : i + _CHUNK], gaps) for i in range(0, len(codes), _CHUNK)]
        places = np.concatenate(chunks)
        places = places[:, unknown[places].any(axis=0)]
        chosen: list[int] = []
        while places.size and len(chosen) < most:
            counts = unknown[places].sum(axis=1)
            best = int(counts.argmax())
            if not counts[best]:
                break
            chosen.append(best)
            unknown[places[best]] = False
        return chosen

    def _places(self, codes: Codes, tables: Any = slice(None)) -> npt.NDArray[np.intp]:
        """Where the entries of each code stand, (N, tables)."""
        rows = codes.astype(self._strides.dtype)
        places: npt.NDArray[np.intp] = (rows @ self._strides[:, tables] + self._start[tables]).astype(np.intp)
        return places
