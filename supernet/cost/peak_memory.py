"""Peak activation memory of a network, exactly, on the meta device.

An image goes through the network in evaluation mode and without gradients. An operator is what PyTorch's meta device
breaks functions down to (``aten.convolution``, ``aten.native_batch_norm``, ``aten.relu``, …). Alive while it runs are its
inputs, its outputs, and every tensor made before that a later operator reads or the network returns: a tensor is freed
after the last operator that reads it. Views and in-place operators make no new tensor. The image counts as a tensor;
weights and buffers do not, nor does what an operator takes for itself while it runs. The peak is the largest sum of bytes
that are alive at one operator: what an inference runtime needs that frees in time and fuses nothing.

:func:`activations` gives the same by operator and tensor, which :mod:`supernet.cost.cost_model` tabulates for a whole space.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from sys import intern
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .macs import OWN_NAMES, Factors, convolved, run_on_meta

# fmt: off
_ATEN: Any = torch.ops.aten
#: Operators whose output has the shape of their first input; on the meta device they would take most of the time.
_SAME = frozenset({
    _ATEN.relu.default, _ATEN.hardtanh.default, _ATEN.gelu.default, _ATEN.silu.default, _ATEN.sigmoid.default,
    _ATEN.hardsigmoid.default, _ATEN.hardswish.default,
})
_SAME_IN_PLACE = frozenset({
    _ATEN.relu_.default, _ATEN.hardtanh_.default, _ATEN.silu_.default, _ATEN.hardswish_.default, _ATEN.add_.Tensor,
})
_SAME_IF_EQUAL = frozenset({_ATEN.add.Tensor, _ATEN.mul.Tensor})
# fmt: on
_NEIGHBOURS = 3  # operators on either side that may hold all that one holds


def peak_memory(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Peak activation memory of one forward pass, bytes, as the text of this file defines it.

    Args:
        module: any network that takes one tensor. It is neither computed nor changed, and may lie on the meta device.
        input_shape: of that tensor, batch first, e.g. ``(1, 3, H, W)``.
    """
    return activations(module, input_shape).peak


@dataclass(frozen=True)
class Activations:
    """Lifetimes of the tensors of one forward pass.

    An operator goes by the last weight that was used, its kind and a number; a tensor by the operator that made it.

    Attributes:
        operators: place in the order of execution, by name; one whose neighbour holds all that it holds is left out.
        tensors: names.
        dims: of each tensor, the bytes of an element last.
        first: the place of the operator that made each tensor, (T,).
        last: the place of the last operator that reads it, (T,).
    """

    operators: dict[str, int]
    tensors: list[str]
    dims: list[Factors]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def bytes(self) -> dict[str, int]:
        """What is alive at each operator, bytes."""
        sizes = np.array([prod(dims) for dims in self.dims], dtype=np.int64)
        change = np.zeros(int(self.last.max()) + 2, dtype=np.int64)
        np.add.at(change, self.first, sizes)
        np.subtract.at(change, self.last + 1, sizes)
        alive = change.cumsum()
        return {name: int(alive[place]) for name, place in self.operators.items()}

    def at(self, operator: str) -> dict[str, Factors]:
        """The dimensions of every tensor that is alive at an operator, by the tensor's name."""
        place = self.operators[operator]
        alive = np.flatnonzero((self.first <= place) & (place <= self.last))
        return {self.tensors[index]: self.dims[index] for index in alive}

    @property
    def peak(self) -> int:
        """The largest of :meth:`bytes`."""
        return max(self.bytes().values())


def activations(module: nn.Module, input_shape: tuple[int, ...], names: Mapping[str, str] = OWN_NAMES) -> Activations:
    """Trace which tensors are alive at which operator; arguments as for :func:`supernet.cost.macs.run_on_meta`."""
    trace, _, output = run_on_meta(module, input_shape, _Trace, names)
    trace.step("return", _tensors(output), [])
    lives = [life for life in trace.lives.values() if prod(life.dims)]
    held: list[set[str]] = [set() for _ in trace.steps]
    for life in lives:
        for step in range(life.first, life.last + 1):
            held[step].add(life.name)
    operators = {}
    for step, mine in enumerate(held):
        before, after = held[max(0, step - _NEIGHBOURS) : step], held[step + 1 : step + 1 + _NEIGHBOURS]
        if not any(mine < other for other in before + after) and mine not in before:
            operators[trace.steps[step]] = step
    return Activations(
        operators,
        [life.name for life in lives],
        [life.dims for life in lives],
        np.array([life.first for life in lives]),
        np.array([life.last for life in lives]),
    )


@dataclass
class _Life:
    """Lifetime of a tensor: from the operator that made it to the last one that reads it."""

    name: str
    dims: Factors
    first: int
    last: int
    tensor: Tensor  # held, so that no other storage takes its address


class _Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own __init_subclass__
    """Notes which operator makes and reads which tensor."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[str] = []
        self.lives: dict[int, _Life] = {}  # by storage
        self._weights = {_storage(tensor): name for name, tensor in tensors.items()}
        self._place = ""  # the last weight that was used
        self._counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = _shape_only(func, args) if not kwargs else None
        if out is None:
            out = func(*args, **(kwargs or {}))
        self.step(func.__name__, _tensors((args, kwargs)), _tensors(out))
        return out

    def step(self, kind: str, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        """One operator: what it reads, what it returns."""
        now = len(self.steps)
        read = [(_storage(tensor), tensor) for tensor in inputs]
        weights = [self._weights[storage] for storage, _ in read if storage in self._weights]
        self._place = weights[0] if weights else self._place
        name = f"{self._place} {kind}"
        self._counts[name] += 1
        self.steps.append(intern(f"{name} {self._counts[name]}"))  # the same in many networks
        for storage, tensor in read:
            if storage not in self._weights:
                self._life(storage, tensor, "input").last = now
        for place, tensor in enumerate(outputs):
            storage = _storage(tensor)
            if storage not in self._weights:
                self._life(storage, tensor, intern(f"{self.steps[-1]} {place}")).last = now

    def _life(self, storage: int, tensor: Tensor, name: str) -> _Life:
        if storage not in self.lives:
            dims = (*tensor.shape, tensor.element_size())
            self.lives[storage] = _Life(name, dims, len(self.steps) - 1, len(self.steps) - 1, tensor)
        return self.lives[storage]


def _shape_only(func: Any, args: Any) -> Any:
    """The output of an operator that is found by its shape alone; None for the others."""
    if func in _SAME:
        return torch.empty_like(args[0])
    if func in _SAME_IN_PLACE:
        return args[0]
    if func in _SAME_IF_EQUAL and len(args) == 2 and getattr(args[1], "shape", None) == args[0].shape:
        return torch.empty_like(args[0])
    if func is _ATEN.native_batch_norm.default:  # statistics are not saved in evaluation mode
        return torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0)
    if func is _ATEN.convolution.default and not args[6]:
        return args[0].new_empty(convolved(args[0].shape, args[1].shape, args[3], args[4], args[5]))
    return None


def _storage(tensor: Tensor) -> int:
    """The address of what a tensor and its views share."""
    return int(tensor.untyped_storage()._cdata)


def _tensors(value: Any) -> list[Tensor]:
    """Every tensor among arguments or results."""
    return list(_walk(value))


def _walk(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _walk(item)
