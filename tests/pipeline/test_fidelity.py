"""Rank correlations with known answers, the architectures that are trained stand-alone, and the program from end to end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from scipy import stats
from torch import nn

from search_spaces import litepose
from supernet.cli import fidelity, train
from supernet.cli.command import run_program
from supernet.config.loading import load_config
from supernet.cost.macs import count
from supernet.errors import UserError
from supernet.pipeline import standalone
from supernet.pipeline.run import Run
from supernet.search.ranking import (
    STANDALONE,
    bands,
    ceiling,
    correlations,
    kendall,
    mean_over_seeds,
    read_standalone,
    seed_noise,
    spearman,
    spread,
)
from supernet.search.zero_cost import synflow
from tests.paths import ROOT

CFG = ROOT / "experiments" / "synthetic" / "litepose.yaml"
RESTRICT = {"resolution": [128], "depth": [1], "kernel": [3], "deconv_width": [24]}  # leaves 256 architectures


def at(table: pd.DataFrame, predictor: str, band: str) -> Any:
    """The one line of a predictor and a band."""
    rows = table[(table.predictor == predictor) & (table.band == band)]
    assert len(rows) == 1
    return rows.iloc[0]


# -------------------------------------------------------------------------------------------------------- statistics


def test_correlations_against_pairs_counted_by_hand() -> None:
    """1 2 3 4 5 against 2 1 4 3 5: 8 pairs agree, 2 do not; the squared rank differences sum to 4."""
    first, second = np.array([1.0, 2, 3, 4, 5]), np.array([20.0, 10, 40, 30, 50])
    assert kendall(first, second) == pytest.approx((8 - 2) / 10)
    assert spearman(first, second) == pytest.approx(1 - 6 * 4 / (5 * 24))
    # a tie in one: of six pairs five can be ordered, all agree
    assert kendall(np.array([1.0, 1, 2, 3]), np.array([1.0, 2, 3, 4])) == pytest.approx(5 / np.sqrt(5 * 6))
    assert np.isnan(kendall(np.ones(4), np.arange(4.0))) and np.isnan(spearman(np.ones(4), np.arange(4.0)))


def test_resampled_correlations_are_those_of_the_resample() -> None:
    """By SciPy, on the architectures written out as often as they were drawn, with ties in both scores."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 8, (2, 15)).astype(float)
    counts = rng.multinomial(15, np.full(15, 1 / 15), size=30)
    for row, tau, rho in zip(counts, kendall(first, second, counts), spearman(first, second, counts), strict=True):
        drawn = np.repeat(np.arange(15), row)
        assert tau == pytest.approx(stats.kendalltau(first[drawn], second[drawn]).statistic)
        assert rho == pytest.approx(stats.spearmanr(first[drawn], second[drawn]).statistic)


def test_bands_hold_equally_many_and_do_not_part_equal_costs() -> None:
    assert bands([40, 10, 30, 20], 2).tolist() == [1, 0, 1, 0]
    assert np.bincount(bands(np.random.default_rng(0).permutation(43), 4)).tolist() == [11, 11, 10, 11]
    assert bands([1, 2, 2, 2, 2, 9], 2).tolist() == [0, 0, 0, 0, 0, 1]


def test_bands_tell_size_from_ranking() -> None:
    """A predictor that knows size alone, and one that knows quality within a size standalone."""
    macs = np.repeat([10e6, 20e6, 30e6, 40e6], 6) + np.tile(np.arange(6), 4)
    quality = np.tile([3.0, 1, 5, 0, 4, 2], 4)
    truth = macs + 1e6 * quality
    table = correlations(truth, {"quality": quality, "MACs": macs, "truth": truth}, macs, baseline="MACs")
    assert at(table, "truth", "all").kendall == pytest.approx(1)
    assert pytest.approx(1) == at(table, "truth", "within bands").kendall_low
    assert at(table, "quality", "within bands").kendall == pytest.approx(1)
    assert at(table, "quality", "all").kendall < 0.5
    size, within = at(table, "MACs", "all"), at(table, "MACs", "within bands")
    assert size.kendall > 0.7 > 0.2 > within.kendall
    assert within.kendall == pytest.approx(kendall(np.arange(6.0), quality[:6]).item())
    assert size.kendall_low < size.kendall < size.kendall_high
    lead = at(table, "quality - MACs", "within bands")
    assert lead.kendall == pytest.approx(1 - within.kendall) and lead.kendall_low > 0
    assert at(table, "quality - MACs", "all").kendall_high < 0
    assert at(table, "MACs", "20.0 to 20.0 MMACs").architectures == 6
    assert set(table.band) - {"all", "within bands"} == {f"{size}.0 to {size}.0 MMACs" for size in (10, 20, 30, 40)}


def test_the_interval_holds_the_true_value_about_as_often_as_it_says() -> None:
    """Normal pairs of correlation r have τ = 2/π·asin(r) (Kendall & Gibbons); 60 samples of 40, 95 % intervals."""
    r, rng, held = 0.6, np.random.default_rng(1), 0
    true = 2 / np.pi * np.arcsin(r)
    for _ in range(60):
        x, noise = rng.standard_normal((2, 40))
        table = correlations(x, {"p": r * x + np.sqrt(1 - r**2) * noise}, np.arange(40), band_count=1, resamples=200)
        row = at(table, "p", "all")
        held += row.kendall_low <= true <= row.kendall_high
    assert 52 <= held <= 60


def test_the_interval_is_that_of_the_seed() -> None:
    rng = np.random.default_rng(0)
    scores, costs = rng.random((2, 20)), np.arange(20)
    first, again, other = (
        correlations(scores[0], {"p": scores[1]}, costs, resamples=50, seed=seed) for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(first, again)
    assert (first.kendall == other.kendall).all() and (first.kendall_low != other.kendall_low).any()


@pytest.mark.parametrize("trainings", [1, 2, 4])
def test_the_ceiling_is_what_the_truth_itself_reaches(trainings: int) -> None:
    """True scores against means of noisy trainings, 1,000 architectures; noise as large as half of the spread."""
    rng = np.random.default_rng(trainings)
    truth = rng.standard_normal(1000)
    scores = truth + 0.5 * rng.standard_normal((trainings, 1000))
    agreement = 1 / (1 + 0.25)
    assert ceiling(agreement, trainings) == pytest.approx(kendall(truth, scores.mean(axis=0)).item(), abs=0.03)
    assert ceiling(1.0, trainings) == 1 and ceiling(-0.3, trainings) == 0 and np.isnan(ceiling(float("nan"), trainings))


def test_what_has_no_correlation_is_refused() -> None:
    with pytest.raises(
        UserError, match="11 architectures in 4 bands: give at least 3 for each, or lower FIDELITY.BANDS"
    ):
        correlations(np.arange(11), {"p": np.arange(11)}, np.arange(11))
    with pytest.raises(UserError, match="p: the score of architecture 2 is not finite"):
        correlations(np.arange(4), {"p": [0, 1, np.nan, 3]}, np.arange(4), band_count=1)


# -------------------------------------------------------------------------------------------------------- which ones


def test_spread_covers_the_range_and_grows_at_its_end() -> None:
    costs = np.random.default_rng(0).permutation(np.arange(1000))
    rows = spread(costs, 64)
    assert len(set(rows)) == 64 and rows[:10] == spread(costs, 10)
    assert costs[rows[:5]].tolist() == [0, 999, 500, 250, 749]
    assert np.diff(np.sort(costs[rows])).max() <= 2 * 999 / 64
    assert sorted(spread([5, 5, 5], 3)) == [0, 1, 2]
    with pytest.raises(UserError, match="4 architectures are wanted, the space offers 3; lower FIDELITY.ARCHITECTURES"):
        spread([1, 2, 3], 4)


# ------------------------------------------------------------------------------------------------------- the program

TINY = {
    "SPACE": {"FAMILY": "litepose", "NAME": "small", "RESTRICT": RESTRICT},
    "DATASET": {"SYNTHETIC": {"TRAIN": 20, "VAL": 6, "SIZE": [128, 128]}, "SEARCH_IMAGES": 4, "CALIBRATION_IMAGES": 4},
    "SUPERNET": {"STAGES": [{"name": "all", "open": ["expansion", "width"], "steps": 2}]},
    "FIDELITY": {"ARCHITECTURES": 3, "SEEDS": 2, "REPEATED": 1, "EPOCHS": 1, "LR": 0.001, "IMAGES_PER_GPU": 4, "BANDS": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a finished table, and the arguments of its configuration."""
    folder = tmp_path_factory.mktemp("fidelity")
    content = yaml.safe_load(CFG.read_text())
    for node, values in TINY.items():
        content[node] = {**content.get(node, {}), **values}
    content["OUTPUT_DIR"], content["DATASET"]["ROOT"] = str(folder / "output"), str(folder / "data")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    arguments = ["--cfg", str(folder / "tiny.yaml")]
    fidelity.main(arguments)
    return folder / "output" / folder.name / "tiny" / "fidelity", arguments


def test_the_table_has_a_line_for_every_training(tiny: tuple[Path, list[str]]) -> None:
    table = read_standalone(tiny[0] / "standalone.csv")
    assert table.seed.tolist() == [0, 0, 0, 1] and table.steps.tolist() == [4] * 4
    assert table.arch[0] == table.arch[3] and table.arch.nunique() == 3
    for line in table.itertuples():
        arch = litepose.from_json(json.loads(line.arch))
        cost = count(litepose.build(arch, joints=14), (1, 3, 128, 128))
        assert (line.macs, line.params) == (cost.macs, cost.params)
    assert len(list((tiny[0] / "networks").glob("[!.]*"))) == 4


def test_a_stopped_table_goes_on_with_what_is_missing(
    tiny: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that was cut off is trained again (its weights are there, so it is evaluated again), the others are kept."""
    journal, whole = tiny[0] / "standalone.jsonl", (tiny[0] / "standalone.csv").read_text()
    content = journal.read_bytes()
    journal.write_bytes(content[:-40])
    trained = []
    judged = standalone.train_standalone
    monkeypatch.setattr(standalone, "train_standalone", lambda *given: trained.append(given) or judged(*given))
    fidelity.main(tiny[1])
    assert len(trained) == 1 and "3 of 4 trainings are done" in capsys.readouterr().out
    drop = re.compile(r",[0-9.]+,(?=[0-9.]+,[0-9.]+,\"{)")  # seconds differ
    assert drop.sub(",", (tiny[0] / "standalone.csv").read_text()) == drop.sub(",", whole)


def test_a_supernet_is_evaluated_by_the_table(tiny: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, arguments = tiny
    train.main(arguments)
    weights = folder.parent / "supernet" / "weights.pt"
    fidelity.main([*arguments, "--table", str(folder / "standalone.csv"), "--supernet", str(weights)])
    printed = capsys.readouterr().out
    (result,) = [path for path in folder.iterdir() if (path / "report.md").exists()]
    assert (result / "report.md").read_text().strip() in printed
    assert "4 trainings of 3 architectures" in printed and "| supernet - MACs | stand-alone | within bands |" in printed
    scores = pd.read_csv(result / "scores.csv")
    table = mean_over_seeds(read_standalone(folder / "standalone.csv"))
    assert scores.test.tolist() == pytest.approx(table.test.tolist()) and scores.trainings.tolist() == [2, 1, 1]
    found = pd.read_csv(result / "correlations.csv")
    assert {"supernet", "supernet_test"} <= set(scores) and "supernet, same images - MACs" in set(found.predictor)
    assert {"parameters", "SynFlow", "parameters - MACs"} <= set(found.predictor)
    assert set(found["evaluated on"]) == {"test", "search"} and set(found.band) >= {"all", "within bands"}


def test_the_rank_after_retraining(tiny: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each architecture is retrained from the supernet once; the second time is read."""
    folder, arguments = tiny
    train.main(arguments)
    weights, table = folder.parent / "supernet" / "weights.pt", str(folder / "standalone.csv")
    given = [*arguments, "--table", table, "--supernet", str(weights), "--retrain", "RETRAIN.EPOCHS", "1"]
    fidelity.main(given)
    (result,) = [path for path in folder.iterdir() if (path / "report.md").exists()]
    scores = pd.read_csv(result / "scores.csv")
    assert len(scores.retrained) == 3 and scores.retrained.between(0, 1).all()
    assert len(list(result.rglob("retrained/weights.pt"))) == 3
    found = pd.read_csv(result / "correlations.csv")
    assert set(found.predictor[found["evaluated on"] == "test, retrained"]) >= {"supernet", "alone", "supernet - MACs"}
    monkeypatch.setattr("supernet.pipeline.subnets.train_network", lambda *_, **__: pytest.fail("trained again"))
    fidelity.main(given)
    pd.testing.assert_frame_equal(pd.read_csv(result / "scores.csv"), scores)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--workers", "0"], "--workers 0: at least one process has to train; to train none, give --table"),
        (["--table", "{tmp}/none.csv", "--supernet", "{cfg}"], r"none.csv: no such file; make it with"),
        (["--table", "{cfg}", "--supernet", "{cfg}"], r"tiny.yaml: (not a table|no column 'macs'|line \d+ has)"),
        (["FIDELITY.EPOCHS", "2"], "standalone.jsonl: made with settings RETRAIN.EPOCHS 1, this run has 2"),
        (["--supernet", "{tmp}/none.pt"], "none.pt: cannot be read: No such file"),
    ],
)
def test_bad_input_is_one_line(
    tiny: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], expected: str
) -> None:
    given = [word.format(tmp=tmp_path, cfg=tiny[1][1]) for word in more]
    with pytest.raises(SystemExit) as ended:
        run_program(fidelity.main, [*tiny[1], *given])
    assert ended.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and re.search(expected, error)


def test_a_table_of_another_space_is_refused(tiny: tuple[Path, list[str]], tmp_path: Path) -> None:
    table = pd.read_csv(tiny[0] / "standalone.csv")
    table["arch"] = table.arch.str.replace('"img_size": 128', '"img_size": 160')
    table.to_csv(tmp_path / "other.csv", index=False)
    train.main(tiny[1])
    weights = tiny[0].parent / "supernet" / "weights.pt"
    with pytest.raises(
        UserError, match="the space does not: resolution 160 is not 128 at resolution; give the table's --cfg"
    ):
        fidelity.main([*tiny[1], "--table", str(tmp_path / "other.csv"), "--supernet", str(weights)])


def test_tables_are_checked_and_seeds_averaged(tmp_path: Path) -> None:
    lines = pd.DataFrame(
        [(9, 5, 0, 0.2, 0.4, '{"w": 2}'), (7, 3, 0, 0.1, 0.3, '{"w": 1}'), (9, 5, 1, 0.4, 0.8, '{"w": 2}')],
        columns=[*STANDALONE],
    )
    lines.to_csv(tmp_path / "t.csv", index=False)
    table = mean_over_seeds(read_standalone(tmp_path / "t.csv"))
    assert table.arch.tolist() == ['{"w": 2}', '{"w": 1}'] and table.test.tolist() == pytest.approx([0.6, 0.3])
    assert table.trainings.tolist() == [2, 1]
    pd.concat([lines, lines[1:2]]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UserError, match="t.csv: line 5 repeats an architecture and seed"):
        read_standalone(tmp_path / "t.csv")
    lines.drop(columns="test").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UserError, match="t.csv: no column 'test'; there are macs, params, seed, search, arch"):
        read_standalone(tmp_path / "t.csv")


def test_chance_in_a_training() -> None:
    """Differences of 0.02, -0.02 and 0.04 between two seeds: each training varies by their root mean square over √2."""
    scores = [(0.10, 0.12), (0.30, 0.28), (0.20, 0.24)]
    lines = [("abc"[row], seed, pair[seed]) for row, pair in enumerate(scores) for seed in (0, 1)]
    trainings = pd.DataFrame([*lines, ("d", 0, 0.9)], columns=["arch", "seed", "test"])
    found = seed_noise(trainings)
    assert (found.architectures, found.kendall) == (3, 1.0) and found.noise == pytest.approx(
        np.sqrt((4e-4 + 4e-4 + 16e-4) / 3 / 2)
    )
    assert seed_noise(trainings[trainings.seed == 0]).architectures == 0


def test_chance_within_bands_leaves_size_out() -> None:
    """Two seeds that agree on size alone agree on nothing at equal MACs; where they agree there too, the ceiling is high."""
    macs, rng = np.repeat([10e6, 20e6], 10), np.random.default_rng(0)
    noise, quality = rng.standard_normal((2, 20)), rng.standard_normal(20)
    for truth, low, high in ((macs / 1e5, 0.0, 0.5), (macs / 1e5 + 5 * quality, 0.75, 1.0)):
        lines = [
            (f"a{row}", seed, macs[row], truth[row] + noise[seed, row]) for seed in (0, 1) for row in range(len(macs))
        ]
        trainings = pd.DataFrame(lines, columns=["arch", "seed", "macs", "test"])
        assert seed_noise(trainings).ceiling > 0.9
        found = seed_noise(trainings, 2)
        assert found.architectures == 20 and low <= found.ceiling <= high


def test_architectures_near_budgets(tiny: tuple[Path, list[str]]) -> None:
    """Equally many of each, in turn, none twice, all within the share; a budget that nothing meets is named."""
    cfg = Path(tiny[1][1])
    run = Run(load_config(cfg, ["FIDELITY.ARCHITECTURES", "5", "FIDELITY.BUDGETS", "[46e6, 52e6]"]), cfg)
    archs = [arch for arch, seed in standalone.wanted(run) if seed == 0]
    macs = run.costs.macs(np.stack([run.space.encode(arch) for arch in archs]))
    assert len(set(archs)) == 5 and (np.abs(macs / [46e6, 52e6, 46e6, 52e6, 46e6] - 1) <= 0.02).all()
    few = Run(load_config(cfg, ["FIDELITY.BUDGETS", "[1e9]", "FIDELITY.ARCHITECTURES", "3"]), cfg)
    with pytest.raises(UserError, match=r"0 of 3 lie within 2% of 1000.0 MMACs; choose another budget"):
        standalone.wanted(few)


def test_synflow_of_a_convolution_is_its_output() -> None:
    """|w · ∂R/∂w| adds up to R = Σ|w| times the positions; BatchNorm's shift and signs of weights do not matter."""
    conv = nn.Conv2d(3, 2, 1, bias=False)
    expected = np.log(conv.weight.detach().abs().double().sum().item() * 4 * 6)
    assert synflow(conv, (4, 6)) == pytest.approx(expected)
    before = conv.weight.detach().clone()
    assert synflow(nn.Sequential(conv), (4, 6)) == pytest.approx(expected) and torch.equal(conv.weight, before)
