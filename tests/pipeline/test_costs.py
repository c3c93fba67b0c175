"""Objectives and limits of a configuration, and the limits that nothing can meet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn

from search_spaces import Space, choice
from search_spaces.space import codec
from supernet.config.loading import load_config
from supernet.cost.cost_model import CostModel
from supernet.cost.latency import LatencyTable, Place
from supernet.errors import UserError
from supernet.pipeline import costs
from supernet.pipeline.costs import check_limits, costs_of, latency_of, limits_of
from tests.paths import ROOT

CFG = ROOT / "experiments" / "synthetic" / "litepose.yaml"


@dataclass(frozen=True)
class Arch:
    """A first convolution whose stride saves work, and a grid of second ones of which the larger has fewer parameters."""

    side: int
    width: int
    kernel: int

    @property
    def input_hw(self) -> tuple[int, int]:
        return self.side, self.side


SPACE: Space[Arch] = Space(Arch(choice(16, 32), choice(4, 8, 16), choice(1, 3)))


def build(arch: Arch) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, arch.width, arch.kernel, padding=arch.kernel // 2), nn.Conv2d(arch.width, 2, 1))


class Run:
    """What costing reads of a run."""

    space, build, family, source = SPACE, staticmethod(build), codec, CFG

    def __init__(self, *overrides: str) -> None:
        self.cfg = load_config(CFG, list(overrides))

    @cached_property
    def costs(self) -> CostModel[Arch]:
        return CostModel(build, SPACE)

    @cached_property
    def latency(self) -> Any:
        return latency_of(self)  # type: ignore[arg-type]


def make_run(*overrides: str) -> Any:
    return Run(*overrides)


def test_quantities_that_are_needed_macs_first() -> None:
    assert costs_of(make_run()).names == ("macs",)
    run = make_run("COST.OBJECTIVES", "['memory']", "COST.MAX_PARAMS", "300")
    costs = costs_of(run)
    assert costs.names == ("macs", "params", "memory") and limits_of(run) == {"params": 300.0}
    codes = SPACE.all_codes()
    found = costs(codes)
    assert found.dtype == np.float64 and found.shape == (12, 3)
    model = run.costs
    assert found.tolist() == np.stack([model.macs(codes), model.params(codes), model.memory(codes)], axis=1).tolist()


def test_units_of_the_limits() -> None:
    run = make_run("COST.MAX_MACS", "5", "COST.MAX_MEMORY_MB", "0.5", "COST.MAX_LATENCY_MS", "2.5")
    assert limits_of(run) == {"macs": 5.0, "memory": 500_000.0, "latency_ms": 2.5}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("COST.OBJECTIVES", "['mac']"),
            r"COST.OBJECTIVES\[0\] is 'mac', not one of macs, params, memory, latency_ms",
        ),
        (("COST.OBJECTIVES", "[]"), "COST.OBJECTIVES is .*; write some of"),
        (("COST.OBJECTIVES", "['macs', 'macs']"), "each once"),
        (("COST.MAX_PARAMS", "-1"), "COST.MAX_PARAMS is -1; it takes a whole number, 0 to"),
        (("COST.MAX_LATENCY_MS", "3.0"), "COST.LATENCY_TABLE is empty; measure one: python tools/latency.py --cfg"),
    ],
)
def test_wrong_settings(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        costs_of(make_run(*overrides))


def test_limits_that_can_be_met_pass() -> None:
    check_limits(make_run())
    smallest = 16 * 16 * 4 * (3 + 2)
    check_limits(make_run("COST.MAX_MACS", str(smallest), "COST.MAX_PARAMS", "26"))


def test_a_limit_that_nothing_meets() -> None:
    with pytest.raises(
        UserError, match="COST.MAX_MACS is 5,000, which no .* smallest possible is 5,120, of its smallest"
    ):
        check_limits(make_run("COST.MAX_MACS", "5000"))
    with pytest.raises(UserError, match="COST.MAX_MEMORY_MB is 0.001, .* smallest possible is 0.01, of its smallest"):
        check_limits(make_run("COST.MAX_MEMORY_MB", "0.001"))


def _opposed(space: Space[Any]) -> Any:
    """Latency that falls with the width: small networks are slow, as on a device that is made for wide ones."""
    run = make_run("COST.MAX_PARAMS", "30", "COST.MAX_LATENCY_MS", "1.5")
    run.space = space
    width = [gene.path for gene in space.genes].index("width")
    run.latency = SimpleNamespace(predict=lambda codes: 3.0 - codes[:, width])
    return run


@pytest.mark.parametrize("listed", [100, 3])
def test_limits_that_exclude_each_other(monkeypatch: pytest.MonkeyPatch, listed: int) -> None:
    monkeypatch.setattr(costs, "_LISTED", listed)
    monkeypatch.setattr(costs, "_SAMPLED", 4)
    with pytest.raises(
        UserError,
        match="COST.MAX_PARAMS 30 and COST.MAX_LATENCY_MS 1.5 can be met one by one, but by no architecture together; "
        r'the nearest has PARAMS 50, LATENCY_MS 2.00: the architecture {.*"width":8.*}; raise one of them',
    ):
        check_limits(_opposed(SPACE))


def test_the_latency_table_of_another_space_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    LatencyTable("0123", Place("cpu", "eager", 1, 1, "a machine")).save(path)
    with pytest.raises(UserError, match="latency.json: a latency table of space 0123, this is"):
        costs_of(make_run("COST.OBJECTIVES", "['latency_ms']", "COST.LATENCY_TABLE", str(path)))
