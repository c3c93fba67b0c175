"""Read safetensors files: 8 bytes with the length of a JSON header, the header, and the numbers of the tensors.

Source: the format's description, https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UserError

SUFFIX = ".safetensors"
_LARGEST_HEADER = 100_000_000  # bytes, the format's own limit
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def is_safetensors(path: Path) -> bool:
    """Whether a file has this format, whatever its name ends in."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= _LARGEST_HEADER


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors by name.

    Raises:
        UserError: The file contradicts itself or is cut off.
    """
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    try:
        if length > min(_LARGEST_HEADER, len(data) - 8):
            raise ValueError("the header is longer than the file")
        header = json.loads(bytes(data[8 : 8 + length]))
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return {name: _tensor(entry, data, 8 + length) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: is not a safetensors file, or is damaged ({error}); fetch it again") from None


def _tensor(entry: dict[str, object], data: bytearray, start: int) -> Tensor:
    """One tensor, if it lies within the file."""
    shape, offsets, dtype = entry["shape"], entry["data_offsets"], _DTYPES[str(entry["dtype"])]
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        raise ValueError("a tensor without shape or place")
    if any(type(number) is not int or number < 0 for number in (*shape, *offsets)):
        raise ValueError("a shape or place that is no whole numbers")
    first, last = offsets
    if start + last > len(data) or last - first != math.prod(shape) * dtype.itemsize:
        raise ValueError("a tensor that is not where the header says")
    if not math.prod(shape):
        return torch.zeros(shape, dtype=dtype)
    # a copy, since its place in the file need not suit its type
    return torch.frombuffer(data[start + first : start + last], dtype=dtype).reshape(shape)
