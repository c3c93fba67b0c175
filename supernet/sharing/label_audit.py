"""Find wrong sharing by labels: channels that belong together in a smaller network, but not in the largest one.

:func:`~supernet.sharing.slicing.slices_of` cuts a smaller network out of the largest by what the modules declare. Nothing there
sees a concatenation, a shuffle or a ``view``, so that a channel could meet the weights of another. Run on labels
(:mod:`supernet.sharing.labelling`), both networks say which of their entries belong together. Through the slices, each class
of the smaller network has to become a part of one class of the largest.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ..errors import UserError
from .alignment import leave_out
from .declarations import SharingError
from .labelling import label
from .labels import Labels, Place
from .meta import meta_network
from .probes import RestrictableSpace, image_batch, probes
from .separate_weights import shared_network
from .slicing import TensorSlice, slices_of
from .tied_weights import first_names

A = TypeVar("A")
Classes = NDArray[np.int32]


def check_labels(
    build: Callable[[A], nn.Module],
    space: RestrictableSpace[A],
    input_shape: Callable[[A], tuple[int, ...]] = image_batch,
    *,
    unaligned: Sequence[str] = (),
    draws: int = 1,
) -> int:
    """Check that in smaller networks the same channels meet the same weights as in the largest one.

    It finds a missing or wrong declaration of ``sources`` or ``targets``, shuffles and views that mix channels with
    positions, and buffers whose values follow from the architecture. No weights are made and nothing is computed, but a
    network whose own code needs values is run.

    Args:
        build: from an architecture to its network.
        space: the space.
        input_shape: from an architecture to the shape of its input, batch first.
        unaligned: kinds of choices, or patterns of their paths, that are allowed to mix channels; they stay at their largest.
        draws: random architectures, besides the smallest network and the deepest one of the smallest layers.

    Returns:
        The number of architectures looked at.

    Raises:
        SharingError: naming the module, what meets it in the smaller network, and what in the largest.
        UserError: when a network does not run on an input of that shape.
    """
    _, whole = _labelled(build, space.largest, input_shape)
    largest = shared_network(partial(meta_network, build), space)
    architectures = probes(space, unaligned, draws)
    for arch in architectures:
        small, labels = _labelled(build, arch, input_shape)
        slices = slices_of(small, largest)
        without = shared_network(partial(meta_network, build), space)
        if leave_out(without, small):  # channels go on in another order where a layer is absent
            reduced = _trained(without, torch.empty(2, *input_shape(space.largest)[1:], device="meta"))
            reason = conflict(labels, reduced, slices)
        else:
            reason = conflict(labels, whole, slices)
        if reason is not None:
            raise SharingError(reason)
    check_buffers(build, space.largest, architectures)
    return len(architectures)


def _labelled(build: Any, arch: Any, input_shape: Any) -> tuple[nn.Module, Labels]:
    """The network of an architecture and its labels; built with weights only if it does not run without."""
    shape = input_shape(arch)
    images = torch.empty(max(2, shape[0]), *shape[1:], device="meta")
    network = meta_network(build, arch)
    try:
        return network, _trained(network, images)
    except UserError:
        with torch.random.fork_rng(devices=[]):
            network = build(arch)
        return network, _trained(network, images)


def _trained(network: nn.Module, images: Tensor) -> Labels:
    """Labels of a network in training mode, and of evaluation mode only if that has layers of its own."""
    labels = label(network, (images,), modes=[True])
    seen = {name for name, _ in labels.first}
    if all(name in seen for name, tensor in labels.tensors.items() if tensor.dim() and tensor.is_floating_point()):
        return labels
    return label(network, (images,))


class _Atom(NamedTuple):
    """An entry of a tensor of the smaller network."""

    name: str
    dim: int | None
    at: int
    group: int  # its class in the largest network


def conflict(small: Labels, big: Labels, slices: Mapping[str, TensorSlice]) -> str | None:
    """One line on the module whose channels meet others in the smaller network than in the largest; None where all is right."""
    pairs = [(place, own, theirs) for place, own, theirs in _paired(small, big, slices)]
    own, theirs = (
        np.concatenate([[fixed], *(pair[at] for pair in pairs)]) for at, fixed in ((1, small.fixed), (2, big.fixed))
    )
    if len(np.unique(np.stack([own, theirs]), axis=1).T) == len(np.unique(own)):
        return None
    members: dict[int, list[_Atom]] = defaultdict(list)
    for place, own, theirs in pairs:
        for index, (mine, group) in enumerate(zip(own.tolist(), theirs.tolist(), strict=True)):
            members[mine].append(_Atom(*place, index, group))
    found: Counter[str] = Counter()
    first: dict[str, tuple[_Atom, int, int]] = {}
    for mine, atoms in members.items():
        if mine != small.fixed and len({atom.group for atom in atoms}) == 1:
            continue
        votes = {(atom.name.rpartition(".")[0], atom.group): _makes(atom) for atom in sorted(atoms, key=_makes)}
        weights: Counter[int] = Counter()
        for (_, group), makes in votes.items():  # one of each module, a little more of one that makes the channel
            weights[group] += 3 if makes else 2
        right = big.fixed if mine == small.fixed else weights.most_common(1)[0][0]
        for atom in atoms:
            if atom.group != right:
                module = atom.name.rpartition(".")[0]
                found[module] += 1
                first.setdefault(module, (atom, mine, right))
    if not found:
        return None
    module = found.most_common(1)[0][0]
    atom, mine, right = first[module]
    with_small = _partner(members[mine], atom, right) or ("the input or output" if mine == small.fixed else "another")
    with_big = _maker(big, atom.group, slices[atom.name].key)
    what = atom.name.rpartition(".")[2]
    where = f"entry {atom.at} of dimension {atom.dim}" if atom.dim is not None else f"element {atom.at}"
    return (
        f"module {module or '(the network itself)'}: {where} of its {what} meets {with_small} in a smaller network, "
        f"but {with_big} in the largest; declare the widths of the parts that it reads (sources) or that are read apart (targets)"
    )


def _paired(small: Labels, big: Labels, slices: Mapping[str, TensorSlice]) -> Iterator[tuple[Place, Classes, Classes]]:
    """Places of the smaller network with the classes of their atoms there, and of the same atoms in the largest."""
    for name, dim in small.first:
        part = slices[name]
        if (part.key, dim) not in big.first:
            continue
        theirs = torch.from_numpy(big.classes(part.key, dim))
        if dim is None:
            theirs = part.of(theirs.view(big.tensors[part.key].shape)).flatten()
        elif not part.whole:
            index = part.index[dim]
            theirs = theirs[index]
        yield (name, dim), small.classes(name, dim), theirs.numpy()


def _makes(atom: _Atom) -> bool:
    return atom.dim == 0 and atom.name.endswith("weight")


def _partner(atoms: list[_Atom], atom: _Atom, right: int) -> str | None:
    """Another module that an atom meets, one that makes the channel where there is one."""
    module = atom.name.rpartition(".")[0]
    others = [one for one in atoms if one.group == right and one.name.rpartition(".")[0] != module]
    others.sort(key=lambda one: not _makes(one))
    return _said(others[0].name, others[0].at) if others else None


def _maker(labels: Labels, group: int, key: str) -> str:
    """A module of which an entry is in a class of the largest network."""
    if group == labels.fixed:
        return "the input or output"
    module, found = key.rpartition(".")[0], ""
    for name, dim in labels.first:
        places = (labels.classes(name, dim) == group).nonzero()[0]
        if len(places) and name.rpartition(".")[0] != module:
            found = found or _said(name, int(places[0]))
            if dim == 0 and name.endswith("weight"):
                return _said(name, int(places[0]))
    return found or "nothing"


def _said(name: str, index: int) -> str:
    return f"channel {index} of {name.rpartition('.')[0] or name}"


def check_buffers(build: Callable[[A], nn.Module], largest: A, architectures: Sequence[A]) -> None:
    """Check that buffers of smaller networks, other than running statistics, are parts of the largest one's.

    Raises:
        SharingError: naming a buffer whose values follow from the architecture; the supernet would use the largest one's.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        if not _constants(meta_network(build, largest)):
            return
        big, again = build(largest), build(largest)
        values, drawn = _constants(big), _constants(again)
        for arch in architectures:
            small = build(arch)
            slices = slices_of(small, big)
            for name, value in _constants(small).items():
                part = slices[name]
                if not _equal(values[part.key], drawn[part.key]):
                    continue  # random numbers
                if not _equal(part.of(values[part.key]), value):
                    raise SharingError(
                        f"buffer {name} has other values in a smaller network than in the largest, whose values would be used; "
                        "compute it in forward, or keep it as a plain number"
                    )


def _constants(network: nn.Module) -> dict[str, Tensor]:
    """The buffers that are not running statistics, by their first names."""
    statistics = {
        id(buffer) for module in network.modules() if isinstance(module, _NormBase) for buffer in module.buffers(False)
    }
    names = first_names(network)
    return {names[buffer]: buffer for buffer in network.buffers() if id(buffer) not in statistics}


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())
