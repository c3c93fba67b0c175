"""Files that are whole or absent, and checkpoints read as data only. Imports nothing of this project but the errors."""
