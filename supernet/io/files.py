"""Write files atomically (whole or not at all), and read JSON with errors that name the file and the place."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from supernet.errors import UserError
from supernet.io.reading import opened, read_text

_CHUNK_BYTES = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace a file atomically: what the block writes under the temporary name takes the place of ``path`` when it ends.

    A reader, or a run that goes on after a power cut, sees the old file or the new one, never a part. If the block
    raises, or the disk is full, the old file is untouched and the temporary one is gone. Missing folders are made; a
    symbolic link stays a link, and its target is replaced. Give ``torch.save`` an open file, not the name, or the
    system's reason for a failure is lost.

    Raises:
        UserError: The file cannot be written; the line names it and the system's reason.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync_folder(target.parent)
    except (OSError, RuntimeError) as error:
        reason = _system_reason(error, {target, temporary, *target.parents})
        if reason is None:
            raise
        raise UserError(f"{path}: cannot be written: {reason}; make room or choose another folder") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file atomically (text as UTF-8), whole or not at all; see :func:`replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def sweep(folder: Path) -> None:
    """Remove temporary files of programs that were killed in :func:`replacing`, from a folder that is no one else's."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def read_json(path: Path, max_bytes: int = 64 * 2**20) -> object:
    """Read a JSON file.

    Args:
        path: The file, in UTF-8.
        max_bytes: Larger files are refused before they are read; COCO's own annotations need more than the default.

    Raises:
        UserError: Missing, unreadable, no regular file, too large, or not JSON (with line and column).
    """
    try:
        return json.loads(read_text(path, max_bytes))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not text in UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
    except ValueError as error:  # a number of more than 4300 digits
        raise UserError(f"{path}: not usable JSON: {error}") from error
    except RecursionError as error:
        raise UserError(f"{path}: not usable JSON: nested too deeply") from error


def sha256(path: Path) -> str:
    """Hash a file: the SHA-256 of its bytes, as 64 hexadecimal digits.

    Raises:
        UserError: The file is missing or unreadable.
    """
    digest = hashlib.sha256()
    try:
        with opened(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def _system_reason(error: BaseException | None, places: set[Path]) -> str | None:
    """Why the system refused to write; None where the error is about something else, such as a file the block read."""
    while error is not None:
        if isinstance(error, OSError):
            ours = error.filename is None or Path(os.fsdecode(error.filename)) in places
            return (error.strerror or str(error)) if ours else None
        if any(sign in str(error) for sign in ("iostream error", "PytorchStreamWriter failed")):  # torch.save to a name
            return "the disk is full or the file grew too large"
        error = error.__context__  # torch.save to an open file wraps its OSError in a RuntimeError
    return None


def _sync_folder(folder: Path) -> None:
    """Make the new name itself last, on systems that can open a folder (Windows cannot)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
