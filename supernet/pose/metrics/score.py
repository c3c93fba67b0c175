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

    def fractions(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """An evaluator's numbers as fractions of 1, which is what tables, journals and reports hold.

        Raises:
            UserError: the score is missing, or is no number from 0 to 1 then (not defined, NaN, is one): it would be taken
                for something that it is not.
        """
        found = {name: value / 100 if self.percent else value for name, value in metrics.items()}
        if self.name not in found:
            raise UserError(f"the metric has no {self.name!r}, it has {', '.join(found)}: correct the dataset's score")
        if not (0 <= found[self.name] <= 1 or math.isnan(found[self.name])):
            unit = "percentage" if self.percent else "fraction of 1"
            raise UserError(
                f"the metric's {self.name} is {metrics[self.name]:g}, no {unit}: correct the unit of the dataset's score"
            )
        return found
