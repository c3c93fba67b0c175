"""Selected subnets against random networks of equal MACs, from end to end, with trainings of a step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from search_spaces import litepose
from supernet.cli import gain
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.pipeline import standalone
from supernet.pipeline.run import Run
from supernet.report.html import write_html
from tests.pipeline.test_fidelity import CFG, TINY

BUDGETS = (47e6, 53e6)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run folder with two selected subnets, as a search leaves it."""
    folder = tmp_path_factory.mktemp("gain")
    content = yaml.safe_load(CFG.read_text())
    for node, values in TINY.items():
        content[node] = {**content.get(node, {}), **values}
    content["OUTPUT_DIR"], content["DATASET"]["ROOT"] = str(folder / "output"), str(folder / "data")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    run = Run(load_config(folder / "tiny.yaml"), folder / "tiny.yaml")
    archs = standalone.near(run, BUDGETS, [1, 1], np.random.default_rng(5))
    rows = []
    for name, (arch,) in zip(("S", "M"), archs, strict=True):
        place = run.paths.subnet(name)
        place.path.mkdir(parents=True)
        place.architecture.write_text(json.dumps(litepose.to_json(arch)))
        macs = int(run.costs.macs(run.space.encode(arch)[None])[0])
        rows.append({"name": name, "macs": macs, "params": 1, "resolution": 128, "ap_transferred": 0.1,
                     "ap_calibrated": 0.2, "ap_retrained": 0.3, "ap_scratch": None})  # fmt: skip
    pd.DataFrame(rows).to_csv(run.paths.comparison, index=False)
    code = {"macs": [row["macs"] for row in rows], "AP": [0.2, 0.3], "params": 1, "resolution": 128}
    front = pd.DataFrame(
        {"name": ["front-0", "front-1"], **code, "arch": [json.dumps(litepose.to_json(a)) for (a,) in archs]}
    )
    front.to_csv(run.paths.front, index=False)
    return run


def test_trained_alike_and_shown(searched: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Two selected, two random ones each; a second call trains nothing; the report has the table."""
    arguments = ["--cfg", str(searched.source), "--random", "2", "--seeds", "1"]
    gain.main(arguments)
    printed = capsys.readouterr().out
    assert "p = " in printed and "| S | 4" in printed
    table = pd.read_csv(searched.paths.gain / "gain.csv")
    assert table.groupby(["name", "group"]).size().to_dict() == {
        ("M", "random"): 2, ("M", "selected"): 1, ("S", "random"): 2, ("S", "selected"): 1
    }  # fmt: skip
    for name, part in table.groupby("name"):
        mine = part.macs[part.group == "selected"].item()
        assert (abs(part.macs / mine - 1) <= 0.02).all(), name
    before = (searched.paths.gain / "standalone.csv").stat().st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standalone, "train_standalone", lambda *_: pytest.fail("trained again"))
        gain.main(arguments)
    assert (searched.paths.gain / "standalone.csv").stat().st_mtime_ns >= before
    page = write_html(searched.folder, metric="AP", dataset="").read_text(encoding="utf-8")
    assert "Does the search pay?" in page and "% of 2" in page


def test_without_a_search_or_sense(searched: Run, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        gain.main(["--cfg", str(searched.source), "--random", "0"])
    with pytest.raises(UserError, match=r"comparison.csv: no such file; .*search.py"):
        gain.main(["--cfg", str(searched.source), "OUTPUT_DIR", str(tmp_path)])
