"""See ``python search.py --help``."""

from supernet.cli.search import program

if __name__ == "__main__":
    program()
