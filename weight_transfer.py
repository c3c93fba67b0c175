"""See ``python weight_transfer.py --help``."""

from supernet.cli.transfer import program

if __name__ == "__main__":
    program()
