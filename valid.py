"""See ``python valid.py --help``."""

from supernet.programs.valid import program

if __name__ == "__main__":
    program()
