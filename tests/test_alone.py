"""Networks trained alone by several processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from supernet.fidelity import read_alone
from supernet.programs import fidelity
from tests.test_fidelity import CFG, TINY


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
        table = read_alone(tmp_path / workers / tmp_path.name / "tiny" / "fidelity" / "alone.csv")
        tables.append(table.drop(columns="seconds").sort_values(["arch", "seed"], ignore_index=True))
    pd.testing.assert_frame_equal(*tables)
    assert np.isfinite(tables[0].test).all()
