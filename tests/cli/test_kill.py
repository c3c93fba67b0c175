"""A training or a search that is killed at any moment, and started again, ends as one that was not."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from supernet.pipeline.fit import Keeping, fit
from supernet.report import write_csv
from supernet.search.journal import Journal
from supernet.search.loop import one_by_one, run_search
from supernet.search.successive_halving import Halving
from tests import toy_search
from tests.killing import calls, run_killed
from tests.tiny_training import Task, training
from tests.toy_search import ALGORITHMS, LARGE

STEPS = 25


def end_alike(work: Callable[[Path], None], outcome: Callable[[Path], Any], kills: int, tmp_path: Path) -> Any:
    """Do the work undisturbed, then killed again and again; returns the outcome, which is the same every time."""
    counted = tmp_path / "calls"
    assert not run_killed(partial(work, tmp_path / "whole"), calls, 0, counted)
    whole, last, folder = outcome(tmp_path / "whole"), int(counted.read_text()), tmp_path / "killed"
    rng, done = np.random.default_rng(0), 0
    while done < kills or folder.exists():
        moment = int(rng.integers(1, last)) if done < kills else 0
        if run_killed(partial(work, folder), calls, moment, counted):
            done += 1
            continue
        assert outcome(folder) == whole
        shutil.rmtree(folder)
    return whole


def train(folder: Path) -> None:
    """A checkpoint is written after every step."""
    trainer, plan = training(STEPS)
    task: Any = Task()
    fit(folder, "killed", trainer, plan, task, [], {"SEED": 1}, {}, Keeping(seconds=0.0))


def trained(folder: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Weights and log of a training that has ended; nothing else is left but its curves."""
    assert {entry.name for entry in folder.iterdir()} == {"weights.pt", "log.csv", "tensorboard"}
    with (folder / "log.csv").open() as file:
        rows = [{name: row[name] for name in row if name != "images_per_second"} for row in csv.DictReader(file)]
    weights = torch.load(folder / "weights.pt")["state_dict"]
    return {name: (str(tensor.dtype), tensor.tolist()) for name, tensor in weights.items()}, rows


@pytest.mark.parametrize("kills", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_training(tmp_path: Path, kills: int) -> None:
    """Weights bit for bit, and every line of the log once."""
    _, log = end_alike(train, trained, kills, tmp_path)
    assert [row["step"] for row in log] == ["20", "25"]


def search_by(algorithm: Any, folder: Path) -> None:
    """A quick search of 50 candidates of which half have had a look before, and a front."""
    path = folder / "journal.jsonl"
    journal: Journal[Any] = Journal(path, space=LARGE.fingerprint, seed=0, settings={}, to_json=asdict)
    look = one_by_one(lambda net: {"loss": 1 / toy_search.score(net)})
    with pytest.MonkeyPatch.context() as patch:
        toy_search.quicken(patch)
        found = run_search(
            toy_search.searcher(algorithm),
            one_by_one(lambda net: {"AP": toy_search.score(net)}),
            journal,
            50,
            halving=Halving(look, "loss on 1 images", 0.5),
        )
    best = sorted(found, key=lambda record: record.metrics["AP"])[-5:]
    write_csv(folder / "front.csv", pd.DataFrame([{"macs": r.macs, "arch": r.key, **r.metrics} for r in best]))


def searched(folder: Path) -> tuple[list[dict[str, Any]], str]:
    """The lines of the journal, without the seconds that an evaluation took, and the front."""
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    return [{**line, "seconds": 0} for line in lines], (folder / "front.csv").read_text()


@pytest.mark.parametrize(
    ("algorithm", "kills"),
    [(ALGORITHMS[1], 3), *(pytest.param(each, 50, marks=pytest.mark.slow) for each in ALGORITHMS)],
    ids=lambda value: getattr(value, "name", value),
)
def test_killed_search(tmp_path: Path, algorithm: Any, kills: int) -> None:
    """Every record once and in the same order, looks as well as scores."""
    lines, _ = end_alike(partial(search_by, algorithm), searched, kills, tmp_path)
    assert [line.get("stage") for line in lines[1:]].count("full") == 50 and len(lines) == 151
