"""Units of a module: channels that can only come and go together, and the groups of units that are one width."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .labels import Labels

Entry = tuple[str, int, int]  # a tensor's first name, a dimension, an index


@dataclass(frozen=True)
class UnitGroup:
    """Units that touch the same dimensions of the same tensors alike: one width.

    Attributes:
        units: of each unit, in the order of the channels, the entries that go with it.
    """

    units: tuple[tuple[Entry, ...], ...]

    @property
    def size(self) -> int:
        """Number of units."""
        return len(self.units)

    @property
    def tensors(self) -> frozenset[str]:
        """The tensors that it touches."""
        return frozenset(name for name, _, _ in self.units[0])

    @property
    def title(self) -> str:
        """What it is called in messages: the first weight that it touches, by its module."""
        return self.units[0][0][0].rpartition(".")[0] or self.units[0][0][0]


def unit_groups(labels: Labels) -> list[UnitGroup]:
    """The groups of units that may be removed, in the order in which the module reads them.

    A tensor that is read by itself, element by element, has to lose whole slices of one dimension with a unit; where it would
    not, the unit is left out.
    """
    entries: dict[int, list[Entry]] = defaultdict(list)
    elements: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for name, dim in labels.first:
        for index, group in enumerate(labels.classes(name, dim).tolist()):
            if group == labels.fixed:
                continue
            if dim is None:
                elements[group][name].append(index)
            else:
                entries[group].append((name, dim, index))
    for group, tensors in elements.items():
        whole = [_slices(name, places, labels.tensors[name].shape) for name, places in tensors.items()]
        if all(whole):
            entries[group] += [entry for slices in whole for entry in slices]
        else:
            entries.pop(group, None)
    order = {name: position for position, name in enumerate(labels.tensors)}
    alike: dict[tuple[tuple[tuple[str, int], int], ...], list[tuple[Entry, ...]]] = defaultdict(list)
    for own in entries.values():
        counts = Counter((name, dim) for name, dim, _ in own)
        alike[tuple(sorted(counts.items()))].append(tuple(sorted(own, key=lambda entry: (order[entry[0]], entry[1:]))))
    groups = [
        UnitGroup(tuple(sorted(units, key=lambda unit: [entry[2] for entry in unit]))) for units in alike.values()
    ]
    return sorted(groups, key=lambda group: order[group.units[0][0][0]])


def _slices(name: str, places: list[int], shape: torch.Size) -> list[Entry]:
    """Elements of a tensor as whole slices of one dimension; nothing where they are not that."""
    indices = np.unravel_index(np.array(places), tuple(shape))
    for dim, length in enumerate(shape):
        own = sorted(set(indices[dim].tolist()))
        if length and len(own) * (shape.numel() // length) == len(places):
            return [(name, dim, index) for index in own]
    return []


def kept(group: UnitGroup, width: int, shapes: dict[str, torch.Size]) -> dict[tuple[str, int], list[int]]:
    """The indices of each dimension that a group touches, without those of the units beyond its first ``width``."""
    gone: dict[tuple[str, int], set[int]] = defaultdict(set)
    for unit in group.units[width:]:
        for name, dim, index in unit:
            gone[name, dim].add(index)
    return {place: [i for i in range(shapes[place[0]][place[1]]) if i not in out] for place, out in gone.items()}


@torch.no_grad()
def sort_units(groups: list[UnitGroup], tensors: dict[str, Tensor]) -> None:
    """Sort the units of each group, those first whose readers have the largest L1 norm; in place, the function is the same."""
    for group in groups:
        places: dict[tuple[str, int], list[list[int]]] = defaultdict(list)
        for unit in group.units:
            own: dict[tuple[str, int], list[int]] = defaultdict(list)
            for name, dim, index in unit:
                own[name, dim].append(index)
            for place, indices in own.items():
                places[place].append(indices)
        weights = [place for place in places if tensors[place[0]].dim() > 1]
        readers = [place for place in weights if place[1] == 1] or weights or list(places)
        importance = torch.zeros(group.size, dtype=torch.float64)
        for name, dim in readers:
            norms = tensors[name].detach().double().abs().movedim(dim, 0).flatten(1).sum(1).cpu()
            importance += norms[torch.tensor(places[name, dim])].sum(1)
        order = torch.argsort(importance, descending=True, stable=True)
        for (name, dim), slots in places.items():
            tensor, own_slots = tensors[name], torch.tensor(slots)
            permutation = torch.arange(tensor.shape[dim])
            permutation[own_slots.flatten()] = own_slots[order].flatten()
            tensor.copy_(tensor.index_select(dim, permutation.to(tensor.device)))
