"""The command line that all programs share."""

from __future__ import annotations

from pathlib import Path

from supernet.programs.command import parser


def test_options_may_stand_before_between_and_after_overrides() -> None:
    """``KEY VALUE`` pairs need not come last, and a negative value is no option."""
    command = parser("what it does", "an example", superconfig="which architecture")
    options = command.parse_args(
        ["SEED", "-1", "--cfg", "a.yaml", "THREADS", "2", "--superconfig", "b", "DEVICE", "cpu"]
    )
    assert (options.cfg, options.superconfig) == (Path("a.yaml"), "b")
    assert options.overrides == ["SEED", "-1", "THREADS", "2", "DEVICE", "cpu"]
