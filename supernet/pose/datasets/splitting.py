"""Disjoint random parts of a dataset's images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from supernet.errors import UserError


def drawn_parts(ids: Iterable[int], parts: Mapping[str, int | float], seed: int, file: Path) -> dict[str, list[int]]:
    """Disjoint random parts of images' ids, each sorted; the same for the same ids and seed whatever their order.

    Args:
        ids: Of all images.
        parts: Name and size of each part: an int is a number of images, a float a share of them. What they leave
            over is in no part.
        seed: Of the draw.
        file: What messages name.

    Raises:
        UserError: A part would be empty, or they are more than there are images.
    """
    drawn = np.random.default_rng(seed).permutation(np.asarray(sorted(ids)))
    result, start, end = {}, 0, 0.0
    for name, size in parts.items():
        end += size * len(drawn) if isinstance(size, float) else size
        # Rounding the sum, not each part, lets shares that add up to 1 use every image.
        stop = math.floor(end + 0.5) if math.isfinite(end) else -1
        if not start < stop <= len(drawn):
            raise UserError(
                f"{file}: part '{name}' ({size}) would be images {start} to {stop} of {len(drawn)}: "
                "give sizes (int) or shares (float) above 0 that fit together"
            )
        result[name] = sorted(drawn[start:stop].tolist())
        start = stop
    return result
