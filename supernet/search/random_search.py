"""Random search within limits on costs, the baseline of every other algorithm."""

from __future__ import annotations

from typing import TypeVar

from ..sharing.protocols import Codes
from .base import PopulationSearch

A = TypeVar("A")


class RandomSearch(PopulationSearch[A]):
    """Random search within the limits. Arguments as :class:`.base.PopulationSearch`."""

    name = "random"

    def _generation(self) -> Codes:
        return self._random(self.population)
