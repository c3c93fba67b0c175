"""Cost model: exact MACs, parameters and peak memory of millions of architectures a second, for any search space.

What a layer costs is a product of whole numbers: positions × weight dimensions (:mod:`supernet.cost.macs`); so is what a
tensor takes (:mod:`supernet.cost.peak_memory`). Each factor depends on very few choices: a width, a resolution, a kernel.
So some dozens of architectures of the space are built without weights, every factor is tabulated over the smallest set of
choices that determines it, and terms that depend on the same choices become one table. The cost of an architecture is then
a few look-ups and a sum, or for the peak of memory the largest of a few.

Nothing is assumed about the family: the tables are checked against networks that were not used to make them, and a
combination that a table has not seen is never guessed but built and added. Both rest on the space's own sampling: a
choice that it hardly ever draws could go unnoticed.

Shapes: N architectures, G genes of the space; codes are (N, G), see :class:`supernet.sharing.protocols.SupportsSpace`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from torch import nn

from ..sharing.meta import meta_network
from ..sharing.probes import image_batch
from ..sharing.protocols import Codes, SupportsSpace
from ..sharing.slicing import canonical_modules
from .macs import Factors, layer_factors, parameter_factors
from .peak_memory import activations
from .tables.factors import FactorPeak, FactorSum
from .tables.fitting import Integers, Tabulated

A = TypeVar("A")
LayerFactors = Callable[[nn.Module, tuple[int, ...], Mapping[str, str]], Mapping[str, Factors]]


def names_in_largest(network: nn.Module) -> dict[str, str]:
    """Map the parameters and buffers that have another name in the largest network to that name."""
    return {
        f"{own}.{key}": f"{canonical}.{key}"
        for canonical, own, module in canonical_modules(network)
        if own != canonical
        for key in (*module._parameters, *module._buffers)
    }


class CostModel(Generic[A]):
    """Costs of every architecture of a space from tables, equal to counting its network. No family writes a formula.

    Args:
        build: from an architecture to its network; called on the meta device.
        space: the search space.
        input_shape: from an architecture to the shape of its input, batch first.
        checks: how many unseen architectures the tables are checked on.
        seed: which architectures are built for fitting and checking.

    Raises:
        UserError: when a layer's cost depends on too many choices at once, or the checks do not come out. It names the
            layer. The tables for memory are fitted, and may fail so, when they are first asked for.
    """

    names = ("macs", "params")

    def __init__(
        self,
        build: Callable[[A], nn.Module],
        space: SupportsSpace[A],
        input_shape: Callable[[A], tuple[int, ...]] = image_batch,
        *,
        checks: int = 32,
        seed: int = 0,
    ) -> None:
        self._build, self._space, self._input_shape, self._checks, self._seed = build, space, input_shape, checks, seed
        self._layers = self._tabulated([FactorSum(), FactorSum()], self._count)
        self._sums: dict[LayerFactors, Tabulated[A]] = {}

    def macs(self, codes: npt.ArrayLike) -> Integers:
        """Multiply-accumulates of each architecture (:func:`supernet.cost.macs.count`), int64 (N,).

        Raises:
            UserError: when an entry of ``codes`` (N, G) is no option of its gene.
        """
        return self._layers(codes, 0)

    def params(self, codes: npt.ArrayLike) -> Integers:
        """Parameters of each architecture, int64 (N,); errors as in :meth:`macs`."""
        return self._layers(codes, 1)

    def memory(self, codes: npt.ArrayLike) -> Integers:
        """Peak activation memory (:mod:`supernet.cost.peak_memory`), bytes, int64 (N,); errors as in :meth:`macs`."""
        return self._peaks(codes, 0)

    def sum_of(self, factors: LayerFactors) -> Callable[[npt.ArrayLike], Integers]:
        """Tabulate another whole number: a sum over the layers of a network, each term a product of whole numbers.

        Args:
            factors: from a network, the shape of its input, and other names of tensors (as
                :func:`supernet.cost.macs.layer_factors` takes them) to the factors of each term, by name.

        Returns:
            From codes (N, G) to the number of each, int64 (N,); errors as in :meth:`macs`.
        """

        def observe(arch: A) -> Sequence[Any]:
            network = meta_network(self._build, arch)
            return [factors(network, self._input_shape(arch), names_in_largest(network))]

        if factors not in self._sums:
            self._sums[factors] = self._tabulated([FactorSum()], observe)
        return partial(self._sums[factors], quantity=0)

    def __call__(self, codes: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Multiply-accumulates and parameters as a search wants them (:class:`.protocols.SupportsCosts`): (N, 2)."""
        return np.stack([self.macs(codes), self.params(codes)], axis=1).astype(np.float64)

    @property
    def built(self) -> int:
        """How many networks were built for multiply-accumulates and parameters so far."""
        return self._layers.built

    @cached_property
    def _peaks(self) -> Tabulated[A]:
        return self._tabulated([FactorPeak()], self._trace)

    def _tabulated(self, quantities: list[Any], observe: Callable[[A], Sequence[Any]]) -> Tabulated[A]:
        return Tabulated(
            self._space, observe, quantities, self._input_shape, checks=self._checks, seed=self._seed
        )  # fmt: skip

    def _count(self, arch: A) -> Sequence[Any]:
        network = meta_network(self._build, arch)
        names = names_in_largest(network)
        return layer_factors(network, self._input_shape(arch), names), parameter_factors(network, names)

    def _trace(self, arch: A) -> Sequence[Any]:
        network = meta_network(self._build, arch)
        return [activations(network, self._input_shape(arch), names_in_largest(network))]


class CostTable:
    """Several costs of architectures side by side, as a search takes them (:class:`.protocols.SupportsCosts`).

    Args:
        functions: by the name of a cost, from codes (N, G) to its values, (N,).
    """

    def __init__(self, functions: Mapping[str, Callable[[Codes], npt.NDArray[Any]]]) -> None:
        self.names = tuple(functions)
        self._functions = tuple(functions.values())

    def __call__(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Costs of N codes, (N, len(names))."""
        return np.stack([function(codes).astype(np.float64) for function in self._functions], axis=1)
