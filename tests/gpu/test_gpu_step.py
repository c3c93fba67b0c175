"""The benchmark of a step on a GPU, as far as a CPU can run it."""

from __future__ import annotations

import re

import pytest

from search_spaces import litepose
from supernet.errors import UserError
from supernet.pose.bottom_up.losses import BottomUpLoss
from tools.bench import gpu_step


def test_the_supernets_have_the_published_networks_as_their_largest() -> None:
    for name, variant in (("litepose", "litepose-S"), ("widehrnet", "widehrnet_18_se_coco_256x192")):
        made = gpu_step.CASES[name]()
        assert made.space.largest == made.family.published()[variant]
        assert made.space.size > 1e9 and "resolution" not in made.space.kinds


def test_every_row_says_what_was_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Speed and its ratio to the first way; where memory is full, the others are measured all the same."""
    made = gpu_step.Case("tiny", litepose, litepose.SMALL.restrict({}, rest="largest"), BottomUpLoss(17))
    measure = gpu_step.measure

    def full_in_float16(case: gpu_step.Case, way: gpu_step.Way, *rest: object) -> gpu_step.Figures:
        if way is gpu_step.WAYS[2]:
            raise UserError("the GPU's memory is full")
        return measure(case, way, *rest)  # type: ignore[arg-type]

    monkeypatch.setitem(gpu_step.CASES, "litepose", lambda: made)
    monkeypatch.setattr(gpu_step, "measure", full_in_float16)
    monkeypatch.setattr(gpu_step, "WARM_UP", 1)
    gpu_step.main(["--device", "cpu", "--family", "litepose", "--size", "64", "--batch", "2", "--steps", "1"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| tiny | 64 x 64 | 2 |")]
    assert len(rows) == 3
    assert re.search(r"float32 \| [\d.]+ \| 1\.00 \| 0 \|  \| \d\.\d{4} \|$", rows[0])
    assert re.search(r"fused \| [\d.]+ \| \d+\.\d\d \| 0 \|  \| \d\.\d{4} \|$", rows[1])
    assert rows[2].endswith("float16, channels-last, fused | memory full | | | | |")
