"""The algorithms against chance, by the benchmark."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from supernet.errors import UserError
from tests.paths import ROOT
from tools.bench import search as bench


def test_the_searched_front_beats_random_search_on_most_seeds() -> None:
    space, whole = bench.STAND_IN_SPACE, bench.stand_in()
    (largest, _), (_, worst) = whole.points(np.stack([space.encode(space.largest), space.encode(space.smallest)]))
    table = bench.compare(
        whole, seeds=range(5), evaluations=200, algorithms=("nsga2", "random"), reference=(largest, worst)
    )
    volumes = table.pivot(index="seed", columns="algorithm", values="hypervolume")
    assert (table["evaluations"] == 200).all()
    assert (volumes["nsga2"] > 1.01 * volumes["random"]).sum() >= 4, volumes


def test_the_predictor_needs_half_of_what_chance_needs_on_trained_networks(capsys: pytest.CaptureFixture[str]) -> None:
    """All 256 networks of a part of the demo's space, each extracted, calibrated and evaluated."""
    bench.main(["--table", str(ROOT / "experiments" / "synthetic" / "table.csv")])
    output = capsys.readouterr().out
    ratios = dict(re.findall(r"(\w+) [\d.]+ \(([\d.]+) of random\)", output))
    wins = re.search(r"nsga2 ahead of random on (\d) of 5 seeds", output)
    assert float(ratios["predictor"]) <= 0.5, output
    assert wins is not None and int(wins[1]) >= 4, output


def evaluated_table(path: Path, rows: int) -> Path:
    rng = np.random.default_rng(7)
    nets = [bench.STAND_IN_SPACE.sample(rng) for _ in range(rows)]
    archs = [json.dumps(dataclasses.asdict(net)) for net in nets]
    values = [bench.stand_in_score(net) for net in nets]
    pd.DataFrame({"macs": bench.stand_in_macs(nets), "AP": values, "arch": archs}).to_csv(path, index=False)
    return path


def test_the_benchmark_refuses_tables_that_say_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such table"):
        bench.main(["--table", str(tmp_path / "none.csv")])
    with pytest.raises(UserError, match="30 evaluated architectures; a comparison needs at least 100"):
        bench.main(["--table", str(evaluated_table(tmp_path / "few.csv", 30))])
    with pytest.raises(UserError, match="no column 'PCKh'"):
        bench.main(["--table", str(tmp_path / "few.csv"), "--score", "PCKh"])


def test_table_codes_know_absent_places() -> None:
    archs = ['{"a": 3, "b": [{"k": 5}]}', '{"a": 3, "b": [{"k": 3}, {"k": 7}]}', '{"a": 3, "b": [{"k": 7}, {"k": 9}]}']
    assert bench.table_codes(archs).tolist() == [[1, -1], [0, 0], [2, 1]]
