"""The number of a metric by which networks are compared, with its unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from supernet.errors import UserError


@dataclass(frozen=True)
class Score:
    """Which of an evaluator's numbers networks are compared by.

    Attributes:
        name: its key in what :meth:`supernet.pose.protocols.Evaluator.evaluate` returns.
        percent: the evaluator's numbers go from 0 to 100, as the official program prints them; otherwise from 0 to 1.
    """

    name: str
    percent: bool = False

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
