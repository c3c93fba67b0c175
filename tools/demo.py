"""Find people on images or in a video: see ``--help``."""

from supernet.cli.demo import program

if __name__ == "__main__":
    program()
