"""The folder of a finished run with plausible numbers and real architectures, for the tests of its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from search_spaces import litepose
from search_spaces.space import codec
from supernet.cost.macs import operations
from supernet.io.files import sha256
from supernet.report import Network
from supernet.sharing.meta import meta_network

SPACE = litepose.SPACES["small"]
NAMES = ("XS", "L")


def describe(arch: Any) -> Any:
    """A superconfig with names for its fields."""
    return codec.to_json(litepose.from_json(arch))


def make_run(folder: Path) -> Path:
    """Write what search.py leaves: a front of 6 with memory as a cost, 20 found, 10 random, and two subnets of the front."""
    rng = np.random.default_rng(0)
    archs = [litepose.to_json(SPACE.sample(rng)) for _ in range(30)]
    macs = np.linspace(40e6, 330e6, 30).round()
    table = pd.DataFrame(
        {
            "macs": macs, "params": macs / 300, "memory": 2e6 + macs / 100, "resolution": 128,
            "AP": 0.3 + 0.1 * np.log10(macs / 4e7), "arch": [json.dumps(arch) for arch in archs],
        }
    )  # fmt: skip
    front = table.iloc[[0, 5, 10, 15, 20, 25]].assign(name=[f"front-{index}" for index in range(6)])
    found = table.drop(front.index).iloc[:14].assign(AP=lambda rows: rows["AP"] - 0.05)
    _write(folder / "front.csv", front)
    _write(folder / "search" / "found.csv", pd.concat([front.drop(columns="name"), found]))
    _write(folder / "search" / "random.csv", found.iloc[:10].assign(AP=0.25))
    selected = front.iloc[[0, 4]]
    comparison = {
        "name": NAMES, "macs": selected["macs"].tolist(), "params": selected["params"].tolist(), "resolution": 128,
        "ap_transferred": 0.01, "ap_calibrated": [0.31, 0.38], "ap_retrained": [0.3456, 0.4321], "ap_scratch": np.nan,
    }  # fmt: skip
    _write(folder / "comparison.csv", pd.DataFrame(comparison))
    steps = pd.DataFrame({"step": range(20, 400, 20), "loss": np.geomspace(0.05, 0.005, 19)})
    _write(folder / "supernet" / "log.csv", steps.assign(stage=["largest"] * 9 + ["width"] * 10))
    for name, arch in zip(NAMES, selected["arch"], strict=True):
        _write(folder / "subnets" / name / "retrained" / "log.csv", steps.assign(stage="one network"))
        (folder / "subnets" / name / "arch.json").write_text(arch)
    (folder / "supernet" / "weights.pt").write_bytes(b"weights")
    fidelity = folder / "fidelity" / sha256(folder / "supernet" / "weights.pt")[:12]
    scores = {"supernet": [0.2, 0.3, 0.4], "test": [0.25, 0.3, 0.41], "macs": [4e7, 5e7, 6e7]}
    _write(fidelity / "scores.csv", pd.DataFrame(scores))
    interval = {"": 0.61, "_low": 0.4, "_high": 0.8}
    intervals = {f"{name}{end}": value for name in ("kendall", "spearman") for end, value in interval.items()}
    correlation = {"evaluated on": ["test", "search"], "predictor": "supernet", "band": "all", "architectures": 40}
    _write(fidelity / "correlations.csv", pd.DataFrame(correlation | intervals))
    fit = {"evaluated": [12, 24], "kendall": [0.4, 0.7], "spearman": [0.5, 0.8], "error": 0.01, "coverage": 0.9}
    _write(folder / "search" / "predictor.csv", pd.DataFrame(fit))
    (folder / "config.yaml").write_text("SEED: 0\n")
    return folder


def in_percent(folder: Path, metric: str = "Mean") -> Path:
    """Rewrite the tables of a run as those of a metric that is in percent: AP becomes ``metric``, times 100."""
    for name in ("front", "search/found", "search/random"):
        table = pd.read_csv(folder / f"{name}.csv").rename(columns={"AP": metric})
        _write(folder / f"{name}.csv", table.assign(**{metric: 100 * table[metric]}))
    _times_100(folder / "comparison.csv", "ap_transferred", "ap_calibrated", "ap_retrained", "ap_scratch")
    for file in folder.glob("fidelity/*/scores.csv"):
        _times_100(file, "supernet", "test")
    if (folder / "search" / "predictor.csv").is_file():
        _times_100(folder / "search" / "predictor.csv", "error")
    return folder


def by_loss(folder: Path) -> Path:
    """Rewrite the tables of a run as those of a search by the loss, which falls as AP rises."""
    for name in ("front", "search/found", "search/random"):
        table = pd.read_csv(folder / f"{name}.csv")
        _write(folder / f"{name}.csv", table.assign(loss=0.05 - 0.1 * table["AP"]).drop(columns="AP"))
    for file in folder.glob("fidelity/*/scores.csv"):
        table = pd.read_csv(file)
        _write(file, table.assign(supernet=0.05 - 0.1 * table["supernet"]))
    return folder


def _times_100(file: Path, *columns: str) -> None:
    table = pd.read_csv(file)
    _write(file, table.assign(**{name: 100 * table[name] for name in columns}))


def networks(folder: Path) -> dict[str, Network]:
    """The two subnets, to be drawn."""
    found = {}
    for name in NAMES:
        arch = litepose.from_json(json.loads((folder / "subnets" / name / "arch.json").read_text()))
        found[name] = Network(operations(meta_network(litepose.build, arch), (1, 3, 128, 128)), 128 * 128)
    return found


def _write(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
