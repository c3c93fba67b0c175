"""Draw and describe a run again: see ``--help``."""

from supernet.cli.report import program

if __name__ == "__main__":
    program()
