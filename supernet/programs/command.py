"""What every program does with an error of the user's: one line, exit code 2, no traceback."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from search_spaces import ArchitectureError

from ..config import load_config
from ..errors import UserError

Main = Callable[[Sequence[str] | None], None]


def run(main: Main, arguments: Sequence[str] | None = None) -> None:
    """Run a program's ``main``; what the user did wrong ends it with one line and exit code 2."""
    try:
        main(arguments)
    except (UserError, ArchitectureError) as error:
        sys.exit(_fail(error, 2))
    except KeyboardInterrupt:
        sys.exit(_fail("stopped; the same command goes on from here", 130))
    except BrokenPipeError:
        sys.exit(1)


def _fail(message: object, code: int) -> int:
    line = " ".join(str(message).split())
    print(f"error: {line}" if code == 2 else line, file=sys.stderr)  # noqa: T201
    return code


class _Parser(argparse.ArgumentParser):
    """Options may stand before, between and after ``KEY VALUE``."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's own, with options and positional arguments in any order."""
        return self.parse_intermixed_args(args, namespace)


def parser(description: str, examples: str, *, superconfig: str | None = None) -> argparse.ArgumentParser:
    """``--cfg FILE [--superconfig FILE] KEY VALUE …``, with examples below the help."""
    result = _Parser(
        description=description, epilog=f"examples:\n{examples}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument(
        "--cfg", type=Path, required=True, metavar="FILE", help="YAML file of the run, see experiments/"
    )
    if superconfig is not None:
        result.add_argument("--superconfig", metavar="ARCH", help=superconfig)
    result.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="configuration keys set on top of the file")
    return result


def config_of(options: argparse.Namespace) -> CfgNode:
    """The configuration that a command line asks for."""
    return load_config(options.cfg, options.overrides)
