"""Parameters and multiply-accumulates of the networks of the papers, or of one architecture: see ``--help``."""

import sys

sys.path.pop(0)  # this folder: for whatever imports the standard library's profile, it would be this file

from supernet.programs.profile import program  # noqa: E402

if __name__ == "__main__":
    program()
