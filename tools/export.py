"""See ``python tools/export.py --help``."""

from supernet.cli.export import program

if __name__ == "__main__":
    program()
