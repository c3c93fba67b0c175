"""The selected subnets of a search against random architectures of equal MACs, all trained stand-alone by one recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..report import write_csv
from ..search.journal import canonical_key
from ..search.ranking import read_standalone
from .run import Run
from .standalone import near, standalone_table

SELECTED, RANDOM = "selected", "random"


def gain_table(run: Run, selected: Mapping[str, Any], folder: Path, *, random: int, seeds: int, workers: int) -> Path:
    """Train what the table lacks, and write it as ``gain.csv``: a line for each training.

    Args:
        run: the run; its FIDELITY node says how long one training is, and how near MACs have to be.
        selected: the architectures that a search chose, by name.
        folder: for the table, and for the trainings.
        random: how many random architectures there are for each selected one.
        seeds: trainings of each selected architecture; a random one has one.
        workers: processes of one thread each; 1 trains in this one.

    Raises:
        UserError: fewer architectures than that are near a selected one's MACs.
    """
    codes = np.stack([run.space.encode(arch) for arch in selected.values()])
    macs = run.costs.macs(codes).tolist()
    drawn = near(run, macs, [random] * len(macs), np.random.default_rng(run.cfg.FIDELITY.SEED))
    groups = [(name, SELECTED, arch, seed) for name, arch in selected.items() for seed in range(seeds)]
    groups += [(name, RANDOM, arch, 0) for name, archs in zip(selected, drawn, strict=True) for arch in archs]
    table = standalone_table(run, folder, workers, [(arch, seed) for _, _, arch, seed in groups])
    trainings: Any = read_standalone(table)
    trainings["key"] = [canonical_key(json.loads(text)) for text in trainings.arch]
    known = {(row["key"], row["seed"]): row for row in trainings.to_dict("records")}
    rows = []
    for name, group, arch, seed in groups:
        found = known[canonical_key(run.family.to_json(arch)), seed]
        kept = {column: found[column] for column in ("macs", "params", "test", "arch")}
        rows.append({"name": name, "group": group, "seed": seed, **kept})
    write_csv(folder / "gain.csv", pd.DataFrame(rows))
    return folder / "gain.csv"
