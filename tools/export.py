"""See ``python tools/export.py --help``."""

import sys

sys.path.pop(0)  # this folder: PyTorch's exporter imports the standard library's profile, which would be the one here

from supernet.programs.export import program  # noqa: E402

if __name__ == "__main__":
    program()
