"""Read files within limits: regular files only, and never more bytes than allowed. A device or a pipe is refused at once."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TABLE_BYTES = 64 * 2**20  # of a table, a log or a journal; a search of 100,000 architectures writes less
WEIGHTS_BYTES = 8 * 2**30
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextmanager
def opened(path: Path, max_bytes: int | None = None) -> Iterator[IO[bytes]]:
    """Open a regular file to read its bytes. Nothing is waited for: to open a pipe would, to read ``/dev/zero`` never end.

    Args:
        path: the file; a symbolic link is followed.
        max_bytes: larger files are refused before they are read; None for no limit.

    Raises:
        OSError: it is missing, unreadable, no regular file or too large; ``strerror`` says which.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(_regular(descriptor, path), "rb") as file:
        size = os.fstat(descriptor).st_size
        if max_bytes is not None and size > max_bytes:
            text = f"has {_size(size)}, more than the {_size(max_bytes)} allowed here"
            raise OSError(errno.EFBIG, text, str(path))
        yield file


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file of at most ``max_bytes``.

    Raises:
        OSError: as :func:`opened`.
    """
    with opened(path, max_bytes) as file:
        content = file.read(max_bytes + 1)  # what stands in /proc says that it has 0 bytes
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"has more than the {_size(max_bytes)} allowed here", str(path))
    return content


def read_text(path: Path, max_bytes: int = TABLE_BYTES) -> str:
    """The content of a regular file in UTF-8, its line breaks as Python's own files have them.

    Raises:
        OSError: as :func:`opened`.
        UnicodeDecodeError: it is no text in UTF-8.
    """
    return read_bytes(path, max_bytes).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def _regular(descriptor: int, path: Path) -> int:
    """The descriptor again if it is a regular file's."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kind = _KINDS.get(stat.S_IFMT(mode), "something else")
    raise OSError(errno.EINVAL, f"is {kind}, no regular file", str(path))


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count} bytes"
