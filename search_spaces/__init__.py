"""Search spaces and networks: one file per family, each with the same five parts in the same order.

Architecture, network, space, published variants, and their files. A family module offers ``build``, ``SPACE``, ``SPACES``,
``to_json``, ``from_json``, ``published`` and ``PUBLISHED``. :func:`published` builds any network of the papers by its name.
"""

from __future__ import annotations

from difflib import get_close_matches
from types import ModuleType

from torch import nn

from . import (
    cascade_rcnn,
    efficient_hrnet,
    faster_rcnn,
    fcos,
    higher_hrnet,
    hrformer,
    hrnet,
    hrnetv2p,
    lite_hrnet,
    litepose,
    litepose_top_down,
    resnet,
    rtmpose,
    simcc,
    srpose,
    transpose,
    widehrnet,
)
from .published.catalogue import Published
from .space import ArchitectureError, Space, choice, repeat

FAMILIES: dict[str, ModuleType] = {
    "litepose": litepose,
    "litepose_top_down": litepose_top_down,
    "hrnet": hrnet,
    "higher_hrnet": higher_hrnet,
    "hrnetv2p": hrnetv2p,
    "fcos": fcos,
    "faster_rcnn": faster_rcnn,
    "cascade_rcnn": cascade_rcnn,
    "efficient_hrnet": efficient_hrnet,
    "lite_hrnet": lite_hrnet,
    "widehrnet": widehrnet,
    "resnet": resnet,
    "hrformer": hrformer,
    "transpose": transpose,
    "srpose": srpose,
    "rtmpose": rtmpose,
    "simcc": simcc,
}

__all__ = [
    "FAMILIES",
    "ArchitectureError",
    "Space",
    "choice",
    "find_published",
    "lite_hrnet",
    "list_published",
    "litepose",
    "published",
    "repeat",
    "widehrnet",
]


def list_published() -> list[str]:
    """The names of all published networks, in the order of the families."""
    return [name for family in FAMILIES.values() for name in family.PUBLISHED]


def find_published(name: str) -> tuple[ModuleType, Published]:
    """The family of a published network, and what is known of it.

    Raises:
        ArchitectureError: when there is no such network; names the nearest one.
    """
    for family in FAMILIES.values():
        if name in family.PUBLISHED:
            return family, family.PUBLISHED[name]
    near = get_close_matches(name, list_published(), n=1, cutoff=0.0)
    raise ArchitectureError(f"no published network is called {name!r}; the nearest name is {near[0]}")


def published(name: str) -> nn.Module:
    """A published network with random weights, in evaluation mode; ``supernet.load_checkpoint`` fills in the authors'.

    Raises:
        ArchitectureError: when there is no such network.
    """
    family, entry = find_published(name)
    network: nn.Module = family.build(entry.arch, entry.joints, **entry.options)
    return network.eval()
