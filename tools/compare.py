"""Put several runs on one page: see ``--help``."""

from supernet.programs.compare import program

if __name__ == "__main__":
    program()
