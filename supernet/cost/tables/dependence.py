"""Find the smallest set of genes that determines a value, from examples.

Shapes: N codes, G genes; codes are (N, G), not negative; the values are (N,).
"""

from __future__ import annotations

from itertools import combinations
from math import prod

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Genes = tuple[int, ...]

MOST_GENES = 4  # that one value may depend on
_CANDIDATES = 14  # genes that are tried in combination
_STEADY = 7  # of these, genes without which the value rarely changes


def determining_genes(codes: Integers, values: Integers, states: Integers, preferred: Genes = ()) -> Genes | None:
    """Find the genes with the smallest table that determine ``values``, None if there are none; ``preferred`` ones first."""
    _, classes = np.unique(values, return_inverse=True)
    for candidates in (preferred, _informative(codes, classes, states)):
        subsets = [s for size in range(MOST_GENES + 1) for s in combinations(sorted(candidates), size)]
        for genes in sorted(subsets, key=lambda genes: prod(states[list(genes)].tolist())):
            if table_of(genes, codes, values, states) is not None:
                return genes
    return None


def _informative(codes: Integers, classes: Integers, states: Integers) -> Genes:
    """Choose genes that the class may depend on: of three rankings the first ones.

    Those that tell most about it, each given the ones before it; those without which it rarely changes, counted against
    the first row, from which many others differ in few genes; and those that tell most by themselves.
    """
    most, kinds = int(states.max()), int(classes.max()) + 1
    known = np.zeros(len(codes), dtype=np.int64)  # the joint state of the genes so far
    open_rows = np.arange(len(codes))  # those whose class they do not determine
    chosen: list[int] = []
    single: Genes = ()
    while len(open_rows) and len(chosen) < MOST_GENES:
        ranking = _ranking(codes[open_rows], classes[open_rows], known[open_rows], most)
        single = single or ranking
        chosen.append(ranking[0])
        _, known = np.unique(known * most + codes[:, ranking[0]], return_inverse=True)
        cells = np.unique(known * kinds + classes) // kinds
        open_rows = np.flatnonzero(np.isin(known, cells[1:][cells[1:] == cells[:-1]]))
    flipped, changed = codes != codes[0], classes != classes[0]
    despite, together = flipped[~changed].sum(axis=0), flipped[changed].sum(axis=0)
    steady = np.argsort((despite + 1) / (despite + together + 2), kind="stable")[:_STEADY].tolist()
    return tuple(dict.fromkeys((*chosen, *steady, *single)))[:_CANDIDATES]


def _ranking(codes: Integers, classes: Integers, known: Integers, most: int) -> Genes:
    """Rank genes by conditional entropy of the class, given what is known, with a penalty for what chance would seem to tell."""
    rows, genes = codes.shape
    kinds, joints = int(classes.max()) + 1, int(known.max()) + 1
    cell = ((np.arange(genes) * joints + known[:, None]) * most + codes) * kinds + classes[:, None]
    counts = np.bincount(cell.ravel(), minlength=genes * joints * most * kinds).reshape(genes, -1, kinds)
    inside = counts.sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        unsure = np.nansum(counts * np.log(inside[:, :, None] / counts), axis=(1, 2))
    chance = (inside > 0).sum(axis=1) * (kinds - 1) / 2
    return tuple(np.argsort(unsure + chance, kind="stable").tolist())


def table_of(genes: Genes, codes: Integers, values: Integers, states: Integers) -> Integers | None:
    """``values`` by the states of ``genes``, -1 where not seen; None when they are no function of these genes."""
    shape = tuple(states[list(genes)].tolist())
    table: Integers = np.full(shape, -1, dtype=np.int64)
    index = tuple(codes[:, gene] for gene in genes)
    table[index] = values if genes else values[0]
    return table if (table[index] == values).all() else None
