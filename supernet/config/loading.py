"""Reads YAML files and ``KEY VALUE`` pairs over the defaults, and says in one line what is wrong with them.

yacs holds the tree. The merging is ours: yacs names neither the file nor the nearest right key, and skips over lists.
"""

from __future__ import annotations

import ast
import copy
import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from supernet.config.budgets import read_budget
from supernet.config.foreign import is_foreign
from supernet.config.rules import ALIASES, FILE_OR_NODE, FREE, ITEMS, check_together, check_value
from supernet.config.schema import DEFAULTS
from supernet.config.yaml_file import load_yaml, plain, read_yaml
from supernet.errors import UserError

_COMMAND_LINE = "command line"
_STAGE_NAME = re.compile(r"[\w.-]+( [\w.-]+){0,9}")
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def default_config() -> CfgNode:
    """A fresh, changeable tree of the defaults; every key is explained in ``supernet/config/schema.py``."""
    cfg = CfgNode(copy.deepcopy(DEFAULTS))
    for path in (*FREE, *ITEMS):
        node = cfg
        for key in path.split("."):
            node = node[key]
        if isinstance(node, CfgNode):
            node.set_new_allowed(True)
    return cfg


def load_config(
    path: Path | None, overrides: Sequence[str] = (), *, base: Mapping[str, Any] | None = None, base_name: str = ""
) -> CfgNode:
    """The defaults, with a YAML file over them, and ``KEY VALUE`` pairs over both; frozen.

    Args:
        path: YAML file in the schema of HRNet, HigherHRNet, LitePose and this toolkit, or None for the defaults alone.
        overrides: ``["TRAIN.LR", "4e-3", "TEST.SCALE_FACTOR", "[0.5, 1, 2]"]``; values are YAML.
        base: a configuration, as :func:`plain` has it, between the defaults and the file.
        base_name: what messages call it.

    Raises:
        UserError: No such file, not YAML, an unknown key, a value of the wrong type, or two that exclude one another.
    """
    cfg = default_config()
    if base is not None:
        _merge(cfg, DEFAULTS, base, "", base_name)
    if path is not None:
        _merge(cfg, DEFAULTS, read_yaml(path), "", str(path))
    for word in overrides:
        key, sign, value = word.partition("=")
        if sign and key in dict(_names(DEFAULTS)):
            raise UserError(
                f"{_COMMAND_LINE}: overrides come as KEY VALUE pairs; in place of {word} write {key} {value}"
            )
    if len(overrides) % 2:
        raise UserError(
            f"{_COMMAND_LINE}: overrides come as KEY VALUE pairs; {overrides[-1]!r} is left without a value"
        )
    for key, text in zip(overrides[::2], overrides[1::2], strict=True):
        if is_foreign(key):
            raise UserError(f"{_COMMAND_LINE}: {key} is a key of other projects and changes nothing here; leave it out")
        _merge(cfg, DEFAULTS, _override(key, text), "", _COMMAND_LINE)
    check_together(cfg)
    cfg.freeze()
    return cfg


def dump(cfg: CfgNode) -> str:
    """The configuration as YAML, in the order of the defaults; ``load_config`` reads it back to an equal one."""
    text: str = yaml.safe_dump(plain(cfg), sort_keys=False, default_flow_style=None, width=120)
    return text


def _override(key: str, text: str) -> dict[str, Any]:
    """``A.B.C`` and a value as ``{A: {B: {C: value}}}``, which is merged like a file."""
    example: Any = DEFAULTS
    keys = key.split(".")
    for depth, part in enumerate(keys):
        example = example.get(part) if isinstance(example, dict) else None
        if ".".join(keys[: depth + 1]) in ITEMS and depth + 1 < len(keys):  # the rest is one name of the user's choice
            keys[depth + 1 :] = [".".join(keys[depth + 1 :])]
            break
    value = _decode(text)
    node = key in FILE_OR_NODE and isinstance(value, Mapping)
    quoted = len(text.strip()) > 1 and text.strip()[0] in "'\"" and text.strip()[0] == text.strip()[-1]
    if isinstance(example, str) and not node and not (quoted and isinstance(value, str)):  # OUTPUT_DIR 2024, or "a #b"
        value = text
    nested: dict[str, Any] = {keys[-1]: value}
    for part in reversed(keys[:-1]):
        nested = {part: nested}
    return nested


def _decode(text: str) -> Any:
    """What a string means: YAML, or a Python literal (to YAML 1.1, ``(0,)`` and ``4e-3`` are strings), or itself."""
    try:
        value = load_yaml(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        value = text
    if not isinstance(value, str):
        return value
    try:
        literal = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    return literal if isinstance(literal, (bool, int, float, str, list, tuple, type(None))) else value


def _merge(node: Any, example: Mapping[str, Any], given: Any, path: str, source: str) -> None:
    """Put ``given`` over ``node``; ``example``, the same node of the defaults, says which keys and types are right."""
    if given is None:  # "DATASET:" with nothing below it
        return
    if not isinstance(given, Mapping):
        raise UserError(f"{source}: {path or 'the file'} takes a mapping of keys to values, not {_show(given)}")
    for key, value in given.items():
        alias = ALIASES.get(f"{path}.{key}")
        if alias is not None:
            if alias in given:
                raise UserError(
                    f"{source}: {path}.{key} and {path}.{alias} are two names of one key; keep {path}.{alias}"
                )
            key = alias
        key = str(key)
        name = f"{path}.{key}" if path else key
        if path == "SEARCH.BUDGETS":
            value = _decode(value) if isinstance(value, str) else value
            node[key] = read_budget(key, value, partial(_coerced, source), source)
        elif path in ITEMS:
            node[key] = _coerce(value, ITEMS[path], name, source)
        elif path in FREE:
            node[key] = _free(value, node.get(key))
        elif key not in example and is_foreign(name):
            continue
        elif key not in example:
            raise UserError(f"{source}: unknown key {name}; {_advice(key, path, example)}")
        elif isinstance(example[key], dict):
            _merge(node[key], example[key], value, name, source)
        else:
            node[key] = _coerce(value, example[key], name, source)


def _coerced(source: str, value: Any, example: Any, name: str) -> Any:
    return _coerce(value, example, name, source)


def _coerce(value: Any, example: Any, name: str, source: str) -> Any:
    """``value`` as the type of ``example``, where nothing is lost by it."""
    if isinstance(example, dict):
        return _item(value, example, name, source)
    if isinstance(value, str) and not isinstance(example, str):
        value = _decode(value)
    if name in FILE_OR_NODE and isinstance(value, Mapping):
        value = json.dumps(plain(value))
    if isinstance(example, list):
        return _coerce_list(value, example, name, source)
    if isinstance(example, str) and value is None:
        value = ""
    if name == "DATASET.FLIP" and isinstance(value, bool):
        value = 0.5 if value else 0.0
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
    if isinstance(example, float) and number:
        value = float(value)
    elif type(example) is int and number and value == int(value):  # 5e8 MACs
        value = int(value)
    if type(value) is not type(example) or (type(value) is float and not number):  # not a number: nan, inf
        raise UserError(f"{source}: {name} takes {_WORDS[type(example)]}, not {_show(value)}")
    return check_value(name, value, source)


def _coerce_list(value: Any, example: list[Any], name: str, source: str) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        raise UserError(f"{source}: {name} takes a list, not a mapping")
    items = list(value) if isinstance(value, (list, tuple)) else [value]  # OUTPUT_SIZE: 128, as HigherHRNet allows
    if name not in ITEMS and not example:  # options of one path: the space itself knows what they are
        return items
    item = ITEMS[name] if name in ITEMS else example[0]
    return [_coerce(entry, item, f"{name}[{index}]", source) for index, entry in enumerate(items)]


def _item(value: Any, example: dict[str, Any], name: str, source: str) -> CfgNode:
    """One stage of the shrinking; the one list in ``example`` shows the type of its items and starts empty."""
    node = CfgNode({key: [] if isinstance(default, list) else default for key, default in example.items()})
    _merge(node, example, value, name, source)
    if not _STAGE_NAME.fullmatch(node["name"]):
        named = f"has the name {node['name']!r}" if node["name"] else "has no name"
        raise UserError(f"{source}: {name} {named}; add name: and a word for the log, of letters, digits and -_.")
    if (node["steps"] > 0) == (node["epochs"] > 0):
        raise UserError(f"{source}: {name} ({node['name']}) needs either steps or epochs, above 0")
    node.freeze()
    return node


def _free(value: Any, present: Any) -> Any:
    """A value under a node that takes any keys; mappings are merged into what is there."""
    if isinstance(value, Mapping):
        node = present if isinstance(present, CfgNode) else CfgNode(new_allowed=True)
        for key, item in value.items():
            node[key] = _free(item, node.get(key))
        return node
    return _decode(value) if isinstance(value, str) else value


def _advice(key: str, path: str, example: Mapping[str, Any]) -> str:
    """The nearest right name, or else the names that there are."""
    prefix = f"{path}." if path else ""
    initials = "".join(word[:1] for word in key.upper().split("_"))
    everywhere = dict(_names(DEFAULTS))
    same_name = [name for name, leaf in everywhere.items() if leaf == key.upper()]
    if key.upper() in example:
        guess = prefix + key.upper()
    elif same_name:
        guess = " or ".join(same_name[:3])
    elif len(initials) > 1 and initials in example:  # LEARNING_RATE is LR, WEIGHT_DECAY is WD
        guess = prefix + initials
    elif close := difflib.get_close_matches(key, example, n=1):
        guess = prefix + close[0]
    elif close := difflib.get_close_matches(prefix + key, everywhere, n=1, cutoff=0.75):
        guess = close[0]
    else:
        return f"the keys there are {', '.join(example)}"
    return f"did you mean {guess}?"


def keys_named(word: str) -> list[str]:
    """The configuration keys that an option such as ``epochs`` or ``batch-size`` may mean; those of a training first."""
    wanted = re.sub("[^A-Z]", "", word.upper()).removesuffix("S")
    known = [*_names(DEFAULTS), *((f"{old.rpartition('.')[0]}.{new}", old) for old, new in ALIASES.items())]
    found = {name for name, leaf in known if wanted and wanted in re.sub("[^A-Z]", "", leaf.rpartition(".")[2])}
    return sorted(found, key=lambda name: (not name.startswith("TRAIN."), len(name)))


def _names(example: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in example.items():
        yield prefix + key, key
        if isinstance(value, dict):
            yield from _names(value, f"{prefix}{key}.")


def _show(value: Any) -> str:
    text = "a mapping" if isinstance(value, Mapping) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
