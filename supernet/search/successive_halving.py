"""Successive halving: the loss on a few images decides which part of a generation is evaluated in full.

Jamieson & Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", 2016, with two rungs.

The loss alone would drop every small network, because larger ones nearly always have the smaller loss. So survivors are
those of NSGA-II on (loss, objectives): fronts in order, within the last one the least crowded.

Who is dropped is never told to the algorithm. It has no score of the metric that is searched by, and a score made up
from its loss would mix two scales in one ranking. The algorithm is told the survivors' scores and never asks for it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from ..errors import UserError
from .pareto import FloatArray, IntArray, survivors

A = TypeVar("A")


@dataclass(frozen=True)
class Halving(Generic[A]):
    """The cheap rung of successive halving.

    Attributes:
        evaluate: yields (position, metrics, seconds) of several architectures, as :data:`supernet.search.loop.Evaluate`.
        stage: how the journal names its records, such as ``loss on 32 images``.
        keep: the part of a generation that survives, at least one.
        metric: what the survivors are chosen by; smaller is better.

    Raises:
        UserError: when ``keep`` is not above 0 and at most 1.
    """

    evaluate: Callable[[Sequence[A]], Iterator[tuple[int, Mapping[str, float], float]]]
    stage: str
    keep: float = 0.5
    metric: str = "loss"

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise UserError(f"halving keeps {self.keep:g} of a generation; give a part above 0 and at most 1")

    def survivors(self, losses: FloatArray, costs: FloatArray) -> IntArray:
        """Choose the survivors of a generation, as ascending rows.

        Args:
            losses: (N,).
            costs: (N, objectives).
        """
        wanted = math.ceil(self.keep * len(losses))
        return np.sort(survivors(np.column_stack([losses, costs]), wanted))
