"""Tabulate a quantity of every architecture of a space from a few networks that are built."""
