"""See ``python weight_transfer.py --help``."""

from supernet.programs.transfer import program

if __name__ == "__main__":
    program()
