"""One line of progress on the terminal, and the clock beside it. Of several processes only the first one speaks."""

from __future__ import annotations

import os
import sys
from types import TracebackType

from tqdm import tqdm


def _silent() -> bool:
    return int(os.environ.get("RANK", "0")) > 0


class Progress:
    """A bar with the time to go; steps of the work it belongs to may set figures behind it.

    Where the output is not a terminal, a line is written when it ends and every half a minute.
    """

    def __init__(self, title: str, total: int, done: int = 0) -> None:
        terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total, initial=done, desc=title, dynamic_ncols=terminal, mininterval=0.2 if terminal else 30.0,
            leave=True, file=sys.stderr, disable=_silent(),
        )  # fmt: skip

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def to(self, done: int, **figures: float | str) -> None:
        """Now ``done`` of the total are done."""
        if figures:
            shown = {name: value if isinstance(value, str) else f"{value:.4g}" for name, value in figures.items()}
            self._bar.set_postfix(shown, refresh=False)
        self._bar.update(done - self._bar.n)


def say(text: str) -> None:
    """A line on the terminal, above the progress."""
    if _silent():
        return
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()
