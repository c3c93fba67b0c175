"""Does a supernet rank networks of equal MACs? Its loss against the same networks, each trained alone, on photographs.

Works on the tables of search_gain.py: its random networks, all within 2 % of a budget, and its supernet. Beside the supernet
stand MACs, parameters, SynFlow (Tanaka et al., NeurIPS 2020; of fresh weights) and the training loss of the second pass over the
images. The ceiling is the τ that a perfect ranking would reach with the noise of these trainings, estimated from the networks of
the budget that were trained twice. Written: ranking.csv, a row for each network, and correlations.csv.

python -m tools.bench.ranking --out <folder of search_gain> -- DATASET.ROOT data/lspet DATASET.SEARCH_IMAGES 1000
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from supernet.search.ranking import ceiling, correlations
from supernet.search.zero_cost import synflow
from tools.bench.photographs import CONFIGURATION, Photographs, Table
from tools.bench.search_gain import Search
from tools.bench.supernet_methods import METHODS, trained


def second_pass(log: Path, images: int, batch: int) -> float:
    """Mean training loss between the first and the second pass over the images, from a training's log."""
    table = pd.read_csv(log)
    seen = table.step * batch / images
    return float(table.loss[(seen > 1) & (seen <= 2)].mean())


def rows(search: Search, folder: Path, trainings: pd.DataFrame, seed_of_log: int = 0) -> pd.DataFrame:
    """Each random network with what was measured of it and what predicts it; larger predicts better."""
    run = search.photographs.run
    found = []
    for (budget, name), part in trainings[trainings.group == "random"].groupby(["budget", "name"], sort=False):
        arch = run.family.from_json(json.loads(part.arch.iloc[0]))
        code = run.space.encode(arch)
        place = folder / "networks" / f"{budget}-{str(name).replace(' ', '-')}-{seed_of_log}"
        torch.manual_seed(0)
        row: dict[str, Any] = {"budget": budget, "name": name, "trainings": len(part)}
        row |= {"test_oks": part.test_oks.mean(), "macs": part.macs.iloc[0], "params": part.params.iloc[0]}
        row["supernet"] = -np.mean([search.loss(code, half) for half in ("first", "second")])
        row["synflow"] = synflow(run.build(arch), arch.input_hw)
        row["two passes"] = -second_pass(place / "log.csv", len(run.train), run.cfg.TRAIN.IMAGES_PER_GPU)
        found.append(row)
    return pd.DataFrame(found)


def noise_of(trainings: pd.DataFrame) -> tuple[float, int]:
    """Standard deviation of a training's mean OKS by its seed, pooled over the networks with several; how many these are."""
    groups = trainings.groupby("name").test_oks
    several = groups.var(ddof=1)[groups.size() > 1]
    return float(np.sqrt(several.mean())), len(several)


def main() -> None:
    """Score what the tables lack and print the correlations of each budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg", type=Path, default=CONFIGURATION)
    parser.add_argument("--out", type=Path, required=True, help="folder of search_gain.py")
    parser.add_argument("--method", default="identity", choices=list(METHODS), help="of search_gain.py's supernet")
    parser.add_argument("--steps", type=int, default=3000, help="of search_gain.py's supernet")
    parser.add_argument("--calibration", type=int, default=128)
    parser.add_argument("overrides", nargs="*", help="KEY VALUE …")
    options = parser.parse_args()
    photographs = Photographs.of(options.cfg, ["THREADS", "1", *options.overrides])
    space, method = photographs.run.space, METHODS[options.method]
    supernet = trained(photographs, space, method, 0, options.steps, options.out / "supernet", "supernet")
    evaluations = Table(options.out / "evaluations.csv", ("code", "half"))
    search = Search(photographs, supernet, evaluations, options.calibration)
    trainings = pd.read_csv(options.out / "trainings.csv")
    table = rows(search, options.out, trainings)
    table.to_csv(options.out / "ranking.csv", index=False, float_format="%.6g")
    parts = []
    for budget, part in table.groupby("budget"):
        predictors = {name: part[name] for name in ("supernet", "macs", "params", "synflow", "two passes")}
        found = correlations(part.test_oks, predictors, part.macs, baseline="macs", band_count=1)
        parts.append(found[found.band == "all"].assign(budget=budget))
        noise, twice = noise_of(trainings[trainings.budget == budget])
        spread = float(part.test_oks.std())
        agreement = 1 - noise**2 / spread**2
        print(
            f"{budget:,} MACs: {len(part)} networks; deviation of a training {noise:.4f} ({twice} networks trained twice), of "
            f"the networks {spread:.4f}; ceiling of τ {ceiling(agreement, 1):.2f}"
        )
    result = pd.concat(parts)
    result.to_csv(options.out / "correlations.csv", index=False, float_format="%.4g")
    print(result.to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
