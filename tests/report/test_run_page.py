"""What only a run knows of its page: networks, images, commands."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from supernet.cli.command import run_program as run_program
from supernet.config.loading import load_config
from supernet.pipeline import html_page
from supernet.pipeline.run import Run
from tests.paths import ROOT
from tests.report.test_html import CROWD, MPII, Page


@pytest.mark.parametrize(("family", "overrides"), [("litepose", []), ("hrnet", MPII)])
def test_what_only_the_setting_knows(family: str, overrides: list[str], tmp_path: Path) -> None:
    """Poses of truth and subnet on the same images, the subnet's diagram and commands, bottom-up and top-down."""
    cfg = ROOT / "experiments" / "synthetic" / f"{family}.yaml"
    folders = ["OUTPUT_DIR", str(tmp_path), "DATASET.ROOT", str(tmp_path / "data"), "DEVICE", "cpu"]
    run = Run(load_config(cfg, [*CROWD, *overrides, *folders]), cfg)
    arch = run.space.smallest
    subnet = run.folder / "subnets" / "XS"
    subnet.mkdir(parents=True)
    described = run.family.to_json(arch)
    (subnet / "arch.json").write_text(json.dumps(described))
    torch.save({"state_dict": run.build(arch).state_dict()}, subnet / "weights.pt")
    costs = {"name": ["XS"], "macs": 4e7, "params": 1e5, "resolution": arch.input_hw[0]}
    score = 63.4 if run.percent else 0.634
    front = pd.DataFrame(costs | {run.score: score, "arch": json.dumps(described)})
    front.to_csv(run.folder / "front.csv", index=False)
    scores = dict.fromkeys(("ap_transferred", "ap_calibrated", "ap_retrained", "ap_scratch"), score)
    pd.DataFrame(costs | scores).to_csv(run.folder / "comparison.csv", index=False)
    about = {
        "title": "Tiny",
        "metric": run.score,
        "percent": run.percent,
        "ran": {},
        "space": {},
        "stages": pd.DataFrame(),
        "commands": [],
    }

    found = Page(html_page.write_page(run, about, "synthetic"))
    assert found.tags["img"] == 2 * html_page.IMAGES
    assert next(row for row in found.rows if row[0] == "XS")[-4:] == ["63.4"] * 4
    assert {"poses", "diagrams", "deploy"} <= found.ids and found.tags["rect"] > 5
    for program in ("python tools/demo.py", "python tools/export.py", "python valid.py"):
        assert f"{program} --weights {subnet / 'weights.pt'}" in found.text
