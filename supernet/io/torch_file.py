"""Read files of ``torch.save`` as data: nothing that a file names is imported or run, and no more memory taken than it has bytes.

PyTorch's own safe reader unpacks what is compressed, makes tensors of any size a file asks for, and refuses a file with one numpy
number or one object of a training program. Here everything that is no dense tensor and no plain value becomes a placeholder,
which is left out; so do sparse, quantised and nested tensors. Source: the file formats of ``torch.save`` (the zip archive since
1.6, and the one before it).
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .reading import WEIGHTS_BYTES, opened
from .unpickling import LONGEST, Cleaner, Held, Limited, Unpickler, held

REMEDY = (
    "save the weights alone, where they were trained: torch.save(model.state_dict(), 'weights.pt'), and give that file"
)
_CHUNK = 2**22
_MAGIC = 0x1950A86A20F9469CFC6C  # torch.save before 1.6 begins with it


def read_file(path: Path, *, strict: bool = False) -> Any:
    """What a file of ``torch.save`` holds: tensors on the CPU and plain values, in dictionaries, lists and tuples.

    Args:
        path: the file.
        strict: refuse a file that holds anything else; otherwise that is left out, and whole models become their state dict.

    Raises:
        UserError: it is damaged, would take more memory than it has bytes, or has nothing that can be read as data.
    """
    cleaner = Cleaner()
    try:
        with opened(path, WEIGHTS_BYTES) as file:
            read = _archive if zipfile.is_zipfile(file) else _legacy
            content = cleaner.plain(read(file, path.stat().st_size))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}; give another file") from error
    except Exception as error:  # a stranger's file leads to any of them
        reason = f" ({error})" if type(error) is _TooLargeError else ""
        raise UserError(
            f"{path}: is not a checkpoint, or is damaged{reason}; remove it to make it anew, or give another file"
        ) from None
    if cleaner.found_others and (strict or not _has_tensor(content)):
        remedy = "" if strict else f"; {REMEDY}"
        raise UserError(f"{path}: holds more than tensors and plain values, and is refused for safety{remedy}")
    return content


class _TooLargeError(ValueError):
    """The file would take more memory than it has bytes."""


def _bounded(storages: Mapping[str, Held], more: int, size: int) -> None:
    """Refuse storages that together are larger than their file."""
    if more + sum(held.tensor.numel() * held.tensor.dtype.itemsize for held in storages.values()) > size:
        raise _TooLargeError("its tensors are larger than the file")


def _archive(file: IO[bytes], size: int) -> Any:
    """The zip format: ``name/data.pkl`` and ``name/data/0``, ``name/data/1`` …, stored as they are."""
    with zipfile.ZipFile(file) as archive:
        if (declared := sum(info.file_size for info in archive.infolist())) > size:  # torch.save compresses nothing
            raise _TooLargeError(f"it unpacks to {declared / 2**20:.0f} MiB, the file has {size / 2**20:.1f}")
        names = {info.filename: info for info in archive.infolist() if info.compress_type == zipfile.ZIP_STORED}
        main = next(name for name in names if name.endswith("/data.pkl"))
        folder = main.removesuffix("data.pkl")
        if f"{folder}constants.pkl" in names or archive.namelist().count(main) != 1:  # TorchScript is code
            raise ValueError("no checkpoint")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("big-endian")
        storages: dict[str, Held] = {}

        def storage_of(pid: Any) -> Held:
            _, dtype, key, _, count = pid[:5]
            if key not in storages:
                info = names[f"{folder}data/{key}"]
                _bounded(storages, info.file_size, size)  # entries may lie upon one another
                storages[key] = Held(_stored(archive, info).view(dtype))
            if storages[key].tensor.dtype != dtype:
                raise ValueError("two types of one storage")
            return storages[key]

        if names[main].file_size > LONGEST:
            raise ValueError("too much beside the tensors")
        return Unpickler(io.BytesIO(archive.read(main)), storage_of).load()


def _stored(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Tensor:
    """The bytes of an entry, whose check sum zipfile verifies as it reaches the end."""
    storage = torch.empty(info.file_size, dtype=torch.uint8)
    place: Any = storage.numpy()
    done = 0
    with archive.open(info) as entry:
        while chunk := entry.read(_CHUNK):
            place[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
            done += len(chunk)
    if done != len(storage):
        raise ValueError("cut off")
    return storage


def _legacy(file: IO[bytes], size: int) -> Any:
    """The format before 1.6: pickles one after another, then the storages."""
    file.seek(0)
    pickles = Limited(file)
    if Unpickler(pickles).load() != _MAGIC:
        raise ValueError("no checkpoint")
    Unpickler(pickles).load()  # protocol version
    Unpickler(pickles).load()  # the system's sizes of numbers
    storages: dict[str, Held] = {}

    def storage_of(pid: Any) -> Held:
        _, dtype, key, _, count, *view = pid
        if key not in storages:
            if type(count) is not int or count < 0:
                raise ValueError("no size")
            _bounded(storages, count * dtype.itemsize, size)
            storages[key] = Held(torch.zeros(count, dtype=dtype))
        if view and view[0] is not None:
            _, offset, length = view[0]
            return held(storages[key], offset, (length,), (1,))
        return storages[key]

    content = Unpickler(pickles, storage_of).load()
    for key in Unpickler(pickles).load():
        storage = storages[key].tensor
        (count,) = struct.unpack("<q", file.read(8))
        data = file.read(count * storage.dtype.itemsize) if count == storage.numel() else b""
        if len(data) != storage.numel() * storage.dtype.itemsize:
            raise ValueError("cut off")
        if data:
            storage.copy_(torch.frombuffer(bytearray(data), dtype=storage.dtype))
    return content


def _has_tensor(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_tensor, value.values()))
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(map(_has_tensor, value)))
