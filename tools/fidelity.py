"""Rank correlation of a supernet's scores with those of networks trained alone: see ``--help``."""

from supernet.cli.fidelity import program

if __name__ == "__main__":
    program()
