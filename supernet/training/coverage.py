"""Sample architectures whose cost is uniform over the range of a space, where uniform choices pile up in the middle.

With every choice drawn uniformly, costs are sums of many independent parts: of a space from 12 to 137 MMACs nine draws of ten lie
between 24 and 60, and its largest networks are hardly ever trained. Here a cost is drawn uniformly first, then the nearest of a
pool of architectures is taken. The pool reaches far out, because it holds choice-wise maxima and minima of several draws as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sharing.protocols import Codes, SupportsSpace

TOGETHER = (1, 2, 4, 8)  # so many draws make one maximum and one minimum
EACH = 8  # maxima, and minima, of each number


class UniformCost:
    """Draws architectures of a space with uniformly distributed cost.

    Args:
        space: presence of choices has to grow with the options, as it does for depths.
        cost: of codes (n, genes).
    """

    def __init__(self, space: SupportsSpace[Any], cost: Callable[[Codes], NDArray[Any]]) -> None:
        self.space, self._cost = space, cost
        self._ends = np.stack([space.encode(space.smallest), space.encode(space.largest)])
        self.low, self.high = (float(value) for value in cost(self._ends))

    def sample_code(self, rng: np.random.Generator) -> Codes:
        """Draw one code (genes,)."""
        wanted = rng.uniform(self.low, self.high)
        pool = [self._ends]
        for together in TOGETHER:
            draws = self.space.sample_codes(together * EACH, rng).reshape(together, EACH, -1)
            pool += [draws.max(axis=0), draws.min(axis=0)]
        codes = np.concatenate(pool)
        codes = codes[[self._exists(code) for code in codes]]
        nearest: Codes = codes[np.abs(self._cost(codes).astype(np.float64) - wanted).argmin()]
        return nearest

    def _exists(self, code: Codes) -> bool:
        """Whether a maximum or minimum is an architecture: not so where options have choices of their own."""
        try:
            self.space.decode(code)
        except ValueError:
            return False
        return True
