"""Write docs/cli.md: every command with its options, defaults and examples, from the programs' own parsers.

python tools/cli_reference.py
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd

from supernet.cli.command import SCRIPTS, bare_parser, run_program
from supernet.cli.main import PROGRAMS
from supernet.io.files import write_atomically
from supernet.report.markdown import markdown_table

ROOT = Path(__file__).resolve().parent.parent
#: Scripts of the repository that the installed command does not have.
TOOLS = ("draw_poses", "convert_checkpoint", "make_synthetic", "tabulate", "convert_labels")
HEAD = """# Command line

Written by `python tools/cli_reference.py` from the programs' own parsers; do not change it by hand.

Every program is a script of the repository (`python search.py`) and a part of the installed command (`pose-supernet search`),
which works in any folder. Both take the same arguments.

- **`--cfg FILE`**: the YAML file of the run. `synthetic/litepose.yaml` finds the file that comes with the package, in any folder.
- **`KEY VALUE`** pairs set any key of the configuration on top of the file: `TRAIN.LR 2e-3 THREADS 1`. All keys are in
  [config.md](config.md).
- **`--superconfig ARCH`**: an architecture: a JSON file (`subnets/S/arch.json`) or a published name (`litepose-XS`).
- A program that was stopped (Ctrl-C, `kill`) goes on with the same command. What is finished is not done again.
- A wrong input ends with one line, `error: …`, that names the remedy, and exit code 2; Ctrl-C ends with exit code 130.
- `train.py`, `valid.py` and `weight_transfer.py` run in several processes under torchrun:
  `torchrun --nproc_per_node 4 train.py --cfg synthetic/litepose.yaml`.

## Which program when
"""


class _Found(BaseException):
    """Carries a program's parser out of its ``main``."""


def parser_of(main: Callable[[list[str]], Any], name: str) -> argparse.ArgumentParser:
    """The parser that a program's ``main`` makes, taken when it is about to parse; nothing else of the program runs."""

    def found(self: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        raise _Found(self)

    with (
        patch.object(argparse.ArgumentParser, "parse_args", found),
        patch.object(argparse.ArgumentParser, "parse_intermixed_args", found),
        patch.object(sys, "argv", [name]),
    ):
        try:
            main(["anything"])
        except _Found as end:
            parser: argparse.ArgumentParser = end.args[0]
            return parser
    raise AssertionError(f"{name} parses no command line")


def reference() -> str:
    """The whole document."""
    overview, parts = [], []
    for name, does in PROGRAMS.items():
        script = SCRIPTS[name]
        overview.append({"program": f"[`{name}`](#{name})", "script": f"`{script}`", "what it does": does})
        main = importlib.import_module(f"supernet.cli.{name}").main
        parts.append(_section(name, f"`pose-supernet {name}` or `python {script}`", parser_of(main, script)))
    for name in TOOLS:
        parser = parser_of(_tool(name).main, f"tools/{name}.py")
        does = _sentence(str(parser.description))
        overview.append({"program": f"[`{name}`](#{name})", "script": f"`tools/{name}.py`", "what it does": does})
        parts.append(_section(name, f"`python tools/{name}.py`", parser))
    return "\n".join([HEAD, markdown_table(pd.DataFrame(overview)), "", *parts])


def _tool(name: str) -> Any:
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _sentence(text: str) -> str:
    """The first sentence, without its stop, beginning small."""
    first = re.split(r"\.\s", " ".join(text.split()) + " ")[0]
    return first[:1].lower() + first[1:]


def _section(name: str, calls: str, parser: argparse.ArgumentParser) -> str:
    """Heading, description, examples and options of a program."""
    about = str(parser.description).strip()
    examples = "\n".join(line.removeprefix("  ") for line in str(parser.epilog).partition("\n")[2].splitlines())
    rows = [_row(action) for action in parser._actions if action.dest != "help"]  # noqa: SLF001  # there is no public list
    table = markdown_table(pd.DataFrame(rows))
    return f"## {name}\n\n{calls}\n\n{about}\n\n```\n{examples}\n```\n\n{table}\n"


def _row(action: argparse.Action) -> dict[str, str]:
    """An option or argument as a row."""
    value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    if action.choices:
        value = "{" + ",".join(str(choice) for choice in action.choices if choice != "") + "}"
    names = f"{', '.join(action.option_strings)} {value}".strip()
    default = action.default
    if isinstance(default, Path) and default.is_absolute():
        default = default.relative_to(ROOT)
    meaning = re.sub(rf" ?\((default )?{re.escape(str(default))}\)$", "", str(action.help or "") % {"default": default})
    shown = "" if action.nargs == 0 or default in (None, "", []) else f"`{default}`"
    return {
        "argument": f"`{names}`",
        "default": "required" if action.required and action.nargs != "*" else shown,
        "meaning": meaning,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, write the document."""
    command = bare_parser(__doc__, "  python tools/cli_reference.py")
    command.add_argument("--out", type=Path, default=ROOT / "docs" / "cli.md", metavar="FILE", help="(docs/cli.md)")
    out = command.parse_args(arguments).out
    write_atomically(out, reference())
    print(out)


if __name__ == "__main__":
    run_program(main)
