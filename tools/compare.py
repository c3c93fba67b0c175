"""Put several runs on one page: see ``--help``."""

from supernet.cli.compare import program

if __name__ == "__main__":
    program()
