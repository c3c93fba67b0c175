"""Description of one cost of an architecture: its name, its units, the key of its limit, and how it is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # configurations list the keys of all costs, and need no torch for it
    from numpy.typing import NDArray

    from ..sharing.protocols import Codes
    from .cost_model import CostModel
    from .latency import LatencyModel


class CostSources(Protocol):
    """What costs are computed from; each source is made when it is first asked for."""

    @property
    def costs(self) -> CostModel[Any]:
        """Counts of the networks of a space: MACs, parameters, peak memory, and further sums over layers."""
        ...

    @property
    def latency(self) -> LatencyModel[Any]:
        """Predicted latency of the networks of a space."""
        ...


@dataclass(frozen=True)
class Cost:
    """A cost of an architecture, which a search minimises or limits and reports show.

    Attributes:
        name: the objective, and the column of tables and journals; a unit in the name is the value's unit.
        title: in reports.
        compute: from the sources to the function that gives the costs of N codes, (N,).
        limit: the key of the COST node that sets the largest value which is allowed, 0 for none.
        meaning: what that key says, with its unit.
        limit_unit: how many of the cost's own units make one of the key's.
        whole: whether the key's values are whole numbers.
        axis: what a unit of the axis of a figure is.
        axis_unit: how many of the cost's own units make it.
        text: a value for a reader.
        noun: what stands behind that text where no column says what it is.
    """

    name: str
    title: str
    compute: Callable[[CostSources], Callable[[Codes], NDArray[Any]]]
    limit: str
    meaning: str
    axis: str
    text: Callable[[float], str]
    limit_unit: float = 1.0
    whole: bool = False
    axis_unit: float = 1.0
    noun: str = ""

    @property
    def no_limit(self) -> float:
        """The default of the limit's key."""
        return 0 if self.whole else 0.0

    def in_limit_units(self, value: float) -> str:
        """A value as the limit's key takes it."""
        return f"{value / self.limit_unit:,.{0 if self.whole else 2}f}"
