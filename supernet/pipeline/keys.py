"""Fields that are keys of the configuration: a frozen dataclass is read from it, and turned into what a result was made with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import field, fields, is_dataclass
from typing import Any, TypeVar

from yacs.config import CfgNode

from ..config.yaml_file import plain

S = TypeVar("S")
When = Callable[[CfgNode], bool]


def key(name: str, when: When | None = None) -> Any:
    """A field that is this key of the configuration; None where ``when`` says that it is not used."""
    return field(metadata={"key": name, "when": when})


def given(name: str, default: Any = ...) -> Any:
    """A field that is no key; ``name`` is what messages call it."""
    if default is ...:
        return field(metadata={"key": name})
    return field(metadata={"key": name}, default=default)


def read(step: type[S], cfg: CfgNode, **values: Any) -> S:
    """A step, or a part of one, from the configuration and what is given besides."""
    for item in fields(step):  # type: ignore[arg-type]  # S is one of the dataclasses here
        if item.name in values or "when" not in item.metadata:
            continue
        used = item.metadata["when"] is None or item.metadata["when"](cfg)
        values[item.name] = value_of(cfg, item.metadata["key"]) if used else None
    return step(**values)


def value_of(cfg: Any, name: str) -> Any:
    """The value of a key such as ``TRAIN.LR``, as plain Python values."""
    for part in name.split("."):
        cfg = cfg[part]
    return plain(cfg)


def provenance(step: Any) -> dict[str, Any]:
    """The inputs of a step by key, as JSON values; parts are merged into it, and what is not used is left out."""
    found: dict[str, Any] = {}
    for item in fields(step):
        value = getattr(step, item.name)
        if is_dataclass(value):
            found |= provenance(value)
        elif value is not None:
            found[item.metadata["key"]] = json.loads(json.dumps(value))
    return found
