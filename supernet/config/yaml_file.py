"""Read YAML files within limits of size and depth: none unfolds, alias of alias, to more than a configuration has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError
from ..io.reading import read_text

_LARGEST_FILE = 2**16  # bytes, ten times the longest configuration of the field
_DEEPEST, _MOST_NODES = 32, 20_000


def read_yaml(path: Path) -> Any:
    """The value of a YAML file.

    Raises:
        UserError: it is missing, no regular file, too large, or not YAML; the line names the place.
    """
    try:
        return load_yaml(read_text(path, _LARGEST_FILE))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; give a YAML file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not text in UTF-8 (byte {error.start})") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise UserError(f"{path}{place}: not YAML: {problem}") from error


def load_yaml(text: str) -> Any:
    """The value of a YAML text; ValueError where it nests too deeply, or unfolds, alias of alias, to too much."""
    sizes: dict[str | None, int] = {}  # nodes below each anchor
    opened: list[tuple[str | None, int]] = []
    nodes = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.NodeEvent):
            nodes += sizes.get(event.anchor, 1) if isinstance(event, yaml.AliasEvent) else 1
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, nodes))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            sizes[anchor] = nodes - before
        if len(opened) > _DEEPEST or nodes > _MOST_NODES:
            raise ValueError(f"more than {_DEEPEST} levels or {_MOST_NODES} values")
    return plain(yaml.safe_load(text))  # plain also ends at an anchor that contains itself


def plain(value: Any) -> Any:
    """A configuration, or a part of one, as dicts and lists."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
