"""Atomic file writing, and checkpoints that are read as data only. Imports nothing of this project but the errors."""
