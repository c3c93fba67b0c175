"""Read MATLAB files of version 5, the annotations of MPII and LSP: arrays of numbers and of text, and cell arrays of these.

SciPy's reader follows whatever a file says into memory that is not its own: of damaged files one in thirty ended the process.
Source: "MAT-File Format", The MathWorks; level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .reading import read_bytes

Array = NDArray[Any]
_LARGEST = 2**26  # bytes, of the file and of what its compressed parts unpack to; MPII's and LSP's are below 20 MiB
_HEADER = 128
_MATRIX, _COMPRESSED, _UTF8, _UTF16, _UTF32 = 14, 15, 16, 17, 18
_CELL, _CHAR = 1, 4
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # as stored
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", _UTF8: "utf-8", _UTF16: "utf-16", _UTF32: "utf-32"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_DEEPEST = 4  # cells within one another


def read_matlab(file: Path, remedy: str) -> Mapping[str, Array]:
    """The variables of a MATLAB file by name; structures, sparse arrays and objects are left out.

    Numbers are an array of at least two dimensions, text is one of strings (the rows of a character array), a cell array is
    one of such arrays.

    Args:
        file: the file.
        remedy: ends the message.

    Raises:
        UserError: the file is missing, damaged, too large or of another kind (version 7.3 is HDF5).
    """
    if not file.is_file():
        raise UserError(f"{file}: no such file; {remedy}")
    try:
        return _variables(read_bytes(file, _LARGEST))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}; {remedy}") from error
    except (ValueError, struct.error, zlib.error, LookupError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{file}: is no MATLAB file of version 5 ({reason}); {remedy}") from error


def _variables(data: bytes) -> dict[str, Array]:
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or struct.unpack_from(f"{order}H", data, 124)[0] != 0x0100:
        raise ValueError("it does not begin as one")
    found: dict[str, Array] = {}
    left = _LARGEST
    for kind, body in _elements(data[_HEADER:], order):
        if kind == _COMPRESSED:
            body = _unpacked(body, left)
            left -= len(body)
            parts = _elements(body, order)
        else:
            parts = iter([(kind, body)])
        for inner, content in parts:
            name, value = _matrix(content, order) if inner == _MATRIX else ("", None)
            if value is not None:
                found[name] = value
    return found


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of the elements that lie one after another."""
    position = 0
    while position < len(data):
        kind, length = struct.unpack_from(f"{order}II", data, position)
        if kind >> 16:  # a small one: length and type in the first four bytes, the content in the other four
            kind, length, first = kind & 0xFFFF, kind >> 16, position + 4
            if length > 4:
                raise ValueError("an element of wrong length")
            position += 8
        else:
            first = position + 8
            position = first + length + (0 if kind == _COMPRESSED else -length % 8)
        if first + length > len(data):
            raise ValueError("it is cut off")
        yield kind, data[first : first + length]


def _unpacked(packed: bytes, left: int) -> bytes:
    """What a compressed part holds, if that is no more than any annotation has."""
    inflate = zlib.decompressobj()
    data = inflate.decompress(packed, left + 1)
    if len(data) > left:
        raise ValueError(f"it unpacks to more than {_LARGEST // 2**20} MiB")
    if not inflate.eof:
        raise ValueError("a compressed part is cut off")
    return data


@dataclass(frozen=True)
class _Head:
    """What stands before the content of an array."""

    kind: int
    imaginary: bool
    shape: tuple[int, ...]
    name: str


def _matrix(body: bytes, order: str, depth: int = 0) -> tuple[str, Array | None]:
    """Name and value of an array; None for what is left out."""
    parts = _elements(body, order)
    head = _head(parts, order)
    count = math.prod(head.shape)
    if head.kind == _CELL and depth < _DEEPEST:
        cells = [_matrix(content, order, depth + 1)[1] for kind, content in parts if kind == _MATRIX]
        if len(cells) != count:
            raise ValueError(f"{count} cells in {head.name!r}, {len(cells)} are there")
        value = np.empty(count, dtype=object)
        for index, cell in enumerate(cells):
            value[index] = cell
        return head.name, value.reshape(head.shape, order="F")
    if head.kind == _CHAR:
        kind, content = next(parts, (_UTF8, b""))
        return head.name, _strings(content, _TEXTS[kind], order, head)
    if head.kind not in _CLASSES or head.imaginary:
        return head.name, None
    kind, content = next(parts, (0, b""))
    stored = np.frombuffer(content, np.dtype(f"{order}{_NUMBERS[kind]}"))
    if stored.size != count:
        raise ValueError(f"{count} numbers in {head.name!r}, {stored.size} are there")
    return head.name, stored.reshape(head.shape, order="F").astype(_CLASSES[head.kind])


def _head(parts: Iterator[tuple[int, bytes]], order: str) -> _Head:
    found = [content for _, content in (next(parts, (0, b"")) for _ in range(3))]
    (flags,) = struct.unpack_from(f"{order}I", found[0])
    sides = np.frombuffer(found[1], f"{order}i4").tolist()
    if len(sides) < 2 or min(sides) < 0:
        raise ValueError("an array without shape")
    return _Head(flags & 0xFF, bool(flags & 0x0800), tuple(sides), found[2].decode("latin-1"))


def _strings(content: bytes, coding: str, order: str, head: _Head) -> Array:
    """The rows of a character array."""
    if coding in ("utf-16", "utf-32"):
        coding += "-le" if order == "<" else "-be"
    text = content.decode(coding)
    if len(text) != math.prod(head.shape):
        raise ValueError(f"{math.prod(head.shape)} characters in {head.name!r}, {len(text)} are there")
    letters = np.array(list(text), dtype="U1").reshape(head.shape, order="F")
    rows = ["".join(row) for row in letters.reshape(-1, head.shape[-1])]
    return np.array(rows, dtype=str).reshape(head.shape[:-1])
