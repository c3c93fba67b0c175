"""Commands as documents and settings files give them: would the programs accept them? No program is started."""

from __future__ import annotations

import argparse
import io
import re
import runpy
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any
from unittest.mock import patch

from supernet.cli import main
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.pipeline.run import Run
from tests.paths import ROOT

PROGRAMS = ("python ", "torchrun ", "pose-supernet ", "pytest ", "make ")
TAKES_OPTIONS = re.compile(r"argparse|program\(|run\(main")  # others would be run by looking at their options
FREE = "<free>"  # stands for what the reader fills in


class _Parsed(BaseException):
    """Ends a program as soon as it has read its command line."""


def _then_end(method: Callable[..., argparse.Namespace]) -> Callable[..., Any]:
    def parse(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> None:
        raise _Parsed(method(self, args, namespace))

    return parse


def fault(command: str) -> str:
    """What is wrong with a command that is given from the root of the repository; '' where nothing is.

    Script, options and files exist, keys and values are right, the superconfig is one of the family. ``<words>`` and a last
    ``…`` stand for what the reader fills in.
    """
    line = re.sub(r"<[^<>]*>", FREE, command.strip().removeprefix(".venv/bin/"))
    words = shlex.split(line, comments=True)
    if words[:3] == ["python", "-m", "pytest"]:
        words = words[2:]
    if words[:2] == ["python", "-c"]:
        compile(words[2], command, "exec")
        return ""
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return "".join(f"no target {word}; " for word in words[1:] if word not in targets)
    if words[0] == "pytest":
        files = [word.partition("::")[0] for word in words[1:] if word.startswith("tests")]
        return "".join(f"no {file}; " for file in files if not (ROOT / file).exists())
    if words[0] == "torchrun":
        words = ["python", *words[next(index for index, word in enumerate(words) if word.endswith(".py")) :]]
    if words[0] == "python":
        words = words[1:]
    if words[0] != "pose-supernet" and not (ROOT / words[0]).is_file():
        return f"no {words[0]}"
    if words[0].endswith(".py") and not TAKES_OPTIONS.search((ROOT / words[0]).read_text()):
        return "".join(f"{words[0]} takes no {word}; " for word in words[1:])
    if words[-1] == "…" and not words[-2].startswith("--"):
        words.pop()
    try:
        return _fault_of(_parsed(words))
    except UserError as error:
        return str(error)


def _parsed(words: list[str]) -> argparse.Namespace:
    """What the program's own parser makes of the words.

    Raises:
        UserError: with the parser's complaint.
    """
    complaint = io.StringIO()
    parser = argparse.ArgumentParser
    with (
        patch.object(parser, "parse_args", _then_end(parser.parse_args)),
        patch.object(parser, "parse_intermixed_args", _then_end(parser.parse_intermixed_args)),
        patch.object(sys, "argv", words),
        patch.object(sys, "path", ["", *sys.path]),
        redirect_stderr(complaint),
    ):
        try:
            if words[0] == "pose-supernet":
                main.main()
            else:
                runpy.run_path(words[0], run_name="__main__")
        except _Parsed as end:
            options: argparse.Namespace = end.args[0]
            return options
        except SystemExit:
            raise UserError(complaint.getvalue().strip().rpartition("\n")[2]) from None
    raise UserError(f"{words[0]} reads no command line")


def _fault_of(options: argparse.Namespace) -> str:
    cfg, superconfig = getattr(options, "cfg", None), getattr(options, "superconfig", None)
    given = cfg is not None and str(cfg) not in (FREE, "…")
    if given and not (ROOT / cfg).is_file():
        return f"no {cfg}"
    config = load_config(ROOT / cfg if given else None, getattr(options, "overrides", []))
    if given and superconfig and not superconfig.startswith((FREE, "…", "output/")):
        Run(config, Path(cfg)).architecture(superconfig)
    return ""
