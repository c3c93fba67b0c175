"""See ``python search.py --help``."""

from supernet.programs.search import program

if __name__ == "__main__":
    program()
