"""Rank correlation of a supernet's scores with those of stand-alone trainings: see ``--help``."""

from supernet.cli.fidelity import program

if __name__ == "__main__":
    program()
