"""The demo made small, down to a whole search.py of a second: eight architectures, two training steps, no evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn

from supernet.cli import search
from supernet.config.loading import load_config
from supernet.cost.cost_model import CostModel
from supernet.pipeline.run import Run
from tests.paths import ROOT

CFG = ROOT / "experiments" / "synthetic" / "litepose.yaml"
SMALL = """
THREADS: 1
DATASET: {SYNTHETIC: {TRAIN: 6, VAL: 2, SIZE: [128, 128]}, SEARCH_IMAGES: 2, CALIBRATION_IMAGES: 2}
SPACE:
  RESTRICT:
    resolution: [128]
    depth: [1]
    expansion: [2]
    kernel: [3]
    stages?0?.width: [16]
    stages?1?.width: [24]
    stages?2?.width: [40]
    stages?3?.width: [64]
SUPERNET: {STAGES: [{name: all, open: [deconv_width], steps: 2, lr: 0.005}]}
SEARCH: {EVALUATIONS: 4, POPULATION: 2, RANDOM_BASELINE: 2, BUDGETS: {S: 60000000}}
RETRAIN: {EPOCHS: 1}
TRAIN: {IMAGES_PER_GPU: 2}
"""


def demo(folder: Path, *overrides: object) -> Run:
    """The setting of the demo, with data and results in a folder."""
    own = ("OUTPUT_DIR", folder, "DATASET.ROOT", folder / "data", "THREADS", 1)
    return Run(load_config(CFG, [str(value) for value in (*own, *overrides)]), CFG)


def small_demo(folder: Path, *overrides: object) -> Run:
    """The same with ten images."""
    small = (
        "DATASET.SYNTHETIC.TRAIN", 8, "DATASET.SYNTHETIC.VAL", 2, "DATASET.SYNTHETIC.SIZE", "[128, 128]",
        "DATASET.SEARCH_IMAGES", 2, "DATASET.CALIBRATION_IMAGES", 2, "SEARCH.RANDOM_BASELINE", 0,
    )  # fmt: skip
    return demo(folder, *small, *overrides)


def configured(folder: Path) -> list[str]:
    """Arguments of a program for a run ``folder / output / <name of the folder> / run``; the data lie in the folder, too."""
    content = yaml.safe_load(CFG.read_text())
    for node, values in yaml.safe_load(SMALL).items():
        content[node] = {**content[node], **values} if isinstance(values, dict) else values
    content["OUTPUT_DIR"], content["DATASET"]["ROOT"] = str(folder / "output"), str(folder / "data")
    (folder / "run.yaml").write_text(yaml.safe_dump(content))
    return ["--cfg", str(folder / "run.yaml")]


def only_the_chain(patch: pytest.MonkeyPatch) -> None:
    """Leave out what takes time beside the steps: costs are tabulated once, nothing is drawn, and networks are not evaluated.

    A larger network has the better score instead, and every bit of its weights shows in it.
    """
    tables: dict[str, CostModel[Any]] = {}

    def costs(run: Run) -> CostModel[Any]:
        key = run.space.fingerprint
        if key not in tables:
            tables[key] = CostModel(run.build, run.space)
        return tables[key]

    def metrics(_: Run, network: nn.Module, dataset: Any, *__: Any) -> dict[str, float]:
        weights = list(network.state_dict().values())
        total = sum(float(tensor.double().abs().sum()) for tensor in weights)
        return {"AP": (sum(tensor.numel() for tensor in weights) + (total + len(dataset)) % 1) / 1e6}

    patch.setattr(Run, "costs", property(costs))
    patch.setattr(Run, "metrics", metrics)
    patch.setattr(search, "write_reports", lambda *_: [])
