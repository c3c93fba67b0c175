"""The programs: what joins search spaces, the core and the task. Nothing imports from here but the scripts."""
