"""See ``python tools/export.py --help``."""

from supernet.programs.export import program

if __name__ == "__main__":
    program()
