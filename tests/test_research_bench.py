"""What the experiments on photographs compute from their tables, and the networks that they choose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch

from search_spaces import litepose_top_down
from supernet.config.loading import load_config
from supernet.cost.macs import count
from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.pipeline.run import Run
from supernet.pipeline.training import new_supernet
from supernet.search.near import near_macs
from tests.tiny_run import configured
from tools.bench import score_reliability, search_gain, space_gate, supernet_methods
from tools.bench.photographs import Table

SPACE = litepose_top_down.SMALL


def macs(codes: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
    return np.array([count(litepose_top_down.build(SPACE.decode(code), 14), (1, 3, 96, 96)).macs for code in codes])


def test_a_table_goes_on(tmp_path: Path) -> None:
    for number in range(2):
        table = Table(tmp_path / "table.csv", ("name", "seed"))
        assert len(table.rows) == number
        table.add({"name": "a, b", "seed": number, "score": 0.123456789})
    assert table.find(name="a, b", seed=1) is not None and table.find(name="a", seed=1) is None
    assert pd.read_csv(tmp_path / "table.csv").score.tolist() == [0.123457] * 2


def test_architectures_near_a_budget() -> None:
    def widths(codes: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
        return codes.astype(np.int64).sum(axis=1)

    (archs,) = near_macs(SPACE, widths, [40], [5], np.random.default_rng(0), 0.05)
    assert len(set(archs)) == 5
    assert all(38 <= int(widths(SPACE.encode(arch)[None])[0]) <= 42 for arch in archs)
    with pytest.raises(UserError, match="0 of 1 lie within 2% of 0.0 MMACs"):
        near_macs(SPACE, lambda codes: np.zeros(len(codes)), [100], [1], np.random.default_rng(0))


def test_the_six_of_the_gate_are_within_the_space() -> None:
    kinds = space_gate.unlike(SPACE)
    assert len(kinds) == 6
    deep, shallow = (SPACE.restrict(kinds[name]) for name in ("deep, narrow", "shallow, wide"))
    assert [len(stage.blocks) for stage in deep.smallest.backbone.stages] == [4] * 4
    assert [stage.width for stage in deep.largest.backbone.stages] == [16, 24, 40, 64]
    assert [stage.width for stage in shallow.smallest.backbone.stages] == [32, 48, 80, 128]


def test_the_summary_of_the_gate() -> None:
    """Architectures that lie 0.1 apart and seeds that lie 0.02 apart."""
    rows = [
        {"name": name, "seed": seed, "search_oks": value + 0.02 * seed, "test_oks": value}
        for name, value in (("a", 0.1), ("b", 0.2), ("c", 0.3))
        for seed in (0, 1)
    ]
    found = space_gate.summary(pd.DataFrame(rows)).set_index("score").loc["search_oks"]
    assert found["correlation of seeds"] == pytest.approx(1)
    assert found["deviation of architectures"] == pytest.approx(0.1)
    assert found["deviation of seeds"] == pytest.approx(0.02 / np.sqrt(2))


def test_a_permutation_test_counts_all_divisions() -> None:
    """Three above two others: one division of ten is as good; without others there is nothing to say."""
    assert search_gain.permutation([0.5, 0.6, 0.7], [0.1, 0.2]) == pytest.approx((0.45, 0.1))
    assert search_gain.permutation([0.1], [0.2, 0.3, 0.4])[1] == 1.0
    assert search_gain.permutation([0.1], [])[1] == 1.0


def test_hand_made_networks_keep_the_budget() -> None:
    made = search_gain.handmade(SPACE, lambda codes: macs(codes), 16_000_000)
    assert made
    for name, arch in made.items():
        assert {block.kernel for stage in arch.backbone.stages for block in stage.blocks} == {int(name.split()[-1])}
        assert macs(SPACE.encode(arch)[None])[0] <= 16_320_000


def test_the_summary_of_the_methods_pairs_seeds() -> None:
    rows = [
        {"variant": variant, "seed": seed, "mean": 0.04 + 0.01 * seed - gain, "smallest": 0.1, "largest": 0.2}
        for seed in range(3)
        for variant, gain in (("today", 0.0), ("identity", 0.001 + 0.0001 * seed))
    ]
    found = supernet_methods.summary(pd.DataFrame(rows)).set_index("variant").loc["identity"]
    assert found["change"] == pytest.approx(-0.0011) and found["high"] < 0


def test_a_score_is_as_reliable_as_its_halves_agree() -> None:
    """One that orders both halves alike, one whose halves have nothing in common, and one that is not defined."""
    rng = np.random.default_rng(0)
    worth, budgets = rng.normal(size=80), np.repeat([24e6, 36e6], 40)
    columns = {"loss": (worth, worth**3), "AP": rng.normal(size=(2, 80)), "APL": (np.full(80, np.nan), worth)}
    halves = {
        f"{name} {half}": values
        for name, pair in columns.items()
        for half, values in zip(score_reliability.HALVES, pair, strict=True)
    }
    found = score_reliability.reliability(pd.DataFrame({"budget": budgets, **halves})).set_index(["score", "MACs"])
    assert found.loc[("loss", "24 M"), ["architectures", "halves", "whole", "low"]].tolist() == pytest.approx(
        [40, 1, 1, 1]
    )
    assert abs(found.loc[("AP", "mean"), "halves"]) < 0.3 and found.loc[("AP", "mean"), "low"] < 0
    assert "APL" not in found.index.get_level_values(0)
    assert score_reliability.whole(0.5) == pytest.approx(2 / 3) and score_reliability.whole(-0.9) == -0.9


def test_halves_of_the_search_people_are_scored_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run of the program evaluates nothing."""
    arguments = [*configured(tmp_path), "DATASET.SEARCH_IMAGES", "4", "DATASET.SYNTHETIC.TRAIN", "8"]
    run = Run(load_config(Path(arguments[1]), arguments[2:]), Path(arguments[1]))
    torch.manual_seed(0)
    weights = tmp_path / "weights.pt"
    checkpoint.save(weights, {"state_dict": new_supernet(run).state_dict(), "space": run.space.fingerprint})
    macs = int(run.costs.macs(run.space.encode(run.space.largest)[None])[0])
    arguments += ["--supernet", str(weights), "--budgets", str(macs), "--architectures", "1"]
    score_reliability.main(arguments)
    (journal,) = tmp_path.rglob("score_reliability.jsonl")
    before, table = journal.read_bytes(), pd.read_csv(journal.with_name("score_halves.csv"))
    assert {"loss first", "loss second", "AP first", "mOKS second", "PCK@0.2 first"} <= set(table.columns)
    assert table["loss first"][0] > 0 and table["loss first"][0] != table["loss second"][0]
    score_reliability.main(arguments)
    assert journal.read_bytes() == before
