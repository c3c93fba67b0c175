"""Check commands of documents and settings files with the programs' own parsers. No program is started."""

from __future__ import annotations

import argparse
import io
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from configparser import ConfigParser
from contextlib import redirect_stderr
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

from yacs.config import CfgNode

from supernet.cli import main
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.io.run_folder import WEIGHTS
from supernet.pipeline.run import Run
from supernet.pose.datasets.kinds import kind_of
from tests.paths import ROOT

PROGRAMS = ("python ", "torchrun ", "pose-supernet ", "pytest ", "make ", "pip ")
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
    if words[:2] == ["python", "-m"]:
        words = ["python", words[2].replace(".", "/") + ".py", *words[3:]]
    if words[:2] == ["python", "-c"]:
        compile(words[2], command, "exec")
        return ""
    if words[0] == "pip":
        return _fault_of_pip(words[1:])
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


def _fault_of_pip(words: Sequence[str]) -> str:
    """What is wrong with ``pip install -c FILE -e ".[extras]"``."""
    declared = ConfigParser()
    declared.read(ROOT / "setup.cfg")
    known = declared["options.extras_require"]
    extras = [extra for word in words for extra in re.findall(r"[\w-]+", word.partition("[")[2])]
    constraints = [file for option, file in pairwise(words) if option == "-c" and not (ROOT / file).is_file()]
    return "".join(
        [f"no extra {extra}; " for extra in extras if extra not in known] + [f"no {f}; " for f in constraints]
    )


def missing_files(commands: Sequence[str]) -> dict[str, list[str]]:
    """Of commands given one after the other, the files and folders that neither exist nor were made by an earlier one.

    Every command has to be one of which :func:`fault` finds nothing.
    """
    made: set[Path] = set()
    missing = {}
    for command in commands:
        words = _words_of_a_program(command)
        if not words:
            continue
        options = _parsed(words)
        config = _config_of(options)
        wanted = [path for path in _read(options, config) if not _is_there(path, made)]
        if wanted:
            missing[command] = [str(path) for path in wanted]
        made |= set(_written(words[0], options, config))
    return missing


def _words_of_a_program(command: str) -> list[str]:
    """The words behind ``python``; of ``make demo`` those of its recipe; none of a command that names no files."""
    words = shlex.split(command, comments=True)
    if words[:1] == ["make"]:
        recipe = re.search(
            rf"^{words[1]}:.*\n\t\$\(BIN\)/(python \w+\.py .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE
        )
        words = shlex.split(recipe[1]) if recipe else []
    takes_options = words[:1] == ["python"] and (ROOT / words[1]).is_file()
    return words[1:] if takes_options and TAKES_OPTIONS.search((ROOT / words[1]).read_text()) else []


def _read(options: argparse.Namespace, config: CfgNode) -> Iterator[Path]:
    """The files and folders that a command needs."""
    own = {name: value for name, value in vars(options).items() if name not in ("out", "root", "csv", "markdown")}
    yield from (value for value in own.values() if isinstance(value, Path) and not value.is_absolute())
    superconfig = own.get("superconfig")
    if superconfig and superconfig.endswith(".json"):
        yield Path(superconfig)
    for name in (
        config.TEST.MODEL_FILE,
        config.MODEL.PRETRAINED,
        config.COST.LATENCY_TABLE,
        config.TEST.COCO_BBOX_FILE,
    ):
        if name:
            yield Path(name)
    if own.get("cfg") and not config.DATASET.SYNTHETIC.TRAIN:
        yield Path(config.DATASET.ROOT)


def _written(script: str, options: argparse.Namespace, config: CfgNode) -> Iterator[Path]:
    """The files and folders that a command leaves."""
    if getattr(options, "dry_run", False):
        return
    out = getattr(options, "out", None)
    if out is not None:
        yield from (out, out.with_suffix(".certificate.json"))
    if getattr(options, "int8", 0):
        yield out.with_name(f"{out.stem}-int8.onnx")
    if script.endswith("make_synthetic.py"):
        yield from (options.root, *(options.root / name for name in ("coco", "crowdpose", "mpii")))
    if not getattr(options, "cfg", None):
        return
    run = Run(config, options.cfg).paths
    if config.DATASET.SYNTHETIC.TRAIN:
        yield Path(config.DATASET.ROOT) / kind_of(config.DATASET.DATASET).name / "images"
    if script == "search.py" or (script == "train.py" and not options.superconfig):
        yield from (run.config, run.supernet_weights)
    if script == "search.py":
        yield from (run.path, *run.searched, run.journal, run.evaluated("found"), run.evaluated("random"))
        for name in config.SEARCH.BUDGETS:
            subnet = run.subnet(name)
            yield from (subnet.path, subnet.architecture, subnet.weights, subnet.certificate, subnet.metrics)
            yield subnet.retrained / WEIGHTS


def _is_there(path: Path, made: Collection[Path]) -> bool:
    return path in made or (ROOT / path).exists()


def _config_of(options: argparse.Namespace) -> CfgNode:
    cfg = getattr(options, "cfg", None)
    return load_config(ROOT / cfg if cfg else None, getattr(options, "overrides", []))


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
    config = _config_of(options) if given else load_config(None, getattr(options, "overrides", []))
    own = hasattr(options, "sheet")  # of the demo, which has weights that come with the package
    if cfg is None and hasattr(options, "weights") and not (own or options.weights or config.TEST.MODEL_FILE):
        return "neither --cfg nor --weights"
    if given and superconfig and not superconfig.startswith((FREE, "…", "output/")):
        Run(config, Path(cfg)).architecture(superconfig)
    return ""
