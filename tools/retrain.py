"""Retrain the picks of a finished search, several at a time: see ``--help``."""

from supernet.programs.retrain import program

if __name__ == "__main__":
    program()
