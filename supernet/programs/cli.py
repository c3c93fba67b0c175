"""``pose-supernet search|train|transfer|valid|export …``: the root scripts as one installed command."""

from __future__ import annotations

import sys

from . import export, search, train, transfer, valid
from .command import run

PROGRAMS = {
    "search": search.main,
    "train": train.main,
    "transfer": transfer.main,
    "valid": valid.main,
    "export": export.main,
}


def main() -> None:
    """The installed command."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in PROGRAMS:
        print(f"usage: pose-supernet {{{','.join(PROGRAMS)}}} --cfg FILE …  (each has --help)")  # noqa: T201
        sys.exit(0 if name in ("-h", "--help") else 2)
    sys.argv[:2] = [f"pose-supernet {name}"]
    run(PROGRAMS[name])
