"""A run: settings of each step, run folder, provenance, data, and the steps themselves."""
