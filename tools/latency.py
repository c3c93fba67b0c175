"""Measure the latency table of a space on this device and runtime, and how well it predicts: see ``--help``."""

import sys

sys.path.pop(0)  # this folder: PyTorch's exporter imports the standard library's profile, which would be the one here

from supernet.programs.latency import program  # noqa: E402

if __name__ == "__main__":
    program()
