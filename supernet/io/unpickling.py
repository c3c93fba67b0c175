"""Unpickle tensors and plain values only: nothing that a file names is imported or run; all else becomes a placeholder."""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from typing import IO, Any, Self

import torch
from torch import Tensor

DTYPES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "Untyped": torch.uint8, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
}  # fmt: skip
LONGEST = 2**25  # bytes of pickle, beside the tensors; a second each four million
_DEEPEST = 100  # dictionaries within one another
_MOST = 1_000_000  # values, where one that is met again counts again
_LEFT_OUT = object()


class Placeholder:
    """Stands for a class, a function or an object that a file names; takes whatever is done to it, and does nothing."""

    state: Any
    items: dict[Any, Any]

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Also where the file asks for an object without its ``__init__``."""
        made = super().__new__(cls)
        made.state, made.items = None, {}
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take anything."""

    def __call__(self, *_: Any, **__: Any) -> Placeholder:  # noqa: D102
        return Placeholder()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, _: Any) -> None:
        """Of a kind of list."""

    extend = add = update = append


class Held(Placeholder):
    """A tensor, out of reach of what else the file says."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def held(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> Held:
    """A view of a storage, within it."""
    flat, shape, steps = storage.tensor, tuple(size), tuple(stride)
    if len(shape) != len(steps) or any(type(n) is not int or n < 0 for n in (offset, *shape, *steps)):
        raise ValueError("no shape")
    if math.prod(shape) > flat.numel():  # the same numbers again and again: a file of bytes would be gigabytes in use
        raise ValueError("a tensor is larger than its storage")
    last = offset + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
    if math.prod(shape) and last >= flat.numel():
        raise ValueError("a tensor leaves its storage")
    return Held(flat.as_strided(shape, steps, offset) if math.prod(shape) else flat.new_zeros(shape))


def _tensor_of_type(storage: Any, offset: int, size: Any, stride: Any, _: Any, __: Any, dtype: Any, *___: Any) -> Held:
    """A view of a storage of bytes."""
    return held(Held(storage.tensor.view(dtype)), offset, size, stride)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _of_type(make: Any, _: Any, arguments: Any, *__: Any) -> Any:
    return make(*arguments) if make in (held, _parameter) else Placeholder()


def _ordered(*_: Any) -> OrderedDict[Any, Any]:
    return OrderedDict()


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_tensor"): held,
    ("torch._utils", "_rebuild_tensor_v2"): held,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_type,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_type,
}
_PlainUnpickler: Any = pickle._Unpickler  # noqa: SLF001  # its memo is a dictionary: an index is no size


class Unpickler(_PlainUnpickler):  # type: ignore[misc]
    """Makes tensors, plain values, and placeholders for all else."""

    # bytearrays are made before it is seen whether the file has so many bytes; extensions are names of the process's own
    dispatch = {
        code: act
        for code, act in _PlainUnpickler.dispatch.items()
        if code not in (pickle.BYTEARRAY8[0], pickle.EXT1[0], pickle.EXT2[0], pickle.EXT4[0])
    }

    def __init__(self, file: IO[bytes] | Limited, storage_of: Any = None) -> None:
        super().__init__(file, encoding="latin1")
        self._storage_of = storage_of

    def find_class(self, module: str, name: str) -> Any:
        """Never an import."""
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return DTYPES.get(name.removesuffix("Storage"), Placeholder)
        if module == "torch" and isinstance(dtype := getattr(torch, name, None), torch.dtype):
            return dtype
        return _KNOWN.get((module, name), Placeholder)

    def persistent_load(self, pid: Any) -> Any:
        """A storage; or, in old files, the class of a model."""
        if pid[0] == "module":
            return pid[1]
        if self._storage_of is None or pid[0] != "storage":
            raise pickle.UnpicklingError("unknown storage")
        return self._storage_of(pid) if isinstance(pid[1], torch.dtype) else Placeholder()  # quantised


class Limited:
    """A file of which no more is read than pickles have beside tensors."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, LONGEST

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer at the end of the file."""
        return self._counted(self._file.read(min(size, self._left + 1)))

    def readline(self) -> bytes:
        """A line of text."""
        return self._counted(self._file.readline(self._left + 1))

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("too much beside the tensors")
        return data


class Cleaner:
    """Keeps tensors and plain values of what was read, in their containers; a model that has weights becomes its state dict.

    Attributes:
        found_others: whether there was anything else.
    """

    def __init__(self) -> None:
        self.found_others = False
        self._left = _MOST

    def plain(self, value: Any, depth: int = 0) -> Any:
        """The value without what is left out."""
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            raise ValueError("too deep or too much")
        if isinstance(value, Held):
            return value.tensor
        if isinstance(value, Placeholder):
            self.found_others = True
            if isinstance(value.state, dict) and isinstance(value.state.get("_modules"), dict | Placeholder):
                return self._module(value, "", 0)
            value = value.items or _LEFT_OUT
        if isinstance(value, dict):
            kept = {key: self.plain(entry, depth + 1) for key, entry in value.items() if isinstance(key, str | int)}
            self.found_others |= len(kept) < len(value)
            return {key: entry for key, entry in kept.items() if entry is not _LEFT_OUT}
        if isinstance(value, list | tuple):
            entries = (self.plain(entry, depth + 1) for entry in value)
            return type(value)(entry for entry in entries if entry is not _LEFT_OUT)
        if value is None or isinstance(value, str | bytes | int | float):
            return value
        self.found_others = True
        return _LEFT_OUT

    def _module(self, module: Placeholder, prefix: str, depth: int) -> dict[str, Tensor]:
        """The state dict of a whole model."""
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            raise ValueError("too deep or too much")
        state = module.state
        found: dict[str, Tensor] = {}
        for kind in ("_parameters", "_buffers"):
            entries = state.get(kind) or {}
            found |= {prefix + name: entry.tensor for name, entry in entries.items() if isinstance(entry, Held)}
        for name, child in (state.get("_modules") or {}).items():
            if isinstance(child, Placeholder) and isinstance(child.state, dict):
                found |= self._module(child, f"{prefix}{name}.", depth + 1)
        return found
