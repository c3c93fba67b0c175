"""Finalists: the best within each budget are scored again on other images before one is selected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from supernet.cli import retrain, search
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.pipeline.keys import provenance
from supernet.pipeline.run import Run
from supernet.pose.metrics.score import Score
from supernet.report import write_html, write_report
from tests.page_run import describe
from tests.tiny_run import configured, only_the_chain

SIZES = ["DATASET.SYNTHETIC.TRAIN", "9", "DATASET.FINAL_IMAGES", "3", "SEARCH.FINALISTS", "2"]
NAMES = ("AP", "AP_final", "AP_both")


def unlike(run: Run, network: Any, dataset: Any, *_: Any) -> dict[str, float]:
    """A score by which a larger network is the better one in the search, and far the worse one on the final images."""
    size = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    final = run.data.final is not None and dataset.image_ids == run.data.final.image_ids
    return {"AP": 0.5 - size if final else 0.3 + size / 10}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], Path]]:
    """The arguments and the folder of a finished run."""
    folder = tmp_path_factory.mktemp("finalists")
    with pytest.MonkeyPatch.context() as patch:
        only_the_chain(patch)
        patch.setattr(Run, "metrics", unlike)
        arguments = [*configured(folder), *SIZES]
        search.main(arguments)
        yield arguments, folder / "output" / folder.name / "run"


def test_the_images_are_others_and_the_searchs_stay_the_same(tmp_path: Path) -> None:
    arguments = configured(tmp_path)
    run, without = (
        Run(load_config(Path(arguments[1]), ["DATASET.SYNTHETIC.TRAIN", "9", *more]), Path(arguments[1]))
        for more in (["DATASET.FINAL_IMAGES", "3"], ["DATASET.FINAL_IMAGES", "0"])
    )
    assert run.data.final is not None and without.data.final is None
    parts = [set(part.image_ids) for part in (run.train, run.search, run.data.final)]
    assert [len(part) for part in parts] == [4, 2, 3] and len(set.union(*parts)) == 9
    assert run.search.image_ids == without.search.image_ids and len(without.train) == 7
    assert provenance(run.training_data)["DATASET.FINAL_IMAGES"] == 3
    assert "DATASET.FINAL_IMAGES" not in provenance(without.training_data)


def test_the_best_of_both_is_selected(finished: tuple[list[str], Path]) -> None:
    """Both scores are kept, their mean is by images, and what the search liked best is not selected."""
    _, folder = finished
    table = pd.read_csv(folder / "search" / "finalists.csv")
    found = pd.read_csv(folder / "search" / "found.csv").sort_values("AP", ascending=False)
    assert set(table["arch"]) == set(found["arch"].iloc[:2]) and set(table["budgets"]) == {"S"}
    assert table["AP_both"].tolist() == pytest.approx((0.4 * table["AP"] + 0.6 * table["AP_final"]).tolist())
    budgets = pd.read_csv(folder / "budgets.csv", keep_default_na=False).set_index("name")
    assert budgets.arch["S"] == table["arch"][table["AP_both"].argmax()] == table["arch"][table["AP"].argmin()]
    assert json.loads((folder / "subnets" / "S" / "arch.json").read_text()) == json.loads(budgets.arch["S"])


def test_they_are_scored_once_and_go_on_where_they_were_killed(
    finished: tuple[list[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, folder = finished
    journal, kept = folder / "search" / "journal.jsonl", (folder / "search" / "finalists.csv").read_text()
    lines = journal.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["stage"] for line in lines[-2:]] == ["final images"] * 2
    journal.write_bytes(b"".join(lines[:-1]))
    search.main(arguments)
    again = journal.read_bytes().splitlines(keepends=True)
    assert [{**json.loads(line), "seconds": 0} for line in again[1:]] == [
        {**json.loads(line), "seconds": 0} for line in lines[1:]
    ]
    assert (folder / "search" / "finalists.csv").read_text() == kept
    said = capsys.readouterr().out
    assert (
        "finalists: 2 architectures were scored again on 3 other images; the search's best of each budget had AP 0.3"
        in said
    )
    search.main(arguments)
    assert journal.read_bytes() == b"".join(again)


def test_the_report_shows_both_scores(finished: tuple[list[str], Path]) -> None:
    _, folder = finished
    text = write_report(folder).read_text()
    assert (
        "## Finalists" in text
        and "| selected | budgets | macs | params | AP, search images (%) | AP, final images (%) |" in text
    )
    row = next(line for line in text.splitlines() if line.startswith("| S | S |"))
    table = pd.read_csv(folder / "search" / "finalists.csv")
    best = table.iloc[table["AP_both"].argmax()]
    assert all(f"{100 * best[name]:.1f}" in row for name in NAMES)
    page = write_html(folder, describe=describe, search=Score("AP")).read_text()
    assert 'id="finalists"' in page and f'<td class="right">{100 * best["AP_final"]:.1f}</td>' in page


def test_retraining_selects_the_same(finished: tuple[list[str], Path]) -> None:
    """And refuses budgets whose finalists were never scored."""
    arguments, folder = finished
    before = (folder / "budgets.csv").read_text()
    retrain.main(arguments)
    assert (folder / "budgets.csv").read_text() == before
    with pytest.raises(
        UserError, match="finalists.csv: lacks finalists of SEARCH.BUDGETS or SEARCH.FINALISTS; run search.py"
    ):
        retrain.main([*arguments, "SEARCH.FINALISTS", "4"])


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["SEARCH.FINALISTS", "0"], ""),
        (
            ["DATASET.FINAL_IMAGES", "7", "DATASET.SEARCH_IMAGES", "2"],
            "too small for DATASET.FINAL_IMAGES 7 beside those of the",
        ),
        (
            ["DATASET.FINAL_IMAGES", "0"],
            "DATASET.FINAL_IMAGES is 0, so subnets are selected by the search's own scores",
        ),
    ],
)
def test_without_them_subnets_are_selected_as_before(
    overrides: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    only_the_chain(monkeypatch)
    monkeypatch.setattr(Run, "metrics", unlike)
    search.main([*configured(tmp_path), *SIZES, *overrides])
    said = capsys.readouterr().out
    assert line in said and ("finalists:" in said) == bool(line)
    folder = next(tmp_path.glob("output/*/run"))
    assert not (folder / "search" / "finalists.csv").exists()
    front = pd.read_csv(folder / "front.csv")
    assert json.loads((folder / "subnets/S/arch.json").read_text()) == json.loads(front["arch"][front["AP"].argmax()])


def test_a_number_below_0_is_refused() -> None:
    with pytest.raises(UserError, match="SEARCH.FINALISTS is -1; it takes a whole number, 0 to"):
        load_config(None, ["SEARCH.FINALISTS", "-1"])
