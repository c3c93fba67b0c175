"""See ``python train.py --help``."""

from supernet.programs.train import program

if __name__ == "__main__":
    program()
