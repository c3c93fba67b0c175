"""MATLAB files of version 5: annotations of MPII and LSP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import scipy.io

from ..errors import UserError


def read_matlab(file: Path, remedy: str) -> Mapping[str, Any]:
    """The variables of a MATLAB file by name, as :func:`scipy.io.loadmat` gives them.

    Args:
        file: the file.
        remedy: ends the message.

    Raises:
        UserError: the file is missing, damaged or of another kind (version 7.3 is HDF5).
    """
    if not file.is_file():
        raise UserError(f"{file}: no such file; {remedy}")
    try:
        content: Mapping[str, Any] = scipy.io.loadmat(file)
    except Exception as error:  # a damaged file may fail anywhere in the reader, by errors of a dozen types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{file}: is no MATLAB file of version 5 ({reason}); {remedy}") from error
    return content
