"""Rank correlation of a supernet's scores with those of networks trained alone: see ``--help``."""

import sys
from pathlib import Path

FOLDER = str(Path(__file__).resolve().parent)
if FOLDER in sys.path:  # for whatever imports the standard library's profile, it would be tools/profile.py
    sys.path.remove(FOLDER)

from supernet.programs.fidelity import program  # noqa: E402

if __name__ == "__main__":
    program()
