"""Check a dataset before training: see ``--help``."""

from supernet.cli.check import program

if __name__ == "__main__":
    program()
