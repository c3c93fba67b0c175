"""Which generator draws what: every one of them is seeded with (seed, stream, number of the step or epoch, …)."""

from __future__ import annotations

from enum import IntEnum


class RandomStream(IntEnum):
    """The second number of a seed. A stream never changes its number: a stopped training has to go on as it began."""

    ARCHITECTURES = 0  # of a step, and its input size
    ORDER = 1  # of the images in an epoch
    AUGMENTATION = 2  # of each sample of a step
    NETWORK = 3  # what the networks themselves draw, such as dropout
