"""Retrain the selected subnets of a finished search, several at a time: see ``--help``."""

from supernet.cli.retrain import program

if __name__ == "__main__":
    program()
