"""``pose-supernet search|train|…``: the root scripts and the tools as one installed command that works in any folder."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version

#: The programs, modules of this package, and what each does.
PROGRAMS = {
    "search": "the whole loop: train a supernet, search it, retrain and compare the best networks",
    "train": "train the supernet, or one architecture",
    "transfer": "extract one architecture from a trained supernet",
    "check": "check a dataset before training, and draw samples of it",
    "valid": "evaluate weights by the dataset's official metric",
    "profile": "count parameters, multiply-accumulates and memory",
    "export": "write a network as ONNX, certified against PyTorch",
    "demo": "find people on images or in a video",
    "report": "draw and describe a run again from what is in its folder",
    "compare": "put several runs on one page",
    "retrain": "retrain the selected subnets of a finished search, several at a time",
    "latency": "measure a space's latency on this device",
    "fidelity": "compare the supernet's ranking with stand-alone trainings",
    "gain": "compare the selected subnets with random networks of equal MACs",
}


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)  # noqa: T201
    return 2


def main() -> None:
    """The installed command; what it needs is imported when a program is named."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name == "--version":
        sys.exit(print(f"pose-supernet {version('pose-supernet')}"))  # noqa: T201
    if name and name not in PROGRAMS and not name.startswith("-"):
        near = get_close_matches(name, PROGRAMS, n=1, cutoff=0.0)
        sys.exit(_fail(f"{name!r} is no program; the nearest is {near[0]}; pose-supernet --help lists them"))
    if name not in PROGRAMS:
        print("usage: pose-supernet PROGRAM …  (each has --help)\n")  # noqa: T201
        print("\n".join(f"  {program:10}{does}" for program, does in PROGRAMS.items()))  # noqa: T201
        print("\nexamples:\n  pose-supernet search --cfg synthetic/litepose.yaml")  # noqa: T201
        sys.exit(0 if name in ("-h", "--help") else 2)
    sys.argv[:2] = [f"pose-supernet {name}"]
    program = import_module(f".{name}", __package__).main
    import_module(".command", __package__).run_program(program)
