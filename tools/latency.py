"""Measure the latency table of a space on this device and runtime, and how well it predicts: see ``--help``."""

from supernet.cli.latency import program

if __name__ == "__main__":
    program()
