"""Draw and describe a run again: see ``--help``."""

from supernet.programs.report import program

if __name__ == "__main__":
    program()
