"""Tables for a sum of products whose factors each depend on few genes.

The factors of every term are seen for some codes; found are, for each factor, the smallest set of genes of which it is
a function, its table, and the sum of all terms over as few tables as fit the processor's cache.

Shapes: N codes, G genes; a code is (G,), the index of an option per gene, -1 where the gene is absent.
"""

from __future__ import annotations

from itertools import combinations
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from .counting import Factors
from .errors import UserError
from .protocols import Codes

Integers = npt.NDArray[np.int64]
Genes = tuple[int, ...]

TABLE_ENTRIES = 2**13  # terms with different genes share a table up to this size, which stays in the cache
_CHUNK = 2048  # codes per step, for the same reason
_UNKNOWN = -(2**50)  # beyond any sum of known entries, so one unknown entry makes the whole sum negative
_MOST_GENES = 4  # that one factor may depend on
_SUSPECTS = 10  # genes that are tried in combination


class FactorSum:
    """A whole number that is a sum of terms (layers), each the product of factors that depend on few genes."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Factors]] = []  # per built architecture: factors by term
        self.unsettled = ""  # the last term whose genes had to be found anew
        self.lookup: Lookup
        self._genes: dict[tuple[str, int], Genes] = {}  # what explained a factor last time

    def fit(self, codes: Integers, states: Integers, low: Integers, entries: int) -> None:
        """Tabulate.

        Args:
            codes: of the rows, (N, G), less ``low``, so that they start at 0.
            states: how many states each gene has, (G,).
            low: the lowest state of each gene, -1 or 0, (G,).
            entries: how large a table of several terms may become.

        Raises:
            UserError: when a factor is no function of few genes; it names the term.
        """
        tables: dict[Genes, Integers] = {}
        explained: dict[bytes, Genes] = {}
        for (name, columns), count in self._terms().items():
            values = np.frombuffer(columns, dtype=np.int64).reshape(len(codes), -1)
            there = values[:, 0] > 0
            factors = [
                self._tabulate((name, place), codes[there], values[there, place], states, (), explained)
                for place in range(1, values.shape[1])
            ]
            used = tuple(sorted({gene for genes, _ in factors for gene in genes}))
            presence = self._tabulate((name, 0), codes, values[:, 0], states, used, explained)
            union = tuple(sorted({*used, *presence[0]}))
            if prod(states[list(union)].tolist()) > 2**22:
                raise UserError(f"the cost of {name} depends on {len(union)} choices at once, too many for a table")
            term = _product(union, states, presence, factors)
            tables[union] = np.maximum(tables.get(union, 0) + np.where(term < 0, _UNKNOWN, count * term), _UNKNOWN)
        self.lookup = Lookup(_merged(tables, states, entries), low)

    def _terms(self) -> dict[tuple[str, bytes], int]:
        """(name, columns) of each different term and how often it occurs; columns: presence, then the factors."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        counts: dict[bytes, list[Any]] = {}
        for name in names:
            found = [row.get(name) for row in self.rows]
            width = max(len(factors) for factors in found if factors is not None)
            absent = (0,) * (width + 1)
            padded = [absent if f is None else (1, *f, *(1,) * (width - len(f))) for f in found]
            counts.setdefault(np.array(padded, dtype=np.int64).tobytes(), [name, 0])[1] += 1
        return {(name, columns): count for columns, (name, count) in counts.items()}

    def _tabulate(
        self,
        key: tuple[str, int],
        codes: Integers,
        values: Integers,
        states: Integers,
        preferred: Genes,
        explained: dict[bytes, Genes],
    ) -> tuple[Genes, Integers]:
        """The genes that explain a factor and the factor by their states, -1 where a combination was not seen."""
        problem = codes.tobytes() + values.tobytes() + repr(preferred).encode()
        genes = explained.get(problem)
        if genes is None:
            genes = self._genes.get(key)
            if genes is None or _table(genes, codes, values, states) is None:
                self.unsettled = key[0] if genes is not None else self.unsettled
                genes = _explain(codes, values, states, preferred)
            if genes is None:
                raise UserError(
                    f"the cost of {key[0]} cannot be tabulated: it depends on more than {_MOST_GENES} choices at once, "
                    "or on something that is no choice; count it with supernet.counting.count"
                )
            explained[problem] = genes
        self._genes[key] = genes
        table = _table(genes, codes, values, states)
        assert table is not None
        return genes, table


def _explain(codes: Integers, values: Integers, states: Integers, preferred: Genes) -> Genes | None:
    """The smallest table over a few genes of which ``values`` is a function; ``preferred`` genes are tried first."""
    _, classes = np.unique(values, return_inverse=True)
    for suspects in (preferred, _informative(codes, classes, states)):
        subsets = [s for size in range(_MOST_GENES + 1) for s in combinations(sorted(suspects), size)]
        for genes in sorted(subsets, key=lambda genes: prod(states[list(genes)].tolist())):
            if _table(genes, codes, values, states) is not None:
                return genes
    return None


def _informative(codes: Integers, classes: Integers, states: Integers) -> Genes:
    """The genes that tell most about the class: mutual information less its expectation under independence."""
    rows, genes = codes.shape
    kinds, most = int(classes.max()) + 1, int(states.max())
    cell = (np.arange(genes) * most + codes) * kinds + classes[:, None]
    joint = np.bincount(cell.ravel(), minlength=genes * most * kinds).reshape(genes, most, kinds) / rows
    by_state, by_class = joint.sum(axis=2, keepdims=True), joint.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.nansum(joint * np.log(joint / (by_state * by_class)), axis=(1, 2))
    chance = ((by_state > 0).sum(axis=(1, 2)) - 1) * (kinds - 1) / (2 * rows)
    return tuple(np.argsort(chance - information, kind="stable")[:_SUSPECTS].tolist())


def _table(genes: Genes, codes: Integers, values: Integers, states: Integers) -> Integers | None:
    """``values`` by the states of ``genes``, -1 where not seen; None when they are no function of these genes."""
    shape = tuple(states[list(genes)].tolist())
    table: Integers = np.full(shape, -1, dtype=np.int64)
    index = tuple(codes[:, gene] for gene in genes)
    table[index] = values if genes else values[0]
    return table if (table[index] == values).all() else None


def _spread(genes: Genes, table: Integers, union: Genes, states: Integers) -> Integers:
    """A table over some genes as one that broadcasts over more genes."""
    return table.reshape([int(states[gene]) if gene in genes else 1 for gene in union])


def _product(
    union: Genes, states: Integers, presence: tuple[Genes, Integers], factors: list[tuple[Genes, Integers]]
) -> Integers:
    """A term by the states of ``union``: 0 where it is absent, -1 where one of its factors was not seen."""
    shape = [int(states[gene]) for gene in union]
    term: Integers = np.ones(shape, dtype=np.int64)
    for factor in factors:
        spread = _spread(*factor, union, states)
        term = np.where((term < 0) | (spread < 0), -1, term * spread)
    there = _spread(*presence, union, states)
    return np.broadcast_to(np.where(there == 0, 0, np.where(there < 0, -1, term)), shape)


def _merged(tables: dict[Genes, Integers], states: Integers, entries: int) -> dict[Genes, Integers]:
    """Fewer tables with the same sum: each joins the one that grows least by it, if that stays within ``entries``."""
    merged: dict[Genes, Integers] = {}
    for genes, table in sorted(tables.items(), key=lambda item: -item[1].size):
        unions = {partner: tuple(sorted({*partner, *genes})) for partner in merged}
        sizes = {partner: prod(states[list(union)].tolist()) for partner, union in unions.items()}
        fitting = [partner for partner in merged if sizes[partner] <= max(entries, merged[partner].size)]
        union = genes
        if fitting:
            partner = min(fitting, key=lambda partner: sizes[partner] / merged[partner].size)
            union = unions[partner]
            table = _spread(genes, table, union, states) + _spread(partner, merged.pop(partner), union, states)
        merged[union] = np.maximum(merged.get(union, 0) + table, _UNKNOWN)
    return merged


class Lookup:
    """Sum of one entry of each table, for many codes at once.

    The tables lie one after another; the places of a code's entries are one matrix product, exact in floating point.
    """

    def __init__(self, tables: dict[Genes, Integers], low: Integers) -> None:
        self._entries: Integers = np.concatenate([table.ravel() for table in tables.values()])
        exact = np.float32 if self._entries.size < 2**24 else np.float64
        self._strides = np.zeros((len(low), len(tables)), dtype=exact)
        offset = 0
        self._start = np.zeros(len(tables), dtype=exact)
        for column, (genes, table) in enumerate(tables.items()):
            strides = np.array(table.strides, dtype=np.int64) // table.itemsize
            self._strides[list(genes), column] = strides
            self._start[column] = offset - int(strides @ low[list(genes)])
            offset += table.size

    def __call__(self, codes: Codes) -> Integers:
        """Sums of the codes (N, G), int64 (N,); negative where a combination of a code was never seen."""
        result = np.empty(len(codes), dtype=np.int64)
        for start in range(0, len(codes), _CHUNK):
            rows = codes[start : start + _CHUNK].astype(self._strides.dtype)
            places = (rows @ self._strides + self._start).astype(np.intp)
            self._entries.take(places).sum(axis=1, out=result[start : start + _CHUNK])
        return result
