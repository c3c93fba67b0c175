"""What every program does with its command line, and with an error of the user's: one line, exit code 2, no traceback."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import torch
from yacs.config import CfgNode

from search_spaces import ArchitectureError

from ..config.loading import keys_named, load_config
from ..config.ranges import Range
from ..errors import UserError
from ..pipeline.run import Run
from ..pipeline.weights import run_of_weights
from ..pose.datasets.loader import killed_worker

#: Where each program lies in the repository.
SCRIPTS = {
    "search": "search.py",
    "train": "train.py",
    "transfer": "weight_transfer.py",
    "valid": "valid.py",
    "report": "tools/plot_pareto.py",
    "check": "tools/check_data.py",
    **{
        name: f"tools/{name}.py"
        for name in ("profile", "export", "demo", "compare", "retrain", "latency", "fidelity", "gain")
    },
}
MODEL_FILE = "TEST.MODEL_FILE"
Main = Callable[[Sequence[str] | None], None]
PACKAGE = Path(__file__).resolve().parent
#: The settings files: of the installed package, or of the repository.
EXPERIMENTS = next((f for f in (PACKAGE / "experiments", PACKAGE.parents[1] / "experiments") if f.is_dir()), PACKAGE)


def run_program(main: Main, arguments: Sequence[str] | None = None) -> None:
    """Run a program's ``main``; what the user did wrong ends it with one line and exit code 2."""
    try:
        try:
            main(arguments)
        finally:
            sys.stdout.flush()  # what a closed pipe refuses is refused here, not when the interpreter ends
    except (UserError, ArchitectureError) as error:
        sys.exit(_fail(error, 2))
    except torch.cuda.OutOfMemoryError:
        sys.exit(
            _fail("the GPU's memory is full: lower TEST.IMAGES_PER_GPU or TRAIN.IMAGES_PER_GPU, or set DEVICE cpu", 2)
        )
    except KeyboardInterrupt:
        sys.exit(_fail("stopped; the same command goes on from here", 130))
    except RuntimeError as error:
        if (killed := killed_worker(error)) is None:
            raise
        sys.exit(_fail(killed, 2))
    except BrokenPipeError:
        _give_up_output()
        sys.exit(1)


def _give_up_output() -> None:
    """Whoever read the output has gone, as ``head`` does: what is still to be written goes nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: object, code: int) -> int:
    line = " ".join(str(message).split())
    print(f"error: {line}" if code == 2 else line, file=sys.stderr)  # noqa: T201
    return code


class _Parser(argparse.ArgumentParser):
    """Options may stand before, between and after ``KEY VALUE``; without any, the user learns what to begin with."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's own, with options and positional arguments in any order."""
        given = sys.argv[1:] if args is None else args
        needed = any((action.required and action.nargs != "*") or action.dest == "weights" for action in self._actions)
        if not given and needed:
            does, example = str(self.description).strip().partition("\n")[0], _first(str(self.epilog))
            self.exit(2, f"{does}\nBegin with: {example}   (all options: --help)\n")
        return self.parse_intermixed_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """One line, like every other error of the user's; an option that is the name of a key is told the key."""
        unknown = re.search(r"unrecognized arguments: --([\w-]+)", message)
        keys = keys_named(unknown[1]) if unknown else []
        advice = f"settings are KEY VALUE: {' or '.join(keys[:3])} VALUE" if keys else "--help says what there is"
        self.exit(2, f"error: {message}; {advice}\n")


def _first(epilog: str) -> str:
    """The first of the examples, in one line."""
    example, _, _ = epilog.partition("\n")[2].replace("\\\n", " ").partition("\n")
    return " ".join(example.split())


def bare_parser(description: str | None, examples: str) -> argparse.ArgumentParser:
    """A parser without options, with examples (indented lines) below the help, in the words of the installed command."""
    if installed():
        examples = re.sub(r"python (tools/)?\w+\.py", sys.argv[0], examples)
    return _Parser(
        description=description, epilog=f"examples:\n{examples}", formatter_class=argparse.RawDescriptionHelpFormatter
    )


def parser(
    description: str | None,
    examples: str,
    *,
    superconfig: str | None = None,
    dry_run: bool = False,
    weights: str | None = None,
) -> argparse.ArgumentParser:
    """``--cfg FILE [--superconfig FILE] [--weights FILE] [--dry-run] KEY VALUE …``, with examples below the help.

    With ``weights``, a file that describes itself will do in place of ``--cfg``.
    """
    result = bare_parser(description, examples)
    add_cfg(result, required=weights is None)
    if weights is not None:
        result.add_argument("--weights", type=Path, metavar="FILE", help=f"{weights}; the same as TEST.MODEL_FILE FILE")
    if superconfig is not None:
        result.add_argument("--superconfig", type=_superconfig, metavar="ARCH", help=superconfig)
    if dry_run:
        text = "print the plan and about how long it takes, do nothing"
        result.add_argument("--dry-run", action="store_true", help=text)
    return result


def whole(low: int, high: int) -> Callable[[str], int]:
    """Type of an option of argparse: a whole number from ``low`` to ``high``; another one is refused with both."""
    limits = Range(low, high)

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value not in limits:
            raise argparse.ArgumentTypeError(f"{text[:40]!r}: it takes a whole number, {limits}")
        return value

    return read


def add_cfg(command: argparse.ArgumentParser, *, required: bool) -> None:
    """``--cfg FILE`` and ``KEY VALUE …``."""
    text = "YAML file of the run, or one that comes with the programs, such as synthetic/litepose.yaml"
    command.add_argument("--cfg", type=settings_file, required=required, metavar="FILE", help=text)
    command.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="configuration keys set on top of the file")


def settings_file(name: str) -> Path:
    """The file of this name here, or else the one that comes with the programs."""
    own = EXPERIMENTS / name.removeprefix("experiments/")
    return own if own.is_file() and not Path(name).exists() else Path(name)


def _superconfig(name: str) -> str:
    return str(settings_file(name))


def run_of(options: argparse.Namespace) -> Run:
    """The run that a command line asks for: of ``--cfg``, or where it is left out, of the weights that describe themselves.

    Raises:
        UserError: there is no such file, with the nearest that comes with the programs; or the weights do not say what they
            are.
    """
    overrides = [*options.overrides]
    if getattr(options, "weights", None):
        overrides += [MODEL_FILE, str(options.weights)]
    if options.cfg is not None:
        run = Run(_config(options.cfg, overrides), options.cfg, options.overrides)
    elif weights := given_value(overrides, MODEL_FILE):
        run = run_of_weights(Path(weights), overrides)
    else:
        raise UserError("give the weights, TEST.MODEL_FILE FILE, or --cfg FILE")
    if getattr(options, "superconfig", None):
        run.architecture(options.superconfig)  # a wrong name is told before anything is read or drawn
    return run


def given_value(overrides: Sequence[str], name: str) -> str:
    """The value of a key among ``KEY VALUE`` pairs; the last one counts, "" where it is not given."""
    return next(
        (value for key, value in reversed(list(zip(overrides[::2], overrides[1::2], strict=False))) if key == name), ""
    )


def _config(path: Path, overrides: Sequence[str]) -> CfgNode:
    if not path.exists():
        known = [file.relative_to(EXPERIMENTS).as_posix() for file in sorted(EXPERIMENTS.glob("*/*.yaml"))]
        near = get_close_matches(str(path).removeprefix("experiments/"), known, n=1, cutoff=0.0)
        raise UserError(f"--cfg {path}: no such file; the nearest that comes with the programs is {near[0]}")
    return load_config(path, overrides)


def next_command(run: Run, program: str, *options: object, **keys: object) -> str:
    """A command that continues a run, with the ``KEY VALUE`` pairs that this one was given.

    Args:
        run: of ``--cfg``.
        program: of :data:`.main.PROGRAMS`.
        options: after ``--cfg FILE``.
        keys: set instead of what was given, "" to leave one out; ``__`` stands for a dot, ``TEST__MODEL_FILE``.
    """
    replaced = {name.replace("__", "."): str(value) for name, value in keys.items()}
    pairs = zip(run.overrides[::2], run.overrides[1::2], strict=False)
    kept = {name: value for name, value in pairs if name not in replaced}
    words = [word for pair in (kept | replaced).items() if pair[1] for word in pair]
    return shown_command(program, "--cfg", run.source, *options, *words)


def shown_command(program: str, *words: object) -> str:
    """A command as a shell takes it: of the installed program where that was called, of the repository's script otherwise."""
    start = f"pose-supernet {program}" if installed() else f"python {SCRIPTS[program]}"
    return " ".join([start, *(shlex.quote(str(word)) for word in words)])


def installed() -> bool:
    """Whether this is a program of the installed command, ``pose-supernet``."""
    return sys.argv[0].startswith("pose-supernet ")
