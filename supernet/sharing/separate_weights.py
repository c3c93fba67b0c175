"""Weights that the options of a choice have each for itself: the last layers of a network that takes one input size, say.

A module whose children belong to one option says which choice that is, ``head.separate_by = "resolution"`` (the kind of its
gene), and under which names these children stand beside those of the other options, ``head.canonical = {"mlp": "mlp_256x192"}``.
The network that owns a supernet's weights is then the largest one and, in that module, the children of all other options; they
are never called. An extracted network has its own alone, under the name of its checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from .protocols import SupportsSpace

A = TypeVar("A")


def shared_network(make: Callable[[A], nn.Module], space: SupportsSpace[A]) -> nn.Module:
    """The network that owns the weights of a space: the largest one, with the separate weights of all options.

    Args:
        make: from an architecture to its network, with weights or on the meta device.
        space: the search space.
    """
    network = make(space.largest)
    holders = _holders(network)
    for arch in largest_of_options(space, network)[1:]:
        other = make(arch)
        for name, holder in holders.items():
            _add(holder, other.get_submodule(name))
    return network


def largest_of_options(space: SupportsSpace[A], network: nn.Module) -> list[A]:
    """The largest architecture, and the largest of each other option of a choice that has weights for itself in ``network``.

    Together they use every weight that any architecture of the space uses.
    """
    found = [space.largest]
    for choice in dict.fromkeys(str(holder.separate_by) for holder in _holders(network).values()):
        places = [place for place, gene in enumerate(space.genes) if gene.kind == choice]
        longest = max((len(space.genes[place].options) for place in places), default=1)
        for index in range(longest - 1):
            code = space.encode(space.largest)
            code[places] = [min(index, len(space.genes[place].options) - 1) for place in places]
            found.append(space.decode(code))
    return found


def _holders(network: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in network.named_modules() if hasattr(module, "separate_by")}


def _add(holder: Any, other: Any) -> None:
    """Put what another option's module has for itself into the largest one's."""
    for child, name in other.canonical.items():
        if name != holder.canonical.get(child) and name not in holder._modules:
            holder.add_module(name, other.get_submodule(child))
