"""The number by which networks are compared, of a metric or a loss, with its unit and its direction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from supernet.errors import UserError

LOSS = "loss"


@dataclass(frozen=True)
class Score:
    """Which of an evaluator's numbers networks are compared by, or the loss.

    Attributes:
        name: its key in what :meth:`supernet.pose.protocols.Evaluator.evaluate` returns, or :data:`LOSS`.
        percent: the evaluator's numbers go from 0 to 100, as the official program prints them; otherwise from 0 to 1.
        lower: lower is better, and the number has no unit: a loss.
    """

    name: str
    percent: bool = False
    lower: bool = False

    @property
    def sign(self) -> int:
        """What makes larger better: -1 for a loss, else 1."""
        return -1 if self.lower else 1

    @property
    def shown(self) -> int:
        """Factor from a table's number, fractions of 1 but for a loss, to what a reader sees."""
        return 1 if self.lower else 100

    @property
    def heading(self) -> str:
        """Name and unit for a column or an axis."""
        return f"{self.name} (lower is better)" if self.lower else f"{self.name} (%)"

    def checked(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """An evaluator's numbers as they are, once the score is known to be among them and to have its unit.

        Raises:
            UserError: the score is missing, or out of its range (NaN, not defined, is not): reports would show it wrongly.
        """
        if self.name not in metrics:
            raise UserError(
                f"the metric has no {self.name!r}, it has {', '.join(metrics)}: correct the dataset's score"
            )
        value, largest = metrics[self.name], 100 if self.percent else 1
        if not (0 <= value <= largest or math.isnan(value)):
            raise UserError(
                f"the metric's {self.name} is {value:g}, not between 0 and {largest}: correct the unit of the dataset's score"
            )
        return dict(metrics)
