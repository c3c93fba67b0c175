"""Tables of parameters and multiply-accumulates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from search_spaces import FAMILIES, higher_hrnet, litepose
from supernet.cli import profile
from supernet.cost.macs import count
from tests.paths import ROOT

CFG = str(ROOT / "experiments" / "synthetic" / "litepose.yaml")


def test_one_architecture_layer_by_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The layers add up to the total, which is that of the built network."""
    profile.main(["--cfg", CFG, "--superconfig", "litepose-XS", "--layers", "--csv", str(tmp_path / "layers.csv")])
    assert "| total | 1.68 M | 883 MMACs |" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "layers.csv").set_index("layer")
    arch = litepose.published()["litepose-XS"]
    cost = count(litepose.build(arch), (1, 3, *arch.input_hw))
    assert table.loc["total", "macs"] == cost.macs == table["macs"].sum() - cost.macs
    assert table.loc["first.0.0", "params"] == 3 * 32 * 9


def test_published_networks_beside_their_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The gradual shrinking stands among them; its figures are those of the slides."""
    monkeypatch.setattr(profile, "FAMILIES", {"higher_hrnet": FAMILIES["higher_hrnet"]})
    profile.main(["--published", "--csv", str(tmp_path / "t.csv"), "--markdown", str(tmp_path / "t.md")])
    assert (tmp_path / "t.md").read_text().strip() == capsys.readouterr().out.strip()
    table = pd.read_csv(tmp_path / "t.csv").set_index("network")
    assert list(table.index) == [*higher_hrnet.PUBLISHED, *higher_hrnet.REBUILT]
    for name, figure in (("shrink0", 12.5), ("shrink1", 10.12), ("shrink2", 10.02), ("shrink3", 9.15)):
        assert table.loc[f"higherhrnet-{name}", "published"] == figure
        assert table.loc[f"higherhrnet-{name}", "ratio"] == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize(
    "arguments", [[], ["--cfg", CFG], ["--published", "--cfg", CFG, "--superconfig", "litepose-XS"]]
)
def test_either_one_or_the_other(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One line that says so."""
    with pytest.raises(SystemExit) as caught:
        profile.main(arguments)
    assert caught.value.code == 2
    assert "give either --published, or --cfg and --superconfig" in capsys.readouterr().err


def test_the_tool_does_not_hide_the_standard_librarys_profile() -> None:
    """It is called profile.py, and the folder of a program that runs is where Python looks first."""
    code = (
        "import sys; sys.path.insert(0, 'tools'); import cProfile, profile; print(profile.run, sys.path[0] == 'tools')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "function run" in done.stdout and "False" in done.stdout, done.stderr
