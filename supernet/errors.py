"""UserError: what a user gave is wrong, said in one line with the remedy."""

from __future__ import annotations


class UserError(Exception):
    """Something the user gave is wrong: one line that names the thing and the remedy.

    The programs print it without a traceback and end with exit code 2.
    """
