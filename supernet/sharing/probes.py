"""Which architectures of a space a check looks at, and on what input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from ..errors import UserError
from .protocols import SupportsSpace

A = TypeVar("A")


class RestrictableSpace(SupportsSpace[A], Protocol[A]):
    """A space of which a part can be taken."""

    def restrict(self, allowed: Mapping[str, Any], rest: str = "keep") -> RestrictableSpace[A]:
        """The part of the space where only ``allowed`` varies (``rest="largest"``)."""
        ...


def image_batch(arch: Any) -> tuple[int, ...]:
    """Shape of a batch of one RGB image of the architecture's input size: ``(1, 3, *arch.input_hw)``.

    Raises:
        UserError: when the architecture has no ``input_hw``.
    """
    size = getattr(arch, "input_hw", None)
    if size is None:
        raise UserError(
            f"the shape of an input of {type(arch).__name__} is not known; "
            "give input_shape=lambda arch: (1, 3, height, width), or the architecture a property input_hw"
        )
    return (1, 3, *size)


def probes(space: RestrictableSpace[A], unaligned: Sequence[str] = (), draws: int = 1, seed: int = 0) -> list[A]:
    """Architectures that show a wrong share: all blocks at their smallest, the smallest network, and some draws.

    Args:
        space: the space.
        unaligned: kinds of choices, or patterns of their paths, that are left at their largest option.
        draws: random architectures.
        seed: which ones.
    """
    if unaligned:
        space = space.restrict(dict.fromkeys(unaligned, 1))
    deep = space.encode(space.largest)
    for position, gene in enumerate(space.genes):
        if gene.kind != "depth":
            deep[position] = 0
    rng = np.random.default_rng(seed)
    found = [space.decode(deep), space.smallest, *(space.sample(rng) for _ in range(draws))]
    return [arch for arch in dict.fromkeys(found) if arch != space.largest]
