"""The one error that a user is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """Something the user gave is wrong: one line that names the thing and the remedy.

    The programs print it without a traceback and end with exit code 2.
    """
