"""Parameters and multiply-accumulates of the networks of the papers, or of one architecture: see ``--help``."""

import importlib
import sys
from pathlib import Path

if __name__ == "profile":  # a program of this folder is running, and something wants the standard library's profile
    folder = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != folder]
    del sys.modules["profile"]
    importlib.import_module("profile")

if __name__ == "__main__":
    from supernet.cli.profile import program

    program()
