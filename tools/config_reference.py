"""Write docs/config.md: every configuration key with its default, unit and meaning, from supernet/config/schema.py.

python tools/config_reference.py [--out docs/config.md]
"""

from __future__ import annotations

import argparse
import ast
import io
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import supernet.config.schema
from supernet.cli.command import run_program
from supernet.config.foreign import FOREIGN
from supernet.config.ranges import RANGES, range_of
from supernet.config.rules import ALIASES, CHOICES, ITEMS
from supernet.config.schema import DEFAULTS, STAGE
from supernet.cost.costs import COSTS
from supernet.io.files import write_atomically
from supernet.report.markdown import markdown_table

ROOT = Path(__file__).resolve().parent.parent
STAGES = "SUPERNET.STAGES"
HEAD = """# Every configuration key

Written by `python tools/config_reference.py` from `supernet/config/schema.py`; do not change it by hand.

A run is one YAML file, which names only what differs from the defaults below. Any key can also be set on the command line, as
`KEY VALUE` pairs behind the options; a value is YAML:

```
python train.py --cfg experiments/synthetic/litepose.yaml TRAIN.LR 2e-3 DATASET.OUTPUT_SIZE '[64, 128]' SEARCH.BUDGETS.watch 4e7
```

An unknown key, or a value of a wrong type, ends the program with one line that names the nearest right key; so does a number
outside of the range that stands behind its meaning in brackets (of each number, where the key is a list). The keys are those of
HRNet, HigherHRNet, LitePose and EfficientHRNet, whose files load unchanged, and this toolkit's own.
The keys as they were used in a run are in `config.yaml` of its folder.
"""


def reference() -> str:
    """The whole document."""
    comments = comments_of(Path(supernet.config.schema.__file__).read_text(encoding="utf-8"))
    single = {key: value for key, value in DEFAULTS.items() if not isinstance(value, dict)}
    parts = [HEAD, "## The run\n", _table(single, "", comments)]
    for node, keys in DEFAULTS.items():
        if isinstance(keys, dict):
            about = comments.get(node, "")
            parts += (
                [f"## {node}\n"]
                + ([f"{about[:1].upper()}{about[1:]}.\n"] if about else [])
                + [_table(keys, node, comments)]
            )
    parts += [f"## Items of {STAGES}\n", _table(STAGE, f"{STAGES}[0]", comments)]
    others = ", ".join(f"`{name}`" for name in FOREIGN)
    parts.append(
        f"## Keys of other projects\n\nA file may have these; they change nothing here and are dropped: {others}.\n"
    )
    return "\n".join(parts)


def comments_of(source: str) -> dict[str, str]:
    """What the comments in the source of the defaults say of each key; of a node, the one in its first line.

    The limits on costs are described in the table of costs.
    """
    found: dict[str, str] = {}
    comments = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }

    def walk(node: ast.expr, prefix: str) -> None:
        assert isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:  # the limits, from the table of costs
                found.update({f"{prefix}{cost.limit}": cost.meaning for cost in COSTS.values()})
                continue
            assert isinstance(key, ast.Constant)
            name, first = f"{prefix}{key.value}", key.lineno
            nested = isinstance(value, ast.Dict) and bool(value.keys)
            last = first if nested else value.end_lineno or first
            found[name] = " ".join(comments[line] for line in range(first, last + 1) if line in comments)
            if nested:
                walk(value, f"{name}.")

    for statement in ast.parse(source).body:
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            if ast.unparse(statement.target) == "DEFAULTS":
                walk(statement.value, "")
            elif ast.unparse(statement.target) == "STAGE":
                walk(statement.value, f"{STAGES}[0].")
    return found


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and default of every key."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _table(node: Mapping[str, Any], path: str, comments: Mapping[str, str]) -> str:
    rows = [
        {"key": f"`{name}`", "default": _default(name, value), "meaning": _meaning(name, comments)}
        for name, value in leaves(node, f"{path}." if path else "")
    ]
    return markdown_table(pd.DataFrame(rows)) + "\n"


def _default(name: str, value: Any) -> str:
    if name.startswith(f"{STAGES}[") and isinstance(value, list):
        value = []  # the schema shows the type of the items
    return "`" + yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip() + "`"


def _meaning(name: str, comments: Mapping[str, str]) -> str:
    text = comments.get(name, "")
    if name in CHOICES and not all(choice in text for choice in CHOICES[name]):
        text += f"; one of {', '.join(CHOICES[name])}"
    node, _, key = name.rpartition(".")
    others = [
        alias.rpartition(".")[2] for alias, real in ALIASES.items() if alias.startswith(f"{node}.") and real == key
    ]
    if others and others[0] not in text:
        text += f"; {others[0]} means the same"
    if name == STAGES:
        text += f"; keys of an item: [below](#items-of-{STAGES.lower().replace('.', '')})"
    elif isinstance(ITEMS.get(name), int) and name not in RANGES:
        text += "; names are yours"
    limits = range_of(name)
    return text if limits is None else f"{text} ({limits})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "config.md", metavar="FILE")
    options = parser.parse_args(arguments)
    write_atomically(options.out, reference())
    print(options.out)


if __name__ == "__main__":
    run_program(main)
