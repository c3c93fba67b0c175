"""See ``python train.py --help``."""

from supernet.cli.train import program

if __name__ == "__main__":
    program()
