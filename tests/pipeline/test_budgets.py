"""Budgets in any cost: what is chosen, which have no subnet and why, and budgets that nothing can meet."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from supernet.cli import search
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.io.run_folder import RunFolder
from supernet.pipeline.budgets import budget_costs, budgets_of, check_budgets, keep_selection, select_subnets
from supernet.pose.metrics.score import Score
from supernet.report.tables import unmet_of
from tests.pipeline.test_costs import make_run
from tests.tiny_run import configured, only_the_chain

FRONT = pd.DataFrame({
    "macs": [20e6, 40e6, 60e6], "params": [3e6, 1e6, 2e6], "latency_ms": [9.0, 6.0, 4.0], "AP": [0.3, 0.4, 0.5],
    "arch": ["[0]", "[1]", "[2]"],
})  # fmt: skip


def chosen(folder: Path, budgets: str, front: pd.DataFrame = FRONT) -> dict[str, str]:
    """What is retrained for these budgets."""
    cfg, data = load_config(None, ["SEARCH.BUDGETS", budgets]), SimpleNamespace(search_score=Score("AP"))
    run: Any = SimpleNamespace(cfg=cfg, paths=RunFolder(folder), data=data)
    return keep_selection(run, select_subnets(run, front))


def test_budgets_of_the_same_costs_are_together_the_smallest_first() -> None:
    budgets = "{fast: {latency_ms: 5}, L: 9e7, S: {macs: 1e7}, M: {params: 2e6, macs: 5e7}}"
    cfg = load_config(None, ["SEARCH.BUDGETS", budgets])
    assert [(budget.name, budget.text) for budget in budgets_of(cfg)] == [
        ("S", "10 MMACs"), ("L", "90 MMACs"), ("M", "50 MMACs and 2 M parameters"), ("fast", "5 ms"),
    ]  # fmt: skip
    assert budget_costs(cfg) == ["macs", "params", "latency_ms"]


def test_the_best_within_each_budget_whatever_its_costs(tmp_path: Path) -> None:
    budgets = "{S: 2e7, lean: {params: 1.5e6}, both: {macs: 6e7, latency_ms: 5.0}}"
    assert chosen(tmp_path, budgets) == {"S": "[0]", "lean": "[1]", "both": "[2]"}
    assert unmet_of(tmp_path) == []


def test_a_budget_without_a_subnet_is_said_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert chosen(tmp_path, "{XS: 1.9e7, S: 4e7, M: 5e7, fast: {latency_ms: 3}, near: 19999999}") == {"S": "[1]"}
    lines = [
        "XS (19 MMACs): no evaluated architecture is within it, the nearest has 20 MMACs; raise it or SEARCH.EVALUATIONS",
        "near (20 MMACs): no evaluated architecture is within it, the nearest has 20,000,000 MACs; "
        "raise it or SEARCH.EVALUATIONS",
        "M (50 MMACs): same architecture as S: no better one within it was evaluated",
        "fast (3 ms): no evaluated architecture is within it, the nearest has 4 ms; raise it or SEARCH.EVALUATIONS",
    ]
    assert unmet_of(tmp_path) == lines
    assert capsys.readouterr().out.splitlines() == [f"budget {line}" for line in lines]
    table = pd.read_csv(tmp_path / "budgets.csv", keep_default_na=False)
    assert table["arch"].tolist() == ["", "", "[1]", "[1]", ""] and table["name"][2] == "S" and table["reason"][2] == ""


def test_a_front_without_the_cost_of_a_budget_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="front.csv: no column 'memory', which a budget limits; run search.py again"):
        chosen(tmp_path, "{S: {memory: 5e6}}")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ("SEARCH.BUDGETS.S", "5e3"),
            r"BUDGETS.S is 0.005 MMACs, which no .* smallest possible is 0.00512 MMACs, of its",
        ),
        (
            ("SEARCH.BUDGETS.S", "5119"),
            "BUDGETS.S is 0.00512 MMACs, which no .* smallest possible is 5,120 MACs, of its",
        ),
        (
            ("SEARCH.BUDGETS.S", "{params: 9}"),
            r"BUDGETS.S is 9e-06 M parameters, which no .* possible is 2.6e-05 M parameters",
        ),
        (("SEARCH.BUDGETS.S", "{memory: 1.0}"), r"BUDGETS.S is 1e-06 MB, which no .* smallest possible is"),
        (
            ("SEARCH.BUDGETS.S", "{macs: 6000}", "COST.MAX_MACS", "5000"),
            "COST.MAX_MACS is 5,000, which no architecture of the space meets",
        ),
    ],
)
def test_a_budget_that_nothing_can_meet_is_refused_before_the_training(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_budgets(make_run(*settings))


def test_budgets_that_can_be_met_pass() -> None:
    check_budgets(make_run("SEARCH.BUDGETS", "{S: 5120, M: {params: 26, macs: 5120}}", "COST.MAX_PARAMS", "26"))


def test_a_search_with_missing_budgets_ends_with_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A budget in parameters, which the front then has, and one that serves the same architecture."""
    write = search.write_reports
    only_the_chain(monkeypatch)
    monkeypatch.setattr(search, "write_reports", write)
    monkeypatch.setattr("supernet.pipeline.reports.write_page", lambda run, *_: run.paths.report("html"))
    budgets = "{S: 60000000, M: 60000001, P: {params: 100000000}}"
    search.main([*configured(tmp_path), "SEARCH.BUDGETS", budgets, "SEARCH.RANDOM_BASELINE", "0"])
    folder = next(tmp_path.glob("output/*/run"))
    assert pd.read_csv(folder / "comparison.csv")["name"].tolist()[0] == "S"
    line = "M (60 MMACs): same architecture as S: no better one within it was evaluated"
    assert f"budget {line}" in capsys.readouterr().out.splitlines()
    assert f"- {line}" in (folder / "report.md").read_text()
