"""Fit tables for a sum of products whose factors each depend on few genes.

The factors of every term are seen for some codes; found are, for each factor, the smallest set of genes of which it is
a function, its table, and the sum of all terms over as few tables as fit the processor's cache.

Shapes: N codes, G genes; a code is (G,), the index of an option per gene, -1 where the gene is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ...errors import UserError
from ..macs import Factors
from ..peak_memory import Activations
from .dependence import MOST_GENES, Genes, Integers, determining_genes, table_of
from .lookup import UNKNOWN, Lookup

Term = str | tuple[str, str]

TABLE_ENTRIES = 2**13  # terms with different genes share a table up to this size, which stays in the cache


class FactorTerms:
    """Terms, each the product of factors that depend on few genes, tabulated by these genes."""

    def __init__(self) -> None:
        self.unsettled = ""  # the last term whose genes had to be found anew
        self.separate: Lookup  # every table by itself, to see what is unknown
        self.lookup: Lookup
        self._genes: dict[tuple[Term, int], Genes] = {}  # what determined a factor last time

    def _tabulated(
        self,
        rows: Sequence[Mapping[Any, Factors]],
        codes: Integers,
        states: Integers,
        hosts: Sequence[Collection[str]] = (),
    ) -> Iterator[tuple[list[Any], Genes, Integers]]:
        """Each different term: its names, the genes it depends on, and its table over them.

        Args:
            rows: per built architecture the factors of its terms, by name.
            codes: of the rows, (N, G), less the lowest state of each gene, so that they start at 0.
            states: how many states each gene has, (G,).
            hosts: where terms are pairs: per built architecture what the first of a pair may be there. It depends on other
                genes than whether the second is there, too.

        Raises:
            UserError: when a factor is no function of few genes; it names the term.
        """
        guards = 2 if hosts else 1
        determined: dict[bytes, Genes] = {}
        for columns, names in _different(rows, hosts).items():
            values = np.frombuffer(columns, dtype=np.int64).reshape(len(codes), -1)
            there = (values[:, :guards] > 0).all(axis=1)
            factors = [
                self._tabulate((names[0], place), codes[there], values[there, place], states, (), determined)
                for place in range(guards, values.shape[1])
            ]
            used = tuple(sorted({gene for genes, _ in factors for gene in genes}))
            presence, within = [], np.ones(len(codes), dtype=bool)
            for place in range(guards):
                found = self._tabulate(
                    (names[0], place), codes[within], values[within, place], states, used, determined
                )
                presence.append(found)
                within &= values[:, place] > 0
            union = tuple(sorted({*used, *(gene for genes, _ in presence for gene in genes)}))
            if prod(states[list(union)].tolist()) > 2**22:
                raise UserError(
                    f"the cost of {_title(names[0])} depends on {len(union)} choices at once, too many for a table"
                )
            yield names, union, _product(union, states, presence, factors)

    def _tabulate(
        self,
        key: tuple[Term, int],
        codes: Integers,
        values: Integers,
        states: Integers,
        preferred: Genes,
        determined: dict[bytes, Genes],
    ) -> tuple[Genes, Integers]:
        """The genes that determine a factor and the factor by their states, -1 where a combination was not seen."""
        problem = codes.tobytes() + values.tobytes() + repr(preferred).encode()
        genes = determined.get(problem)
        if genes is None:
            genes = self._genes.get(key)
            if genes is None or table_of(genes, codes, values, states) is None:
                self.unsettled = _title(key[0]) if genes is not None else self.unsettled
                genes = determining_genes(codes, values, states, preferred)
            if genes is None:
                raise UserError(
                    f"the cost of {_title(key[0])} cannot be tabulated: it depends on more than {MOST_GENES} choices at once, "
                    "or on something that is no choice; count it with supernet.cost.macs.count"
                )
            determined[problem] = genes
        self._genes[key] = genes
        table = table_of(genes, codes, values, states)
        assert table is not None
        return genes, table


class FactorSum(FactorTerms):
    """A whole number that is a sum of terms (layers).

    Attributes:
        rows: per built architecture the factors of its terms, by name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Mapping[str, Factors]] = []

    def add(self, row: Mapping[str, Factors], group: Hashable) -> int:
        """Remember an architecture, and return its sum."""
        del group
        self.rows.append(row)
        return sum(map(prod, row.values()))

    def fit(self, codes: Integers, states: Integers, low: Integers) -> None:
        """Tabulate all rows; arguments and errors as of ``_tabulated``, ``low`` the lowest state of each gene, (G,)."""
        tables: dict[Genes, Integers] = {(): np.zeros((), dtype=np.int64)}  # the sum of no terms
        for names, genes, term in self._tabulated(self.rows, codes, states):
            tables[genes] = np.maximum(tables.get(genes, 0) + np.where(term < 0, UNKNOWN, len(names) * term), UNKNOWN)
        self.separate = Lookup([tables], low)
        self.lookup = Lookup([_merged(tables, states)], low)


class FactorPeak(FactorTerms):
    """A whole number that is the largest of several sums of terms: bytes alive at the operators of a network.

    Most operators never come near the largest. Those are left out that hold less in every architecture seen, its
    group's largest among them, than any architecture of the group needs at its peak.

    Attributes:
        rows: what each built architecture holds when.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Activations] = []
        self._floor: dict[Hashable, int] = {}  # the smallest peak of each group
        self._most: dict[str, dict[Hashable, int]] = {}  # per operator and group, the most it held

    def add(self, row: Activations, group: Hashable) -> int:
        """Remember an architecture of a group (the same input), and return its peak."""
        self.rows.append(row)
        held = row.bytes()
        for name, size in held.items():
            most = self._most.setdefault(name, {})
            most[group] = max(most.get(group, 0), size)
        peak = max(held.values())
        self._floor[group] = min(self._floor.get(group, peak), peak)
        return peak

    def fit(self, codes: Integers, states: Integers, low: Integers) -> None:
        """As :meth:`FactorSum.fit`."""
        kept = {n for n, most in self._most.items() if any(size >= self._floor[group] for group, size in most.items())}
        rows = [
            {(name, tensor): dims for name in row.operators if name in kept for tensor, dims in row.at(name).items()}
            for row in self.rows
        ]
        sums: dict[str, dict[Genes, Integers]] = {}
        different: list[tuple[Genes, Integers]] = []
        for names, genes, term in self._tabulated(rows, codes, states, [row.operators for row in self.rows]):
            table = np.where(term < 0, UNKNOWN, term)
            different.append((genes, table))
            for operator, _ in names:
                own = sums.setdefault(operator, {})
                own[genes] = np.maximum(own.get(genes, 0) + table, UNKNOWN)
        self.separate = Lookup([{genes: table} for genes, table in different], low)
        single: list[tuple[Genes, Integers]] = []
        groups: list[dict[Genes, Integers]] = []
        for own in sums.values():
            tables = {genes: np.where(t < 0, -UNKNOWN, t) for genes, t in _merged(own, states).items()}
            single.extend(tables.items()) if len(tables) == 1 else groups.append(tables)
        best: dict[Genes, Integers] = {}
        for genes, table in _undominated(single, states):
            best[genes] = np.maximum(best.get(genes, 0), table)
        groups += [{genes: table} for genes, table in _merged(best, states, np.maximum).items()]
        self.lookup = Lookup(groups, low)


def _title(term: Term) -> str:
    """A term in a message: a layer, or a tensor at an operator."""
    return term if isinstance(term, str) else f"memory at {term[0]}"


def _different(rows: Sequence[Mapping[Term, Factors]], hosts: Sequence[Collection[str]]) -> dict[bytes, list[Term]]:
    """The names of the terms with the same columns: presence (with hosts, theirs before), then the factors."""
    names: dict[bytes, list[Term]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        found = [row.get(name) for row in rows]
        width = max(len(factors) for factors in found if factors is not None)
        absent = (0,) * (width + 1)
        padded: list[Factors] = [absent if f is None else (1, *f, *(1,) * (width - len(f))) for f in found]
        if hosts:
            padded = [(name[0] in host, *columns) for host, columns in zip(hosts, padded, strict=True)]
        names.setdefault(np.array(padded, dtype=np.int64).tobytes(), []).append(name)
    return names


def _undominated(tables: list[tuple[Genes, Integers]], states: Integers) -> list[tuple[Genes, Integers]]:
    """Tables without those that are nowhere larger than another."""
    kept: list[tuple[Genes, Integers]] = []
    for genes, table in sorted(tables, key=lambda item: (-int(item[1].max()), -item[1].size)):
        for partner, other in kept:
            union = tuple(sorted({*partner, *genes}))
            if prod(states[list(union)].tolist()) <= 8 * TABLE_ENTRIES and bool(
                (_spread(genes, table, union, states) <= _spread(partner, other, union, states)).all()
            ):
                break
        else:
            kept.append((genes, table))
    return kept


def _spread(genes: Genes, table: Integers, union: Genes, states: Integers) -> Integers:
    """A table over some genes as one that broadcasts over more genes."""
    return table.reshape([int(states[gene]) if gene in genes else 1 for gene in union])


def _product(
    union: Genes, states: Integers, presence: list[tuple[Genes, Integers]], factors: list[tuple[Genes, Integers]]
) -> Integers:
    """A term by the states of ``union``: 0 where it is absent, -1 where something of it was not seen."""
    shape = [int(states[gene]) for gene in union]
    term: Integers = np.ones(shape, dtype=np.int64)
    for factor in factors:
        spread = _spread(*factor, union, states)
        term = np.where((term < 0) | (spread < 0), -1, term * spread)
    for guard in reversed(presence):
        there = _spread(*guard, union, states)
        term = np.where(there == 0, 0, np.where(there < 0, -1, term))
    return np.broadcast_to(term, shape)


def _merged(
    tables: dict[Genes, Integers], states: Integers, combine: Callable[..., Integers] = np.add
) -> dict[Genes, Integers]:
    """Fewer tables with the same sum (or largest): each joins the one that grows least by it, within TABLE_ENTRIES."""
    merged: dict[Genes, Integers] = {}
    for genes, table in sorted(tables.items(), key=lambda item: -item[1].size):
        unions = {partner: tuple(sorted({*partner, *genes})) for partner in merged}
        sizes = {partner: prod(states[list(union)].tolist()) for partner, union in unions.items()}
        fitting = [partner for partner in merged if sizes[partner] <= max(TABLE_ENTRIES, merged[partner].size)]
        union = genes
        if fitting:
            partner = min(fitting, key=lambda partner: sizes[partner] / merged[partner].size)
            union = unions[partner]
            table = combine(_spread(genes, table, union, states), _spread(partner, merged.pop(partner), union, states))
        merged[union] = np.maximum(combine(merged.get(union, 0), table), UNKNOWN)
    return merged
