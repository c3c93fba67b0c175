"""Selected subnets of a search against random networks of equal MACs: see ``--help``."""

from supernet.cli.gain import program

if __name__ == "__main__":
    program()
