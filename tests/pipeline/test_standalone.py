"""The measured table of the demo space, and its trainings in several processes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from search_spaces import litepose
from supernet.cli import fidelity
from supernet.cost.macs import count
from supernet.search.ranking import correlations, mean_over_seeds, read_standalone
from tests.paths import ROOT
from tests.pipeline.test_fidelity import CFG, TINY

SPACE = litepose.SMALL.restrict({"resolution": [128]})


def test_the_measured_table_is_of_the_demo_space() -> None:
    trainings = read_standalone(ROOT / "experiments" / "synthetic" / "standalone.csv")
    table = mean_over_seeds(trainings)
    assert len(table) >= 40 and (table.trainings >= 2).all() and trainings.steps.nunique() == 1
    archs = [litepose.from_json(json.loads(text)) for text in table.arch]
    assert len(set(archs)) == len(archs) and all(SPACE.contains(arch) for arch in archs)
    for row in (0, 1, 17):
        cost = count(litepose.build(archs[row], joints=14), (1, 3, 128, 128))
        assert (table.macs[row], table.params[row]) == (cost.macs, cost.params)
    assert table[["search", "test"]].to_numpy().min() > 0.2 and table[["search", "test"]].to_numpy().max() < 1
    # Evaluated on other images, the same networks rank alike: what is measured is more than noise.
    found = correlations(table.test, {"search": table.search}, table.macs, resamples=200)
    assert found.kendall_low[found.band == "all"].item() > 0.3


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    content = yaml.safe_load(CFG.read_text())
    for node, values in TINY.items():
        content[node] = {**content.get(node, {}), **values}
    content["DATASET"]["ROOT"] = str(tmp_path / "data")
    tables = []
    for workers in ("2", "1"):
        content["OUTPUT_DIR"] = str(tmp_path / workers)
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content))
        fidelity.main(["--cfg", str(tmp_path / "tiny.yaml"), "--workers", workers])
        table = read_standalone(tmp_path / workers / tmp_path.name / "tiny" / "fidelity" / "standalone.csv")
        tables.append(table.drop(columns="seconds").sort_values(["arch", "seed"], ignore_index=True))
    pd.testing.assert_frame_equal(*tables)
    assert np.isfinite(tables[0].test).all()
