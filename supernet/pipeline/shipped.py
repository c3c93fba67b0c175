"""Weights for photographs that come with the package; ``supernet/shipped/README.md`` says what they are good for."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError

FOLDER = Path(__file__).parents[1] / "shipped"


def shipped() -> dict[str, Path]:
    """The files of weights by name, smallest network first."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.pt"), key=lambda path: path.stat().st_size)}


def weights_of(given: str | Path | None) -> Path:
    """The file that is meant: a path, a name of :func:`shipped`, or None for the largest of them.

    Raises:
        UserError: no weights came with the package.
    """
    known = shipped()
    if given is not None:
        return known.get(str(given), Path(given))
    if not known:
        raise UserError(f"no weights in {FOLDER}: install pose-supernet again, or give a file of weights")
    return list(known.values())[-1]
