"""Read and write architectures as JSON, for any frozen dataclass of numbers, texts, tuples and other dataclasses.

A dataclass becomes an object with its fields and, under ``type``, its name. Read back, everything is checked against the
fields' types, and what is wrong is named by its place: ``backbone.widths[1] is 'wide', it has to be a whole number``.
"""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .tree import ArchitectureError

T = TypeVar("T")
LARGEST = 100_000  # of any whole number in an architecture
DEEPEST = 10_000  # entries of a tuple


def to_json(arch: Any) -> Any:
    """A JSON value: objects, lists, numbers, texts, booleans."""
    if is_dataclass(arch) and not isinstance(arch, type):
        return {"type": type(arch).__name__} | {
            field.name: to_json(getattr(arch, field.name)) for field in fields(arch)
        }
    if isinstance(arch, tuple):
        return [to_json(item) for item in arch]
    return arch


def from_json(kind: type[T], data: Any) -> T:
    """The architecture of type ``kind`` that a JSON value describes.

    Raises:
        ArchitectureError: when something is missing, unknown or of a wrong type; one line that names the place.
    """
    arch: T = _read(kind, data, "")
    return arch


def _read(kind: Any, data: Any, path: str) -> Any:
    place = path or "architecture"
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _read_one_of([option for option in get_args(kind) if option is not type(None)], kind, data, path)
    if origin is Literal:
        if data not in get_args(kind) or isinstance(data, bool) != isinstance(get_args(kind)[0], bool):
            raise ArchitectureError(f"{place} is {data!r}, it has to be one of {', '.join(map(str, get_args(kind)))}")
        return data
    if origin is tuple:
        return _read_tuple(get_args(kind), data, path)
    if is_dataclass(kind):
        return _read_dataclass(kind, data, path)
    return _read_value(kind, data, place)


def _read_value(kind: Any, data: Any, place: str) -> Any:
    if kind is bool and isinstance(data, bool):
        return data
    if kind is int and isinstance(data, int) and not isinstance(data, bool) and 0 <= data <= LARGEST:
        return data
    if kind is float and isinstance(data, int | float) and not isinstance(data, bool) and abs(data) <= LARGEST:
        return float(data)
    if kind is str and isinstance(data, str):
        return data
    names = {int: f"a whole number from 0 to {LARGEST}", float: "a number", bool: "true or false", str: "a text"}
    raise ArchitectureError(f"{place} is {data!r}, it has to be {names[kind]}"[:300])


def _read_one_of(options: list[Any], kind: Any, data: Any, path: str) -> Any:
    if data is None and type(None) in get_args(kind):
        return None
    named = {option.__name__: option for option in options if isinstance(option, type) and is_dataclass(option)}
    if not named:
        return _read(options[0], data, path)
    name = data.get("type") if isinstance(data, dict) else None
    if not isinstance(name, str) or name not in named:
        raise ArchitectureError(f"{path or 'architecture'} is of type {name!r}, it has to be one of {', '.join(named)}")
    return _read(named[name], data, path)


def _read_tuple(items: tuple[Any, ...], data: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(data, list) or len(data) > DEEPEST:
        raise ArchitectureError(f"{path} is {data!r}, it has to be a list"[:300])
    if items[-1] is not Ellipsis and len(data) != len(items):
        raise ArchitectureError(f"{path} has {len(data)} entries, it has to have {len(items)}")
    kinds = [items[0]] * len(data) if items[-1] is Ellipsis else list(items)
    return tuple(
        _read(kind, item, f"{path}[{index}]") for index, (kind, item) in enumerate(zip(kinds, data, strict=True))
    )


def _read_dataclass(kind: Any, data: Any, path: str) -> Any:
    place = path or "architecture"
    if not isinstance(data, dict):
        raise ArchitectureError(f"{place} is {data!r}, it has to be an object with the fields of {kind.__name__}"[:300])
    if data.get("type", kind.__name__) != kind.__name__:
        raise ArchitectureError(f"{place} is of type {data['type']!r}, it has to be {kind.__name__}")
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    unknown = [key for key in data if key not in (*names, "type")]
    missing = [name for name in names if name not in data]
    if unknown or missing:
        wrong = f"has the unknown field {unknown[0]!r}" if unknown else f"lacks {missing[0]!r}"
        raise ArchitectureError(f"{place} {wrong}; {kind.__name__} has {', '.join(names)}"[:300])
    values = {name: _read(hints[name], data[name], f"{path}.{name}" if path else name) for name in names}
    return kind(**values)
