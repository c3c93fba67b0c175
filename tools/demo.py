"""Find people on pictures or in a video: see ``--help``."""

import sys

sys.path.pop(0)  # this folder: for whatever imports the standard library's profile, it would be tools/profile.py

from supernet.programs.demo import program  # noqa: E402

if __name__ == "__main__":
    program()
