"""TEST.SCORE and SEARCH.SCORE: by which number networks are compared."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from supernet.cli.report import score_of, search_score_of
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.pipeline.run import Run
from supernet.pose.metrics.score import Score
from tests.paths import ROOT


def run_of(*overrides: str) -> Run:
    path = ROOT / "experiments" / "synthetic" / "litepose.yaml"
    return Run(load_config(path, overrides), path)


@pytest.mark.parametrize(
    ("dataset", "named", "score", "percent"),
    [
        ("coco_kpt", "", "AP", False),
        ("coco_kpt", "APL", "APL", False),
        ("crowdpose", "mOKS", "mOKS", False),
        ("crowd_pose_kpt", "PCKh@0.5", "PCKh@0.5", False),
        ("crowdpose", "APhard", "APhard", False),
        ("mpii", "", "Mean", True),
        ("mpii", "PCK@0.2", "PCK@0.2", True),
    ],
)
def test_it_is_the_datasets_own_or_what_the_settings_name(dataset: str, named: str, score: str, percent: bool) -> None:
    run = run_of("DATASET.DATASET", dataset, "TEST.SCORE", named)
    assert (run.score, run.percent) == (score, percent)


@pytest.mark.parametrize(("dataset", "named"), [("coco", "PCKh@0.5"), ("crowdpose", "APL"), ("mpii", "AP")])
def test_a_number_that_the_dataset_has_not_is_refused(dataset: str, named: str) -> None:
    with pytest.raises(
        UserError, match=rf"TEST.SCORE '{named}' is no metric of dataset {dataset}; there are .*mOKS, PCK@0.2"
    ):
        run_of("DATASET.DATASET", dataset, "TEST.SCORE", named).score  # noqa: B018


def test_reports_of_a_folder_follow_its_settings(tmp_path: Path) -> None:
    for test, score in (({"SCORE": "mOKS"}, Score("mOKS", percent=True)), ({}, Score("Mean", percent=True))):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({"DATASET": {"DATASET": "mpii"}, "TEST": test}))
        assert score_of(tmp_path) == score


@pytest.mark.parametrize(
    ("reported", "named", "score"),
    [
        ("", "", Score("AP")),
        ("mOKS", "", Score("mOKS")),
        ("mOKS", "AP", Score("AP")),
        ("", "PCK@0.2", Score("PCK@0.2")),
        ("AP", "loss", Score("loss", lower=True)),
    ],
)
def test_a_search_has_a_score_of_its_own(reported: str, named: str, score: Score) -> None:
    run = run_of("TEST.SCORE", reported, "SEARCH.SCORE", named)
    assert run.data.search_score == score and run.score == (reported or "AP")


def test_a_score_of_the_search_that_there_is_not_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"SEARCH.SCORE 'oks' is no metric of dataset crowdpose; there are loss, AP, .*mOKS"
    ):
        run_of("SEARCH.SCORE", "oks")


def test_which_way_is_up() -> None:
    loss, share = Score("loss", lower=True), Score("AP")
    assert (loss.sign, loss.shown, loss.heading) == (-1, 1, "loss (lower is better)")
    assert (share.sign, share.shown, share.heading) == (1, 100, "AP (%)")


def test_the_score_of_a_folders_search(tmp_path: Path) -> None:
    settings = {"DATASET": {"DATASET": "mpii"}, "TEST": {}, "SEARCH": {}}
    for named, score in (("", Score("Mean", True)), ("mOKS", Score("mOKS", True)), ("loss", Score("loss", lower=True))):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings | {"SEARCH": {"SCORE": named}}))
        assert search_score_of(tmp_path, score_of(tmp_path)) == score
