"""``report.html``: self-contained, safe, right, and without what a run does not have; and several runs on one page."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from supernet.cli import compare
from supernet.cli.command import run_program as run_program
from supernet.errors import UserError
from supernet.pipeline import html_page
from supernet.pose.metrics.score import Score
from supernet.report import Images, write_html, write_report
from supernet.report.runs import Run as RunTables
from supernet.report.runs import write_runs
from supernet.search.pareto import hypervolume
from tests.page_run import by_loss, describe, in_percent, make_run, networks

LOSS = Score("loss", lower=True)
LARGEST = 5 * 2**20  # bytes of a page


class Page(HTMLParser):
    """What the tests look for: attributes that load something, cells of tables by row, ids, texts and counts of tags."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.rows: list[list[str]] = []
        self.ids: set[str] = set()
        self.tags: dict[str, int] = {}
        self.text = path.read_text(encoding="utf-8")
        self._in_cell = False
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        values = dict(attrs)
        self.loaded += [values[name] or "" for name in ("src", "href", "action") if name in values]
        self.ids.add(values.get("id") or "")
        self._in_cell = tag in ("td", "th")
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1].append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = False

    @property
    def figures(self) -> dict[str, Any]:
        """Bokeh's description of each figure."""
        found = re.search(r"Object\.entries\((\{.*\})\)\) Bokeh\.embed", self.text)
        assert found is not None
        return dict(json.loads(found[1]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    """A run that has everything, and its page."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "run")
    path = write_html(
        folder,
        title="A run",
        describe=describe,
        networks=networks(folder),
        images=[Images(name, "", [b"\xff\xd8", b"\xff\xd8"]) for name in ("Truth", "XS", "L")],
        deploy={"XS": [("Poses", "python tools/demo.py --input 'my photos'")]},
        ran={"seed": 3},
        space={"architectures": 18_063_360},
        stages=pd.DataFrame({"name": ["largest"], "open": [["kernel", "depth"]]}),
    )
    return folder, Page(path)


def test_nothing_is_loaded_from_elsewhere(finished: tuple[Path, Page]) -> None:
    _, found = finished
    assert all(target.startswith(("data:", "#")) for target in found.loaded) and found.loaded
    assert "@import" not in found.text.split("<script")[0] and "url(" not in found.text.split("<script")[0]
    assert len(found.text.encode()) < LARGEST


def test_all_that_a_run_has_is_on_the_page(finished: tuple[Path, Page]) -> None:
    _, found = finished
    assert {"front", "subnets", "poses", "diagrams", "deploy", "training", "fidelity", "predictor", "run"} <= found.ids
    assert set(found.figures) == {"costs", "supernet-loss", "subnet-loss", "agreement"}
    titles = re.findall(
        r'"title":"(MACs|Parameters|Peak memory|Latency)"', json.dumps(found.figures, separators=(",", ":"))
    )
    assert titles == ["MACs", "Parameters", "Peak memory"]
    assert ["XS", "40 MMACs", "0.133 M", "128", "1.0", "31.0", "34.6"] in found.rows
    assert ["supernet", "all", "40", "0.61 (0.40 to 0.80)", "0.61 (0.40 to 0.80)"] in found.rows
    assert ["12", "0.4", "0.5", "1.0", "0.9"] in found.rows and ["largest", "kernel, depth"] in found.rows
    assert found.tags["img"] == 6 and found.text.count("data:image/jpeg;base64,/9g=") == 6
    assert "python tools/demo.py --input &#39;my photos&#39;" in found.text
    assert "18,063,360" in found.text and "SEED: 0" in found.text
    assert "XS reaches 34.6 at 40 MMACs, L reaches 43.2 at 240 MMACs" in found.text


def test_scores_in_percent_are_shown_as_they_are(tmp_path: Path) -> None:
    """The page of a run whose metric is PCKh has the tables and figures of the same run with fractions."""
    folder = make_run(tmp_path / "run")
    fractions = Page(write_html(folder, describe=describe))
    percent = Page(write_html(in_percent(folder), metric="Mean", percent=True, describe=describe))
    assert [[cell.replace("Mean", "AP") for cell in row] for row in percent.rows] == fractions.rows
    assert "Mean after retraining: XS reaches 34.6 at 40 MMACs, L reaches 43.2 at 240 MMACs" in percent.text
    for name in ("start", "end"):
        ends = [re.findall(rf'"{name}": (-?[\d.]+)', json.dumps(page.figures)) for page in (percent, fractions)]
        assert np.allclose(*[np.array(values, dtype=float) for values in ends])
    with pytest.raises(UserError, match=r"Mean: .* is no fraction of 1"):
        write_html(folder, metric="Mean", describe=describe)


def test_a_loss_has_a_figure_of_its_own_and_its_own_unit(tmp_path: Path) -> None:
    """The front falls, the predictor's error and the agreement are in the loss; subnets stay in percent of AP."""
    folder = by_loss(make_run(tmp_path / "run"))
    page = Page(write_html(folder, describe=describe, search=LOSS))
    costs, reported, agreement = (json.dumps(page.figures[name]) for name in ("costs", "reported", "agreement"))
    assert '"loss (lower is better)"' in costs and "AP (%)" not in costs and "retrained" not in costs
    assert "loss @score{0.0000}" in costs and "@score{0.0} %" in reported and '"AP (%)"' in reported
    assert (
        "loss in the supernet, search split (lower is better)" in agreement
        and "AP trained stand-alone (%)" in agreement
    )
    assert "compared architectures by loss (lower is better), subnets are reported by AP (%)" in page.text
    assert any("0.01" in row for row in page.rows) and "error (%)" not in page.text

    other = by_loss(make_run(tmp_path / "other"))
    runs = {path.name: RunTables(path, describe, {}) for path in (folder, other)}
    compared = Page(write_runs(tmp_path / "compare.html", runs, metric="AP", dataset="coco", search=LOSS))
    assert {"costs", "reported"} <= set(compared.figures)
    front = pd.read_csv(folder / "front.csv")
    reference = 1.1 * front["macs"].max(), 1.1 * front["loss"].max()
    points = front[["macs", "loss"]].to_numpy() * (1, -1)
    volume = 100 * hypervolume(points, (reference[0], -reference[1])) / (reference[0] * reference[1])
    assert any(f"{volume:.1f}" in row and f"{front['loss'].min():.4g}" in row for row in compared.rows)


def test_marks_know_their_architecture_and_are_drawn_once(finished: tuple[Path, Page]) -> None:
    """The evaluated architectures without those of the front; of every mark what the tooltip says."""
    text = json.dumps(finished[1].figures["costs"], ensure_ascii=False)
    for label in ("searched front", "evaluated by the search (14)", "random search (10)", "calibrated", "retrained"):
        assert f'"value": "{label}"' in text
    assert '"value": "from scratch"' not in text
    names = re.search(r'\["name", (\["XS", "L"\])\]', text)
    assert names is not None
    assert re.search(r"stages 1: width \d+ · stride 2 · blocks \d · expansion \d", text)
    assert "40 MMACs, 0.133 M parameters, 2.4 MB" in text


@pytest.fixture
def bare(finished: tuple[Path, Page], tmp_path: Path) -> Path:
    """A run with a front and nothing else."""
    folder = tmp_path / "bare"
    folder.mkdir()
    shutil.copy(finished[0] / "front.csv", folder)
    (folder / "comparison.csv").write_text("\n")
    return folder


def test_a_page_has_no_part_for_what_a_run_lacks(bare: Path) -> None:
    """No published network either, since none was evaluated on this dataset."""
    found = Page(write_html(bare, dataset="synthetic", published=html_page.PUBLISHED))
    assert found.ids - {""} == {"front", "run", "costs"}
    assert set(found.figures) == {"costs"}
    assert "random search" not in json.dumps(found.figures) and "LitePose" not in json.dumps(found.figures)


def test_a_budget_without_a_subnet_is_on_the_page(bare: Path) -> None:
    """Also where no budget has one; a reason is text."""
    rows = "name,limit,arch,reason\nS,60 MMACs,[0],\nM,61 MMACs,[0],same as <b>S</b>\n01,1 MMACs,,none\n"
    (bare / "budgets.csv").write_text(rows)
    text = write_html(bare).read_text()
    assert 'id="subnets"' in text and "<b>S" not in text and "S (60 MMACs)" not in text
    assert "<li>M (61 MMACs): same as &lt;b&gt;S&lt;/b&gt;</li>\n<li>01 (1 MMACs): none</li>" in text
    assert (
        "- 01 (1 MMACs): none" in write_report(bare).read_text()
        and "no SEARCH.BUDGETS" not in write_report(bare).read_text()
    )


def test_names_cannot_become_code(finished: tuple[Path, Page], bare: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    front = pd.read_csv(bare / "front.csv")
    front.assign(name=evil, arch=json.dumps({"kind": evil})).to_csv(bare / "front.csv", index=False)
    comparison = pd.read_csv(finished[0] / "comparison.csv")
    comparison.assign(name=evil.replace("/", "")).to_csv(bare / "comparison.csv", index=False)
    found = Page(write_html(bare, title=evil, ran={evil: evil}, deploy={evil: [(evil, evil)]}))
    assert "script>alert" not in found.text
    assert found.tags["script"] == finished[1].tags["script"]
    assert evil in json.dumps(found.figures)


def test_published_networks_are_marked_beside_their_own_dataset(bare: Path) -> None:
    path = write_html(bare, dataset="crowdpose", published=html_page.PUBLISHED)
    assert "LitePose-Auto-S" in json.dumps(Page(path).figures)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("front.csv", None, "front.csv: no such file; run search.py first"),
        ("supernet/log.csv", "step,loss\n1,2\n", r"log.csv: no column 'stage'; there are step, loss; remove it"),
        ("search/predictor.csv", 'a\n"', r"predictor.csv: not a table: .*; remove it"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(
    finished: tuple[Path, Page], tmp_path: Path, file: str, content: str | None, message: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    (folder / file).unlink() if content is None else (folder / file).write_text(content)
    with pytest.raises(UserError, match=message):
        write_html(folder, describe=describe)


# ------------------------------------------------------------------------------------------------- architecture text and diagrams


# ------------------------------------------------------------------------------------------------------- a whole run's


CROWD = ["DATASET.SYNTHETIC.TRAIN", "6", "DATASET.SYNTHETIC.VAL", "5", "DATASET.SYNTHETIC.SIZE", "[96,96]"]
MPII = ["DATASET.DATASET", "mpii", "DATASET.TRAIN", "train", "DATASET.TEST", "valid", "MODEL.NUM_JOINTS", "16"]


# --------------------------------------------------------------------------------------------------------- several runs


@pytest.fixture
def runs(finished: tuple[Path, Page], tmp_path: Path) -> list[Path]:
    """Two runs of which one is worse, with other settings."""
    folders = [tmp_path / "one" / "litepose", tmp_path / "two" / "litepose"]
    for seed, folder in enumerate(folders):
        shutil.copytree(finished[0], folder)
        (folder / "config.yaml").write_text(f"SEED: {seed}\nDATASET: {{DATASET: crowd_pose_kpt}}\n")
    front = pd.read_csv(folders[1] / "front.csv")
    front.assign(AP=front["AP"] - 0.1).iloc[:3].to_csv(folders[1] / "front.csv", index=False)
    return folders


def test_runs_of_mpii_are_compared_in_percent(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "compare.html"
    compare.main([*map(str, runs), "--out", str(out)])
    fractions = [row for row in Page(out).rows if row[0] in map(str, runs)]
    for folder in runs:
        in_percent(folder)
        (folder / "config.yaml").write_text("DATASET: {DATASET: mpii}\nMODEL: {NUM_JOINTS: 16}\n")
    compare.main([*map(str, runs), "--out", str(out)])
    assert [row for row in Page(out).rows if row[0] in map(str, runs)] == fractions


def test_runs_are_compared_on_one_page(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "compare.html"
    compare.main([*map(str, runs), "--out", str(out)])
    assert capsys.readouterr().out == f"{out}\n"
    found = Page(out)
    one, two = map(str, runs)
    reference = 1.1 * pd.read_csv(runs[0] / "front.csv")["macs"].max()
    for name, size in ((one, 6), (two, 3)):
        front = pd.read_csv(Path(name) / "front.csv")
        volume = hypervolume(front[["macs", "AP"]].to_numpy(), (reference, 0.0)) / reference
        row = next(row for row in found.rows if row[:2] == [name, str(size)])
        assert row[-1] == f"{100 * volume:.1f}"
    assert "(319 MMACs, AP 0)" in found.text
    assert [row[:2] for row in found.rows if row[0] in (one, two)][-4:] == [
        [one, "XS"],
        [two, "XS"],
        [one, "L"],
        [two, "L"],
    ]
    assert ["SEED", "0", "1"] in found.rows
    assert f'"value": "{two}: front"' in json.dumps(found.figures["costs"])
    assert all(target.startswith(("data:", "#")) for target in found.loaded)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.yaml").unlink(), "no run folder, it has no config.yaml"),
        (lambda folder: (folder / "front.csv").unlink(), "front.csv: no such file; run search.py first"),
        (
            lambda folder: (folder / "config.yaml").write_text("DATASET: {DATASET: coco_kpt}"),
            "is evaluated on coco by AP",
        ),
    ],
)
def test_runs_that_cannot_be_compared_end_in_one_line_and_exit_code_2(
    runs: list[Path], spoil: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(runs[1])
    with pytest.raises(SystemExit) as caught:
        run_program(compare.main, [*map(str, runs), "--out", str(runs[0] / "compare.html")])
    error = capsys.readouterr().err
    assert caught.value.code == 2 and message in error and error.count("\n") == 1
    assert not (runs[0] / "compare.html").exists()
