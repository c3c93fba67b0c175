"""See ``python valid.py --help``."""

from supernet.cli.valid import program

if __name__ == "__main__":
    program()
