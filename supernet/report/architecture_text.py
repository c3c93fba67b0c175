"""The text of an architecture for tooltips and pages, from its JSON: objects with named fields, lists, values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

DOT = " · "


def architecture_lines(arch: Any) -> list[str]:
    """Every field of an architecture as lines of text.

    Fields with a value come first, then one line per element of each list of parts. Consecutive blocks share a line:
    ``stages 2: width 24 · blocks 3 · kernel 3 5 3``.

    Args:
        arch: a JSON value; ``type`` entries, which name the class, are left out.
    """
    return _lines(arch, "")


def _lines(node: Any, name: str) -> list[str]:
    if not isinstance(node, dict):
        return [f"{name} {_joined(node, '')}".strip()]
    values = {
        key: value
        for key, value in node.items()
        if key != "type" and not isinstance(value, dict) and not _has_parts(value)
    }
    head = DOT.join(f"{key} {_joined(value, key)}" for key, value in values.items())
    lines = [f"{name}: {head}" if name else head] if head else []
    for key, value in node.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{name} {key}".strip())
        elif _has_parts(value):
            lines += [f"{key} {index}: {_row(part)}" for index, part in enumerate(value, 1)]
    return lines


def _row(part: Any) -> str:
    """One element of a list: its own fields, then those of its blocks side by side."""
    if isinstance(part, dict):
        columns = _columns([part])
    elif _has_parts(part):
        columns = {"parts": str(len(part)), **_columns(part)}
    else:
        return _joined(part, "")
    return DOT.join(f"{key} {value}" for key, value in columns.items())


def _columns(parts: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The values of each field in all parts, by the field's name; a bar separates the parts."""
    columns: dict[str, str] = {}
    for key in (key for key in parts[0] if key != "type"):
        values: list[Any] = [part.get(key) for part in parts]
        lists = [value for value in values if _has_parts(value)]
        if lists:
            columns[key] = " ".join(str(len(value)) for value in lists)
            below = [_columns(value) for value in lists if isinstance(value[0], dict)]
            for name in below[0] if below else ():
                columns[name] = " | ".join(column.get(name, "") for column in below)
        else:
            columns[key] = " ".join(_joined(value, key) for value in values)
    return columns


def _has_parts(value: Any) -> bool:
    """Whether it is a list of objects or of lists."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], (dict, list))


def _joined(value: Any, key: str) -> str:
    if isinstance(value, list):
        return (" × " if key == "resolution" else " ").join(map(str, value)) or "none"
    return str(value)
