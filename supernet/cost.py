"""Exact cost of millions of architectures a second, for any search space, without a hand-written formula.

What a layer costs is a product of whole numbers: positions × weight dimensions (:mod:`supernet.counting`). Each of
these factors depends on very few choices: a width, a resolution, a kernel. So a hundred architectures of the space are
built without weights, every factor is tabulated over the smallest set of choices that explains it, and layers that
depend on the same choices become one table. The cost of an architecture is then a few look-ups and a sum.

Nothing is assumed about the family: the tables are checked against networks that were not used to make them, and a
combination that a table has not seen is never guessed but built and learned. Both rest on the space's own sampling: a
choice that it hardly ever draws could go unnoticed.

Shapes: N architectures, G genes of the space; codes are (N, G), see :class:`supernet.protocols.SupportsSpace`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from torch import nn

from .counting import layer_factors, parameter_factors
from .errors import UserError
from .protocols import Codes, SupportsSpace
from .skeleton import skeleton
from .tabulation import TABLE_ENTRIES, FactorSum

A = TypeVar("A")
Integers = npt.NDArray[np.int64]


def image_batch(arch: Any) -> tuple[int, ...]:
    """One RGB image of the architecture's input size: ``(1, 3, *arch.input_hw)``."""
    return (1, 3, *arch.input_hw)


class CostModel(Generic[A]):
    """Multiply-accumulates and parameters of every architecture of a space, equal to :func:`supernet.counting.count`.

    Args:
        build: from an architecture to its network; called on the meta device.
        space: the search space.
        input_shape: from an architecture to the shape of its input, batch first.
        checks: how many unseen architectures the tables are checked on.
        seed: which architectures are built for learning and checking.

    Raises:
        UserError: when a layer's cost depends on too many choices at once, or the checks do not come out. It names the
            layer.
    """

    def __init__(
        self,
        build: Callable[[A], nn.Module],
        space: SupportsSpace[A],
        input_shape: Callable[[A], tuple[int, ...]] = image_batch,
        *,
        checks: int = 50,
        seed: int = 0,
    ) -> None:
        self._build, self._space, self._input_shape = build, space, input_shape
        self._options = np.array([len(gene.options) for gene in space.genes], dtype=np.int64)
        self._macs, self._params = FactorSum(), FactorSum()
        self._codes: dict[bytes, Codes] = {}  # what was built

        rng = np.random.default_rng(seed)
        corners = np.stack([space.encode(space.largest), space.encode(space.smallest)])
        pool = np.concatenate([corners, space.sample_codes(8192, rng)])
        self._low: Integers = pool.min(axis=0).astype(np.int64)
        for code in pool[:32]:
            self._observe(code)
        self._learn(pool)
        for _ in range(8):
            if self._predicts(space.sample_codes(checks, rng)):
                break
            self._learn(pool)
        else:
            layer = self._macs.unsettled or self._params.unsettled
            raise UserError(
                f"the cost of {layer} cannot be tabulated: new architectures keep contradicting the table; "
                "count them with supernet.counting.count"
            )

    def macs(self, codes: npt.ArrayLike) -> Integers:
        """Multiply-accumulates of each architecture, int64 (N,).

        Raises:
            UserError: when an entry of ``codes`` (N, G) is no option of its gene.
        """
        return self._evaluate(codes, self._macs)

    def params(self, codes: npt.ArrayLike) -> Integers:
        """Parameters of each architecture, int64 (N,); errors as in :meth:`macs`."""
        return self._evaluate(codes, self._params)

    @property
    def built(self) -> int:
        """How many networks were built for the tables so far."""
        return len(self._codes)

    def _evaluate(self, codes: npt.ArrayLike, quantity: FactorSum) -> Integers:
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
        result = quantity.lookup(rows)
        while (result < 0).any():  # again, because what is learned may split what seemed known
            self._learn(rows[result < 0])
            result = quantity.lookup(rows)
        return result

    def _observe(self, code: Codes) -> tuple[int, int]:
        """Build one architecture, remember its factors, return its multiply-accumulates and parameters."""
        arch = self._space.decode(code)
        network = skeleton(self._build, arch)
        layers, parameters = layer_factors(network, self._input_shape(arch)), parameter_factors(network)
        if code.tobytes() not in self._codes:
            self._codes[code.tobytes()] = code
            self._macs.rows.append(layers)
            self._params.rows.append(parameters)
        return sum(map(prod, layers.values())), sum(map(prod, parameters.values()))

    def _fit(self, entries: int = TABLE_ENTRIES) -> None:
        codes = np.stack(list(self._codes.values())) - self._low
        self._macs.fit(codes, self._options - self._low, self._low, entries)
        self._params.fit(codes, self._options - self._low, self._low, entries)

    def _learn(self, rows: Codes) -> None:
        """Build architectures among ``rows`` until the tables know every combination that occurs in them."""
        while True:
            self._fit(entries=0)  # separate tables: each unknown one counts
            known = self._macs.lookup(rows) + self._params.lookup(rows)
            rows = rows[known < 0]
            if not len(rows):
                break
            for code in rows[np.argsort(known[known < 0], kind="stable")[:8]]:
                self._observe(code)
        self._fit()

    def _predicts(self, rows: Codes) -> bool:
        """Whether the tables say what building says, except where they know that they do not know."""
        said = np.stack([self._macs.lookup(rows), self._params.lookup(rows)], axis=1)
        true = np.array([self._observe(code) for code in rows])
        return bool(((said == true) | (said < 0)).all())
