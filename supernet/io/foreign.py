"""Tensors out of checkpoints that hold more than data: read without importing or running anything that the file names.

PyTorch's own safe reader refuses a file with one numpy number or one object of a training program. Here everything that is
no tensor and no plain value becomes a placeholder, which is left out. Source: the file formats of ``torch.save`` (the zip
archive since 1.6, and the one before it).
"""

from __future__ import annotations

import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

import torch
from torch import Tensor

from ..errors import UserError

REMEDY = (
    "save the weights alone, where they were trained: torch.save(model.state_dict(), 'weights.pt'), and give that file"
)
_MAGIC = 0x1950A86A20F9469CFC6C  # torch.save before 1.6 begins with it
_DTYPES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "Untyped": torch.uint8, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
}  # fmt: skip
_DEEPEST = 100  # dictionaries within one another


class _Placeholder:
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

    def __call__(self, *_: Any, **__: Any) -> _Placeholder:
        return _Placeholder()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, _: Any) -> None:
        """Of a kind of list."""

    extend = add = update = append


class _Held(_Placeholder):
    """A tensor, out of reach of what else the file says."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> _Held:
    """A view of a storage, within it."""
    flat, shape, steps = storage.tensor, tuple(size), tuple(stride)
    if len(shape) != len(steps) or any(type(n) is not int or n < 0 for n in (offset, *shape, *steps)):
        raise ValueError("no shape")
    last = offset + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
    if math.prod(shape) and last >= flat.numel():
        raise ValueError("a tensor leaves its storage")
    return _Held(flat.as_strided(shape, steps, offset) if math.prod(shape) else flat.new_zeros(shape))


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _of_type(make: Any, _: Any, arguments: Any, *__: Any) -> Any:
    return make(*arguments) if make in (_tensor, _parameter) else _Placeholder()


def _ordered(*_: Any) -> OrderedDict[Any, Any]:
    return OrderedDict()


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_type,
}
_PlainUnpickler: Any = pickle._Unpickler  # noqa: SLF001  # its memo is a dictionary: an index is no size


class _Unpickler(_PlainUnpickler):  # type: ignore[misc]
    """Makes tensors, plain values, and placeholders for all else."""

    # bytearrays are made before it is seen whether the file has so many bytes; extensions are names of the process's own
    dispatch = {
        code: act
        for code, act in _PlainUnpickler.dispatch.items()
        if code not in (pickle.BYTEARRAY8[0], pickle.EXT1[0], pickle.EXT2[0], pickle.EXT4[0])
    }

    def __init__(self, file: IO[bytes], storage_of: Any = None) -> None:
        super().__init__(file, encoding="latin1")
        self._storage_of = storage_of

    def find_class(self, module: str, name: str) -> Any:
        """Never an import."""
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return _DTYPES.get(name.removesuffix("Storage"), _Placeholder)
        return _KNOWN.get((module, name), _Placeholder)

    def persistent_load(self, pid: Any) -> Any:
        """A storage; or, in old files, the class of a model."""
        if pid[0] == "module":
            return pid[1]
        if self._storage_of is None or pid[0] != "storage" or not isinstance(pid[1], torch.dtype):
            raise pickle.UnpicklingError("unknown storage")
        return self._storage_of(pid)


def read_tensors(path: Path) -> Any:
    """What a file of ``torch.save`` holds of tensors and plain values; everything else is left out.

    Whole models become their state dict.

    Raises:
        UserError: There is no tensor in it, or it has another format or is damaged; the line says what to do.
    """
    try:
        with path.open("rb") as file:
            read = _archive if zipfile.is_zipfile(file) else _legacy
            content = _plain(read(file, path.stat().st_size), 0)
    except Exception:  # a stranger's file leads to any of them
        content = None
    if not _has_tensor(content):
        raise UserError(f"{path}: holds more than tensors and plain values, and is refused for safety; {REMEDY}")
    return content


def _bounded(storages: Mapping[str, _Held], more: int, size: int) -> None:
    """Refuse storages that together are larger than their file."""
    if more + sum(held.tensor.numel() * held.tensor.dtype.itemsize for held in storages.values()) > size:
        raise ValueError("storages are larger than the file")


def _archive(file: IO[bytes], size: int) -> Any:
    """The zip format: ``name/data.pkl`` and ``name/data/0``, ``name/data/1`` …, stored as they are."""
    with zipfile.ZipFile(file) as archive:
        names = {info.filename: info for info in archive.infolist() if info.compress_type == zipfile.ZIP_STORED}
        main = next(name for name in names if name.endswith("/data.pkl"))
        folder = main.removesuffix("data.pkl")
        if f"{folder}constants.pkl" in names or archive.namelist().count(main) != 1:  # TorchScript is code
            raise ValueError("no checkpoint")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("big-endian")
        storages: dict[str, _Held] = {}

        def storage_of(pid: Any) -> _Held:
            _, dtype, key, _, count = pid[:5]
            if key not in storages:
                info = names[f"{folder}data/{key}"]
                _bounded(storages, info.file_size, size)  # entries may lie upon one another
                data = bytearray(archive.read(info))
                whole = torch.frombuffer(data, dtype=dtype) if data else torch.zeros(0, dtype=dtype)
                storages[key] = _Held(whole)
            if storages[key].tensor.dtype != dtype:
                raise ValueError("two types of one storage")
            return storages[key]

        with archive.open(names[main]) as pickled:
            return _Unpickler(pickled, storage_of).load()


def _legacy(file: IO[bytes], size: int) -> Any:
    """The format before 1.6: pickles one after another, then the storages."""
    file.seek(0)
    if _Unpickler(file).load() != _MAGIC:
        raise ValueError("no checkpoint")
    _Unpickler(file).load()  # protocol version
    _Unpickler(file).load()  # the system's sizes of numbers
    storages: dict[str, _Held] = {}

    def storage_of(pid: Any) -> _Held:
        _, dtype, key, _, count, *view = pid
        if key not in storages:
            if type(count) is not int or count < 0:
                raise ValueError("no size")
            _bounded(storages, count * dtype.itemsize, size)
            storages[key] = _Held(torch.zeros(count, dtype=dtype))
        if view and view[0] is not None:
            _, offset, length = view[0]
            return _tensor(storages[key], offset, (length,), (1,))
        return storages[key]

    content = _Unpickler(file, storage_of).load()
    for key in _Unpickler(file).load():
        storage = storages[key].tensor
        (count,) = struct.unpack("<q", file.read(8))
        data = file.read(count * storage.dtype.itemsize) if count == storage.numel() else b""
        if len(data) != storage.numel() * storage.dtype.itemsize:
            raise ValueError("cut off")
        if data:
            storage.copy_(torch.frombuffer(bytearray(data), dtype=storage.dtype))
    return content


def _plain(value: Any, depth: int) -> Any:
    """Tensors and plain values, in dictionaries and lists; a placeholder that has weights becomes their state dict."""
    if depth > _DEEPEST:
        raise ValueError("too deep")
    if isinstance(value, _Held):
        return value.tensor
    if isinstance(value, _Placeholder):
        if isinstance(value.state, dict) and isinstance(value.state.get("_modules"), dict | _Placeholder):
            return _module(value, "", 0)
        value = value.items or None
    if isinstance(value, dict):
        kept = {key: _plain(entry, depth + 1) for key, entry in value.items() if isinstance(key, str | int)}
        return {key: entry for key, entry in kept.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [_plain(entry, depth + 1) for entry in value]
    return value if isinstance(value, str | int | float | bool) else None


def _module(module: _Placeholder, prefix: str, depth: int) -> dict[str, Tensor]:
    """The state dict of a whole model."""
    if depth > _DEEPEST:
        raise ValueError("too deep")
    state = module.state
    found: dict[str, Tensor] = {}
    for kind in ("_parameters", "_buffers"):
        entries = state.get(kind) or {}
        found |= {prefix + name: held.tensor for name, held in entries.items() if isinstance(held, _Held)}
    for name, child in (state.get("_modules") or {}).items():
        if isinstance(child, _Placeholder) and isinstance(child.state, dict):
            found |= _module(child, f"{prefix}{name}.", depth + 1)
    return found


def _has_tensor(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_tensor, value.values()))
    return isinstance(value, Tensor) or (isinstance(value, list) and any(map(_has_tensor, value)))
