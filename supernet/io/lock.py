"""One writer at a time: a lock on a folder, which the system releases when its process ends, however it ends."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import UserError
from .files import sweep, write_atomically


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, which need not exist yet. A lock that a killed process left behind is taken over.

    The lock of ``supernet`` is the file ``.supernet.lock`` beside it, so that the folder itself may be moved meanwhile.

    Raises:
        UserError: another process holds it; the line names that process, its machine and its command.
    """
    place = Path(os.path.realpath(folder))
    holder = place.with_name(f".{place.name}.lock.json")  # whoever tries to take the lock itself empties that file
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.with_name(f".{place.name}.lock"), is_singleton=True)  # one process may hold it twice
        lock.acquire(timeout=0)
        if lock.lock_counter == 1:
            sweep(place)
    except Timeout:
        raise UserError(
            f"{folder}: is in use by {_named(holder)}; wait for it, stop it, or set another OUTPUT_DIR"
        ) from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}; set another OUTPUT_DIR") from error
    try:
        about = {"pid": os.getpid(), "host": socket.gethostname(), "command": " ".join(sys.argv)}
        write_atomically(holder, json.dumps(about) + "\n")
        yield
    finally:
        if lock.lock_counter == 1:
            holder.unlink(missing_ok=True)
        lock.release()


def _named(holder: Path) -> str:
    """The process that holds a lock, as far as it has said who it is."""
    try:
        about = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {about['pid']} on {about['host']} ({about['command']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
