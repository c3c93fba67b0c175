"""Retrain the picks of a finished search, several at a time: see ``--help``."""

import sys

sys.path.pop(0)  # this folder, or Ray's processes would find tools/profile.py in place of the standard library's

from supernet.programs.retrain import program  # noqa: E402

if __name__ == "__main__":
    program()
