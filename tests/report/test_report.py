"""Tables, figure and report of a run, from a folder with plausible numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from supernet.cli import report as redraw
from supernet.cost.costs import macs_label
from supernet.errors import UserError
from supernet.pose.metrics.score import Score
from supernet.report import draw, pareto_figure, published_networks, save_figure, write_report
from supernet.report.markdown import markdown_table
from supernet.report.plots import _ticks
from supernet.report.tables import read_comparison, read_front
from tests.page_run import by_loss, in_percent
from tests.paths import REFERENCE

PUBLISHED = redraw.PUBLISHED


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "search").mkdir(parents=True)
    rng = np.random.default_rng(0)
    macs = np.sort(10 ** rng.uniform(7.5, 9.5, 60)).astype(int)
    scores = 0.1 * np.log10(macs) - 0.5
    arch = [json.dumps({"id": index}) for index in range(60)]
    found = pd.DataFrame({"macs": macs, "params": 10_000 + macs // 100, "resolution": 256, "AP": scores, "arch": arch})
    front = found[::-1].assign(name=[f"front-{index}" for index in range(60)])
    front.to_csv(folder / "front.csv", index=False)
    found.to_csv(folder / "search" / "found.csv", index=False)
    found.assign(AP=found["AP"] - 0.05).to_csv(folder / "search" / "random.csv", index=False)
    selected = found.iloc[[50, 10]]
    pd.DataFrame(
        {
            "name": ["L", "XS"],
            "macs": selected["macs"].tolist(),
            "params": selected["params"].tolist(),
            "resolution": [256, 256],
            "ap_transferred": [0.011, 0.022],
            "ap_calibrated": [0.4, 0.3],
            "ap_retrained": [0.45, 0.3567],
            "ap_scratch": [None, 0.31],
        }
    ).to_csv(folder / "comparison.csv", index=False)
    return folder


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def figure_of(run: Path, published: pd.DataFrame | None = None) -> Figure:
    front = read_front(run, "AP").rename(columns={"AP": "score"})
    return pareto_figure(
        front, front, read_comparison(run), published, metric="AP", dataset="crowdpose", candidates=front
    )


def test_the_figure_shows_every_series_and_names_the_subnets(run: Path) -> None:
    figure = figure_of(run, published_networks(PUBLISHED, "crowdpose", "AP"))
    axes = figure.axes[0]
    named = labels(figure)
    for series in ("evaluated by the search (60)", "random search (60)", "searched front", "retrained", "calibrated"):
        assert series in named
    assert any("LitePose (LitePose README" in label and "MACs: ptflops-0.6" in label for label in named)
    assert [text.get_text() for text in axes.texts] == ["XS", "L"]
    assert axes.get_ylabel() == "AP on CrowdPose (%)" and axes.get_xscale() == "log"
    retrained = next(line for line in axes.lines if line.get_label() == "retrained")
    assert np.allclose(np.asarray(retrained.get_ydata(), dtype=float), [35.67, 45.0])
    reference = [line for line in axes.lines if "README" in str(line.get_label()) or "slides" in str(line.get_label())]
    assert len(reference) == 5 and all(line.get_markerfacecolor() == "none" for line in reference)


def test_the_front_is_a_step_line_of_the_best_points_only(run: Path) -> None:
    front = pd.DataFrame({"macs": [1e8, 2e8, 3e8], "score": [0.2, 0.1, 0.3]})
    figure = pareto_figure(front, None, read_comparison(run), None, metric="AP", dataset="coco")
    steps = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    assert len(steps) == 1
    assert np.asarray(steps[0].get_ydata(), dtype=float).tolist() == [20, 30]


def test_a_run_that_compares_nothing_is_drawn_and_reported(run: Path) -> None:
    (run / "comparison.csv").write_text("\n")
    assert draw(run)[0].is_file()
    assert "no SEARCH.BUDGETS" in write_report(run).read_text()


def test_equal_figures_give_equal_files(run: Path) -> None:
    first = [path.read_bytes() for path in save_figure(figure_of(run), run, "pareto")]
    again = [path.read_bytes() for path in save_figure(figure_of(run), run, "pareto")]
    assert first == again
    assert first[0][:4] == b"\x89PNG" and b"<svg" in first[1] and b"<dc:date>" not in first[1]
    assert not list(run.glob(".*"))


@pytest.mark.parametrize(
    ("macs", "label"),
    [(3e6, "3 MMACs"), (312.4e6, "312 MMACs"), (999e6, "999 MMACs"), (1e9, "1 GMACs"), (47.9e9, "47.9 GMACs")],
)
def test_units_are_written_out(macs: float, label: str) -> None:
    assert macs_label(macs) == label


@pytest.mark.parametrize(("low", "high"), [(2.1e8, 7.9e8), (1e7, 3e9), (1e6, 2e11), (0.95e9, 1.3e9)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    ticks = _ticks(low, high)
    assert 1 <= len(ticks) <= 6 and all(low <= tick <= high for tick in ticks)


# ---------------------------------------------------------------------------------------------- published networks


def test_published_networks_are_those_of_the_dataset_and_the_metric() -> None:
    crowdpose = published_networks(PUBLISHED, "crowdpose", "AP")
    row = crowdpose[crowdpose["name"] == "LitePose-Auto-S"].iloc[0]
    assert (row["macs"], row["score"], row["convention"]) == (5.0e9, 0.583, "ptflops-0.6")
    assert "Lite-HRNet-18" not in set(crowdpose["name"])
    coco = published_networks(PUBLISHED, "coco", "AP")
    assert coco[coco["name"] == "HRNet-W32 + SRPose"]["score"].tolist() == [0.759]  # with post-processing
    assert set(published_networks(PUBLISHED, "coco", "AP", "top-down")["name"]) >= {"Lite-HRNet-18", "HRNet-W48"}
    assert set(published_networks(PUBLISHED, "coco", "AP", "bottom-up")["approach"]) == {"bottom-up"}
    assert published_networks(PUBLISHED, "coco", "PCKh@0.5").empty


def test_the_published_table_says_what_the_reference_says() -> None:
    files = (REFERENCE / "published.csv", REFERENCE / "rtmpose" / "facts" / "published.csv")
    reference = pd.concat([pd.read_csv(file, dtype=str) for file in files], ignore_index=True)
    kept = reference["gmacs_published"].notna() & reference["dataset"].str.match(r"(coco|crowdpose)( \(.*\))?$")
    ours = pd.read_csv(PUBLISHED, dtype=str).drop(columns="approach")
    pd.testing.assert_frame_equal(ours, reference[kept].reset_index(drop=True))


# ------------------------------------------------------------------------------------------------------ the report


def test_the_report_says_what_ran_and_what_came_out(run: Path) -> None:
    text = write_report(
        run,
        title="LitePose on CrowdPose",
        ran={"configuration": "a.yaml", "seed": 3},
        space={"architectures": 1_140_738, "MACs from": 31_000_000},
        stages=pd.DataFrame({"stage": ["kernel | depth"], "epochs": [3], "loss": [0.0123456]}),
        commands=["python valid.py --cfg a.yaml"],
    ).read_text()
    assert text.startswith("# LitePose on CrowdPose\n\n![score against MACs](pareto.png)")
    for line in (
        "- seed: 3",
        "- architectures: 1,140,738",
        "- MACs from: 31 MMACs",
        "| kernel \\| depth | 3 | 0.01235 |",
    ):
        assert line in text
    assert re.search(r"- PyTorch: \d", text) and re.search(r"- CPU: .+, \d+ threads", text)
    assert "| AP after transfer (%) | AP calibrated (%) | AP retrained (%) | AP from scratch (%) |" in text
    assert re.search(r"\| XS \| \d+.* MMACs \| \d.* M \| 256 \| 2.2 \| 30.0 \| 35.7 \| 31.0 \|", text)
    assert re.search(r"\| L \| .* \| 1.1 \| 40.0 \| 45.0 \|  \|", text)
    assert "```sh\npython valid.py --cfg a.yaml\n```" in text
    assert "30 of 60 rows" in text and len(re.findall(r"^\| front-", text, re.MULTILINE)) == 30


def test_scores_in_percent_are_reported_as_they_are(run: Path) -> None:
    """PCKh is in percent already, AP is a fraction: both stand in the report as percent."""
    fractions = write_report(run).read_text()
    assert write_report(in_percent(run), metric="Mean", percent=True).read_text() == fractions.replace("AP", "Mean")
    with pytest.raises(UserError, match=r"Mean: 44\.\d+ is no fraction of 1"):
        write_report(run, metric="Mean")


def test_a_search_by_the_loss_has_axes_of_its_own(run: Path) -> None:
    """The front falls towards larger networks, and is not turned over; subnets have AP."""
    loss = Score("loss", lower=True)
    front = read_front(by_loss(run), "loss", lower=True).rename(columns={"loss": "score"})
    figure = pareto_figure(front, None, read_comparison(run), None, metric="AP", dataset="coco", search=loss)
    left, right = figure.axes
    assert (
        left.get_ylabel() == "loss on COCO, search split (lower is better)" and right.get_ylabel() == "AP on COCO (%)"
    )
    (steps,) = [line for line in left.lines if line.get_drawstyle() == "steps-post"]
    shown = np.asarray(steps.get_ydata(), dtype=float)
    assert (np.diff(shown) < 0).all() and shown.tolist() == front["score"].tolist() and not left.yaxis_inverted()
    assert [text.get_text() for text in right.texts] == ["XS", "L"]
    text = write_report(run, search=loss).read_text()
    assert "loss on the search split; 30 of 60 rows" in text and "| loss (lower is better) |" in text
    assert draw(run, search=loss)[0].is_file()


def test_a_stage_that_was_never_done_has_no_column(run: Path) -> None:
    table = pd.read_csv(run / "comparison.csv").assign(ap_scratch=None)
    table.to_csv(run / "comparison.csv", index=False)
    assert "from scratch" not in write_report(run).read_text()
    assert "the same, trained from scratch" not in labels(figure_of(run))


def test_a_table_in_markdown() -> None:
    table = pd.DataFrame({"name": ["a"], "macs": [1_200_000_000], "params": [2_500_000], "AP (%)": [float("nan")]})
    assert markdown_table(table).splitlines() == [
        "| name | macs | params | AP (%) |",
        "|---|---:|---:|---:|",
        "| a | 1.2 GMACs | 2.5 M |  |",
    ]


# -------------------------------------------------------------------------------------------------------- the tool


def test_the_tool_draws_a_run_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "config.yaml").write_text("DATASET: {DATASET: crowd_pose_kpt, SYNTHETIC: {TRAIN: 0}}\n")
    redraw.main([str(run)])
    assert capsys.readouterr().out.split() == [str(run / "pareto.png"), str(run / "pareto.svg")]
    assert redraw.dataset_of(run) == "crowdpose"
    (run / "config.yaml").write_text("DATASET: {DATASET: crowd_pose_kpt, SYNTHETIC: {TRAIN: 900}}\n")
    assert redraw.dataset_of(run) == "synthetic"


def test_the_tool_reads_the_unit_of_a_score_from_the_runs_configuration(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[dict[str, object]] = []
    monkeypatch.setattr(redraw, "draw", lambda folder, **options: drawn.append(options) or ())
    (run / "config.yaml").write_text("DATASET: {DATASET: mpii}\n")
    redraw.main([str(run)])
    (run / "config.yaml").write_text("DATASET: {DATASET: coco}\n")
    redraw.main([str(run)])
    assert [(one["metric"], one["percent"]) for one in drawn] == [("Mean", True), ("AP", False)]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("front.csv", "front.csv: no such file; run search.py first"),
        ("comparison.csv", "comparison.csv: no such file; run search.py first"),
        ("config.yaml", "config.yaml: names no dataset; give --dataset"),
        ("", "no such run folder"),
    ],
)
def test_a_folder_that_lacks_something_ends_in_one_line_and_exit_code_2(
    run: Path, missing: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "config.yaml").write_text("DATASET: {DATASET: crowd_pose}\n")
    if missing:
        (run / missing).unlink()
    with pytest.raises(SystemExit) as caught:
        redraw.run_program(redraw.main, [str(run if missing else run / "none")])
    error = capsys.readouterr().err
    assert caught.value.code == 2 and message in error and error.count("\n") == 1


def test_a_table_without_a_column_is_named(run: Path) -> None:
    with pytest.raises(UserError, match=r"front.csv: no column 'PCKh'; there are macs, params"):
        draw(run, metric="PCKh")
    (run / "front.csv").write_text("name,macs,params,resolution,arch,AP\n")
    with pytest.raises(UserError, match="no architectures"):
        draw(run)
    (run / "front.csv").write_bytes(b"")
    with pytest.raises(UserError, match=r"front.csv: not a table: it is empty"):
        draw(run)
