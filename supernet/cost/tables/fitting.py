"""Fit tables of whole numbers for every architecture of a space, from networks that are built.

Some dozens of architectures are built, the quantities tabulated (:mod:`.factors`), what the tables do not know of
random architectures is built too, and the tables are checked against networks that were not used to make them.

Shapes: N architectures, G genes of the space; codes are (N, G), see :class:`supernet.sharing.protocols.SupportsSpace`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ...errors import UserError
from ...sharing.protocols import Codes, SupportsSpace
from .dependence import determining_genes
from .lookup import Lookup

A = TypeVar("A")
Integers = npt.NDArray[np.int64]

_POOL = 8192  # random architectures of which every combination is built
_FIRST = 24  # of each kind, built at first, and again where that determines too little
_ATTEMPTS = 4
_CHANGED = 0.15  # part of the choices in which the former differ from the largest
_SHAPES = 256  # architectures whose size of the input is looked at
_AT_ONCE = 32  # built between two tabulations


class Quantity(Protocol):
    """A whole number of an architecture that can be tabulated; see :class:`supernet.cost.tables.factors.FactorSum`."""

    unsettled: str
    separate: Lookup
    lookup: Lookup

    def add(self, row: Any, group: Hashable) -> int:
        """Remember what was seen of an architecture, and return the number."""
        ...

    def fit(self, codes: Integers, states: Integers, low: Integers) -> None:
        """Tabulate what was added."""
        ...


class Tabulated(Generic[A]):
    """Quantities of every architecture of a space, in tables that are fitted to networks that are built.

    Args:
        space: the search space.
        observe: from an architecture to what each quantity adds of it.
        quantities: what is tabulated.
        input_shape: from an architecture to the shape of its input, batch first.
        checks: how many unseen architectures the tables are checked on.
        seed: which architectures are built for fitting and checking.

    Raises:
        UserError: when something depends on too many choices at once, or the checks do not come out; it is named.
    """

    def __init__(
        self,
        space: SupportsSpace[A],
        observe: Callable[[A], Sequence[Any]],
        quantities: Sequence[Quantity],
        input_shape: Callable[[A], tuple[int, ...]],
        *,
        checks: int,
        seed: int,
    ) -> None:
        self._space, self._observe_arch, self._quantities, self._input_shape = space, observe, quantities, input_shape
        self._options = np.array([len(gene.options) for gene in space.genes], dtype=np.int64)
        self._codes: dict[bytes, Codes] = {}  # what was built
        self._costs: dict[bytes, list[int]] = {}

        rng = np.random.default_rng(seed)
        pool = space.sample_codes(_POOL, rng)
        corners = self._corners(pool)
        pool = np.concatenate([corners, _complete(pool, self._options, rng), pool])
        self._low: Integers = pool.min(axis=0).astype(np.int64)
        self._rng = rng
        for code in corners:
            self._observe(code)
        self._explore(pool)
        self._extend(pool)
        for _ in range(8):
            if self._predicts(space.sample_codes(checks, rng)):
                break
            self._extend(pool)
        else:
            name = next((quantity.unsettled for quantity in quantities if quantity.unsettled), "some layer")
            raise UserError(
                f"the cost of {name} cannot be tabulated: new architectures keep contradicting the table; "
                "count them with supernet.cost.macs.count"
            )

    @property
    def built(self) -> int:
        """How many networks were built for the tables so far."""
        return len(self._codes)

    def __call__(self, codes: npt.ArrayLike, quantity: int) -> Integers:
        """One of the quantities for each architecture, int64 (N,).

        Raises:
            UserError: when an entry of ``codes`` (N, G) is no option of its gene.
        """
        rows = np.ascontiguousarray(codes, dtype=np.int16)
        if rows.ndim != 2 or rows.shape[1] != len(self._options):
            raise UserError(f"codes have shape {rows.shape}, the space needs (N, {len(self._options)}): space.encode")
        if not len(rows):
            return np.zeros(0, dtype=np.int64)
        lowest, highest = rows.min(axis=0), rows.max(axis=0)
        wrong = np.flatnonzero((lowest < -1) | (highest >= self._options))
        if len(wrong):
            gene = self._space.genes[wrong[0]]
            raise UserError(f"codes hold {lowest[wrong[0]]} to {highest[wrong[0]]} for {gene.path}, its options are "
                            f"0 to {len(gene.options) - 1}, and -1 where it is absent")  # fmt: skip
        if (lowest < self._low).any():
            self._low = np.minimum(self._low, lowest)
            self._fit()
        result = self._quantities[quantity].lookup(rows)
        while (result < 0).any():  # again, because what is added may split what seemed known
            self._extend(rows[result < 0])
            result = self._quantities[quantity].lookup(rows)
        return result

    def _corners(self, pool: Codes) -> Codes:
        """The largest and the smallest architecture, and both at every size of the input that occurs in the pool."""
        ends = np.stack([self._space.encode(self._space.largest), self._space.encode(self._space.smallest)])
        shapes = [self._input_shape(self._space.decode(code)) for code in pool[:_SHAPES]]
        classes = np.array([sorted(set(shapes)).index(shape) for shape in shapes])
        genes = determining_genes(pool[:_SHAPES].astype(np.int64) + 1, classes, self._options + 1) or ()
        corners = {end.tobytes(): end for end in ends}
        for states in np.unique(pool[:_SHAPES][:, list(genes)], axis=0):
            for end in ends.copy():
                end[list(genes)] = states
                corners[end.tobytes()] = end
        return np.stack(list(corners.values()))

    def _observe(self, code: Codes) -> list[int]:
        """Build one architecture unless that was done, remember what it costs, return the quantities."""
        key = code.tobytes()
        if key not in self._codes:
            arch = self._space.decode(code)
            group = self._input_shape(arch)
            with _uncollected():
                seen = zip(self._quantities, self._observe_arch(arch), strict=True)
            self._costs[key] = [quantity.add(row, group) for quantity, row in seen]
            self._codes[key] = code
        return self._costs[key]

    def _explore(self, pool: Codes) -> None:
        """Build architectures that show what depends on what: some near the largest, and diverse ones."""
        space, rng = self._space, self._rng
        near = [space.encode(space.mutate(space.largest, rng, _CHANGED)) for _ in range(_FIRST)]
        for code in (*near, *_diverse(pool, self._options, rng)):
            self._observe(code)

    def _fit(self) -> None:
        """Tabulate what was built; where that determines too little, after building more."""
        for left in reversed(range(_ATTEMPTS)):
            codes = np.stack(list(self._codes.values())) - self._low
            try:
                for quantity in self._quantities:
                    quantity.fit(codes, self._options - self._low, self._low)
                return
            except UserError:
                if not left:
                    raise
                self._explore(self._space.sample_codes(_POOL, self._rng))

    def _extend(self, rows: Codes) -> None:
        """Build architectures among ``rows`` until the tables know every combination that occurs in them."""
        self._fit()
        for quantity in self._quantities:
            while chosen := quantity.separate.covering(rows, _AT_ONCE):
                for code in rows[chosen]:
                    self._observe(code)
                self._fit()

    def _predicts(self, rows: Codes) -> bool:
        """Whether the tables say what building says, except where they know that they do not know."""
        said = np.stack([quantity.lookup(rows) for quantity in self._quantities], axis=1)
        true = np.array([self._observe(code) for code in rows])
        return bool(((said == true) | (said < 0)).all())


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection inside: thousands of new modules set it off again and again, for half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _complete(pool: Codes, options: Integers, rng: np.random.Generator) -> Codes:
    """Random architectures in which every gene is present, each of which shows more than one with absent blocks."""
    sample = pool[:_SHAPES]
    absent = sample < 0
    codes = rng.integers(0, options, size=(len(pool) // 4, len(options))).astype(np.int16)
    for gene, count in enumerate(options):  # one that decides of another's presence stands at its last option
        states = (sample[:, gene, None] == np.arange(count)).astype(np.int64)
        without, having = states.T @ absent, states.T @ ~absent  # (states, genes): how often another is (not) there
        if (without.any(axis=0) & having.any(axis=0) & ~(np.minimum(without, having).any(axis=0))).any():
            codes[:, gene] = count - 1
    return codes


def _diverse(pool: Codes, options: Integers, rng: np.random.Generator) -> list[Codes]:
    """A few rows of the pool in which nearly every pair of options of two genes occurs together."""
    start = np.cumsum(options + 1) - options  # of each gene's states, -1 first
    seen = np.zeros((int((options + 1).sum()),) * 2, dtype=bool)
    chosen = []
    for _ in range(_FIRST):
        tried = pool[rng.integers(0, len(pool), 32)]
        places = tried + start
        gain = [int((~seen[np.ix_(place, place)]).sum()) for place in places]
        best = int(np.argmax(gain))
        seen[np.ix_(places[best], places[best])] = True
        chosen.append(tried[best])
    return chosen
