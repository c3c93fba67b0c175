"""Search as the program wires it: costs and limits of the configuration, halving, the predictor's report. No training."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from supernet.cli import search
from supernet.pipeline.training import new_supernet
from supernet.search.journal import read_journal
from tests.tiny_run import small_demo


def test_a_halved_search_by_predictor_within_limits_leaves_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_demo(
        tmp_path, "SEARCH.ALGORITHM", "predictor", "SEARCH.POPULATION", 20, "SEARCH.EVALUATIONS", 11,
        "SEARCH.HALVING.IMAGES", 1, "COST.OBJECTIVES", "[macs, params]", "COST.MAX_PARAMS", 300_000,
    )  # fmt: skip
    source = tmp_path / "weights.pt"
    source.write_bytes(b"not read here")
    found, baseline = search.search(run, new_supernet(run).eval(), source)
    records = read_journal(run.folder / "search" / "journal.jsonl")[1]
    assert len(found) == 11 and not baseline
    assert [record.stage for record in records].count("loss on 1 images") == 40 and len(records) == 51
    assert all(record.costs["params"] <= 300_000 for record in records)
    table, fits = pd.read_csv(run.folder / "search" / "found.csv"), pd.read_csv(run.folder / "search" / "predictor.csv")
    assert table["params"].tolist() == [record.costs["params"] for record in found]
    assert list(fits.columns) == ["evaluated", "kendall", "spearman", "error", "coverage", "deviation"]
    assert fits["evaluated"].tolist() == [10]
    said = capsys.readouterr().out
    assert "predictor after 10 evaluations: τ" in said
    assert "40 architectures had their loss on 1 images, 11 of them were evaluated" in said
