"""Labels: which channels of any module belong together, found by running it once with labels beside its activations.

Every entry of every dimension of every parameter is an *atom*, a whole number. The module is run on an example, on the meta
device where it can, and a tensor of labels travels beside every activation that says of each element which atom it is.
Views, concatenations, chunks and shuffles are executed on the labels as they are on the data; elementwise operations tie the
labels that meet; a layer with weights ties the entries that read to what it reads, and labels its outputs with the entries
that make them (:mod:`supernet.sharing.label_layers`, :mod:`supernet.sharing.label_operations`). Atoms that are tied form a
*class*: channels that can only come and go together.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from .tied_weights import first_names

NONE, FIXED = 0, 1  # labels of "no channel", such as a padding, and of a channel that has to stay
Place = tuple[str, int | None]  # a tensor's first name, and a dimension; None where each element is an atom


class Labels:
    """Atoms of a module's parameters and buffers, and the classes that its operations tie them to.

    Attributes:
        tensors: the parameters and buffers by their first names.
        first: the first atom of each place that was read or made.
        unknown: operations that are not understood, with the module in which they were met, and how often. What goes into
            them and comes out has to stay as it is.
        residual: modules whose input is added to what they compute and that return the shape they were given, so that
            without them their input goes on.
    """

    def __init__(self, module: nn.Module) -> None:
        self.names = {id(tensor): name for tensor, name in first_names(module).items()}
        self.tensors = {name: tensor for tensor, name in first_names(module).items()}
        self.first: dict[Place, int] = {}
        self.unknown: Counter[tuple[str, str]] = Counter()
        self.residual: set[str] = set()
        self.outputs: dict[bool, list[torch.Size]] = {}  # shapes of what the module returned in a mode
        self.device = "meta"  # where it was run
        self.refused: set[str] = set()  # modules that are called in another way somewhere
        self.stack: list[tuple[str, list[int]]] = []  # of the modules that run: name, and ids of what they were given
        self.quiet = 0  # above 0 inside an operation that is understood as a whole
        self._number = FIXED + 1
        self._labels: Any = WeakTensorKeyDictionary()
        self._ties: list[NDArray[np.int64]] = []
        self._classes: NDArray[np.int32] | None = None

    # -- atoms

    def atoms(self, name: str, dim: int | None) -> Tensor:
        """The atoms of one dimension of a tensor (n,), or, for ``None``, of each of its elements (its shape)."""
        tensor = self.tensors[name]
        if dim is None and tensor.dim() == 1:
            dim = 0  # the same thing
        length = tensor.numel() if dim is None else tensor.shape[dim]
        if (name, dim) not in self.first:
            self.first[name, dim] = self._number
            self._number += length
        atoms = torch.arange(self.first[name, dim], self.first[name, dim] + length)
        return atoms.view(tensor.shape) if dim is None else atoms

    def name_of(self, tensor: Any) -> str | None:
        """The first name of a parameter or buffer of the module; None for what is computed."""
        return self.names.get(id(tensor)) if isinstance(tensor, Tensor) else None

    def get(self, tensor: Any) -> Tensor | None:
        """The labels of a tensor, of its shape; None where it has none."""
        if not isinstance(tensor, Tensor):
            return None
        if tensor not in self._labels:
            name = self.name_of(tensor)
            if name is None or not tensor.dim() or not tensor.is_floating_point():
                return None
            self._labels[tensor] = self.atoms(name, None)  # the network reads a parameter by itself
        labels: Tensor = self._labels[tensor]
        return labels

    def put(self, tensor: Any, labels: Tensor) -> None:
        """Give a tensor its labels."""
        if isinstance(tensor, Tensor):
            self._labels[tensor] = labels.expand(tensor.shape)

    # -- ties

    def tie(self, one: Tensor, other: Tensor | int) -> None:
        """Say that labels come and go together, element by element after broadcasting; what has none has to stay."""
        other = torch.tensor(other) if isinstance(other, int) else other
        left, right = (labels.clamp(min=FIXED) for labels in thin(*broadcast(one, other)))
        differ = left != right
        if bool(differ.any()):
            pairs = np.unique(((left[differ] << 32) | right[differ]).numpy())  # both below 2^31
            self._ties.append(np.stack([pairs >> 32, pairs & 0xFFFFFFFF], 1))

    def tie_along(self, labels: Tensor, dim: int) -> None:
        """Tie what lies side by side along a dimension, so that the tensor stays a box whatever is removed."""
        self.tie(labels, labels.narrow(dim, 0, 1))

    def fix(self, *tensors: Any) -> None:
        """Say that what these tensors hold has to stay."""
        for tensor in tensors:
            labels = self.get(tensor)
            if labels is not None:
                self.tie(labels, FIXED)

    def channels(self, tensor: Tensor, dim: int) -> Tensor:
        """One label for each entry of a dimension (n,): those that differ elsewhere are tied, what has none is fixed.

        A place without a channel, such as a padding around an image, says nothing.
        """
        length, labels = tensor.shape[dim], self.get(tensor)
        if labels is None:
            return torch.full((length,), FIXED)
        rows = thin(labels.movedim(dim, -1))[0]
        rows = rows.expand(*rows.shape[:-1], length).reshape(-1, length)
        made = rows.amax(0)
        if len(rows) > 1:
            self.tie(torch.where(rows > NONE, rows, made), made)
        return made.clamp(min=FIXED)

    # -- what was found

    def close(self) -> None:
        """Find the classes, after all runs."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        for name in {name for name, dim in self.first if dim is None}:
            if any(
                other == name and dim is not None for other, dim in self.first
            ):  # read both as a whole and by elements
                for dim in [dim for other, dim in self.first if other == name]:
                    self.tie(self.atoms(name, dim), FIXED)
        ties = np.concatenate(self._ties) if self._ties else np.zeros((0, 2), dtype=np.int64)
        graph = coo_matrix((np.ones(len(ties), dtype=np.int8), (ties[:, 0], ties[:, 1])), shape=(self._number,) * 2)
        self._classes = connected_components(graph, directed=False)[1]
        self.residual -= self.refused

    def classes(self, name: str, dim: int | None) -> NDArray[np.int32]:
        """The class of every atom of a place, flat."""
        assert self._classes is not None
        found: NDArray[np.int32] = self._classes[self.atoms(name, dim).flatten().numpy()]
        return found

    @property
    def fixed(self) -> int:
        """The class of what has to stay."""
        assert self._classes is not None
        return int(self._classes[FIXED])

    @property
    def where(self) -> str:
        """The module that runs."""
        return self.stack[-1][0] if self.stack else ""


def broadcast(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both labels in the shape of what they make together."""
    shape = np.broadcast_shapes(one.shape, other.shape)
    return one.expand(shape), other.expand(shape)


def thin(*labels: Tensor) -> tuple[Tensor, ...]:
    """Labels of one shape without the repetitions along dimensions in which all of them are expanded, were it to no length."""
    for dim, length in enumerate(labels[0].shape):
        if length != 1 and all(one.stride(dim) == 0 for one in labels):
            labels = tuple(first(one, dim) for one in labels)
    return labels


def first(labels: Tensor, dim: int) -> Tensor:
    """The label that an expanded dimension repeats; there is one also where it has no length, for no boxes, say."""
    shape = [1 if at == dim else length for at, length in enumerate(labels.shape)]
    return labels.as_strided(shape, labels.stride(), labels.storage_offset())


def varying(labels: Tensor) -> list[int]:
    """The dimensions along which labels are not all the same."""
    small = thin(labels)[0]
    return [
        dim for dim, length in enumerate(small.shape) if length > 1 and bool((small != small.narrow(dim, 0, 1)).any())
    ]


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested lists, tuples and dictionaries, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in tensors_in(item)] if isinstance(value, list | tuple) else []
