"""Architectures in words, short enough for a tooltip."""

from __future__ import annotations

import re

import numpy as np

from search_spaces import FAMILIES
from search_spaces.space import codec
from supernet.cli.command import run_program as run_program
from supernet.report.architecture_text import architecture_lines


def test_every_family_has_a_text() -> None:
    for name, family in FAMILIES.items():
        arch = family.SPACES["small"].sample(np.random.default_rng(1))
        lines = architecture_lines(codec.to_json(arch))
        assert len(lines) > 1 and not re.search(r"[{\[']", "".join(lines)), name
    assert architecture_lines({"type": "Net", "resolution": [64, 48], "stem": {"width": 8}, "widths": []}) == [
        "resolution 64 × 48 · widths none",
        "stem: width 8",
    ]


def test_blocks_of_a_stage_share_a_line() -> None:
    block = {"type": "Block", "kernel": 3}
    stage = {"width": 8, "modules": [{"blocks": [block, {"kernel": 5}]}, {"blocks": [block]}]}
    assert architecture_lines({"stages": [stage]}) == ["stages 1: width 8 · modules 2 · blocks 2 1 · kernel 3 5 | 3"]
