"""The table of stand-alone trainings: what a supernet's ranking is measured against, and a small tabular benchmark.

Every line is one training of one architecture from fresh weights, by the same recipe, evaluated on the search split and on
the split that is reported. A journal holds the lines; whatever stops the program, the same command goes on.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from yacs.config import CfgNode

from ..report import write_csv
from ..search.journal import Journal, canonical_key
from ..search.near import near_macs
from ..search.ranking import spread
from .inputs import evaluation, standalone_training
from .keys import provenance
from .progress import Progress, say
from .run import Run
from .subnets import loaded
from .train import train_network
from .training import steps_of

POOL = 20_000  # random architectures of which those at the wanted MACs are taken
Job = tuple[Any, int]  # an architecture and the seed of its training


def standalone_table(run: Run, folder: Path, workers: int, jobs: Sequence[Job] | None = None) -> Path:
    """Train what the table does not hold yet, and write it as ``standalone.csv``.

    Args:
        run: the run; its FIDELITY node says how long.
        folder: for the table, its journal, and a folder for each training.
        workers: processes of one thread each; 1 trains in this one.
        jobs: what to train; None: as many architectures and seeds as the FIDELITY node says.
    """
    journal: Journal[Job] = Journal(
        folder / "standalone.jsonl",
        space=run.space.fingerprint,
        seed=run.cfg.FIDELITY.SEED,
        settings=_settings(run),
        to_json=lambda job: {"arch": run.family.to_json(job[0]), "seed": job[1]},
    )
    jobs = wanted(run) if jobs is None else jobs
    left = [job for job in jobs if journal.find(job) is None]
    say(f"{folder / 'standalone.csv'}: {len(jobs) - len(left)} of {len(jobs)} trainings are done")
    with Progress("stand-alone trainings", len(jobs), len(jobs) - len(left)) as progress:
        for job, scores, seconds in _results(run, folder, left, workers):
            macs = int(run.costs.macs(run.space.encode(job[0])[None])[0])
            journal.add(job, algorithm="stand-alone", macs=macs, metrics=scores, seconds=seconds)
            write_csv(folder / "standalone.csv", _table(run, journal))
            progress.to(sum(journal.find(job) is not None for job in jobs))
    write_csv(folder / "standalone.csv", _table(run, journal))
    return folder / "standalone.csv"


def wanted(run: Run) -> list[Job]:
    """All trainings of the table: every architecture with the first seed, then the first REPEATED with the others.

    More architectures or seeds add to the list and change nothing in it.
    """
    fidelity, space = run.cfg.FIDELITY, run.space
    rng = np.random.default_rng(fidelity.SEED)
    if fidelity.BUDGETS:
        archs = _near_budgets(run, rng)
    else:
        codes = np.unique(space.sample_codes(POOL, rng), axis=0)
        archs = [space.decode(codes[row]) for row in spread(run.costs.macs(codes), fidelity.ARCHITECTURES)]
    repeats = [(arch, seed) for seed in range(1, fidelity.SEEDS) for arch in archs[: fidelity.REPEATED]]
    return [(arch, 0) for arch in archs] + repeats


def _near_budgets(run: Run, rng: np.random.Generator) -> list[Any]:
    """Random architectures near each of FIDELITY.BUDGETS, the budgets in turn, equally many of each."""
    budgets = run.cfg.FIDELITY.BUDGETS
    counts = [len(part) for part in np.array_split(np.arange(run.cfg.FIDELITY.ARCHITECTURES), len(budgets))]
    return [arch for turn in zip_longest(*near(run, budgets, counts, rng)) for arch in turn if arch is not None]


def near(run: Run, budgets: Sequence[float], counts: Sequence[int], rng: np.random.Generator) -> list[list[Any]]:
    """So many random architectures of a run near each of several MACs, by FIDELITY.WITHIN; see :func:`near_macs`."""
    return near_macs(run.space, run.costs.macs, budgets, counts, rng, run.cfg.FIDELITY.WITHIN)


def train_standalone(run: Run, arch: Any, seed: int, folder: Path) -> dict[str, float]:
    """Train one architecture from fresh weights and evaluate it: its score on the ``search`` and on the ``test`` split."""
    path = train_network(run, arch, standalone_training(run, arch, seed), folder, initial=None)
    network, splits = loaded(run, arch, path), {"search": run.search, "test": run.test}
    return {split: run.metrics(network, dataset, arch)[run.score] for split, dataset in splits.items()}


def _settings(run: Run) -> dict[str, Any]:
    """What all trainings of the table have in common, and their evaluation."""
    common = provenance(standalone_training(run, run.space.smallest, 0)) | provenance(evaluation(run))
    return {name: value for name, value in common.items() if name not in ("architecture", "SEED")}


@dataclass(frozen=True)
class _Training:
    """A job with all that another process needs to do it."""

    cfg: CfgNode
    source: Path
    folder: Path
    arch: Any
    seed: int

    @cached_property
    def run(self) -> Run:
        return Run(self.cfg, self.source)

    def __call__(self) -> tuple[dict[str, float], float]:
        """Scores, and seconds taken (by this run of the program)."""
        started = time.monotonic()
        return train_standalone(self.run, self.arch, self.seed, self.folder), time.monotonic() - started


def _results(
    run: Run, folder: Path, jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, dict[str, float], float]]:
    """What every job comes to, in the order in which they end, with its seconds."""

    def training(job: Job) -> _Training:
        arch, seed = job
        name = hashlib.sha256(canonical_key(run.family.to_json(arch)).encode()).hexdigest()[:12]
        cfg = run.cfg
        if workers > 1:
            cfg = cfg.clone()
            cfg.defrost()
            cfg.THREADS = 1
            cfg.freeze()
        return _Training(cfg, run.source, folder / "networks" / f"{name}-{seed}", arch, seed)

    if workers == 1:
        yield from ((job, *training(job)()) for job in jobs)
        return
    say(f"{run.data.root}: {workers} processes read it")  # a synthetic dataset is drawn here, before they look for it
    with _processes(workers) as pool:
        running = {pool.submit(training(job)): job for job in jobs}
        yield from ((running[future], *future.result()) for future in as_completed(running))


@contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes; when this one is stopped, each of them saves its training and ends."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown()
        signal.signal(signal.SIGTERM, before)


def _table(run: Run, journal: Journal[Job]) -> pd.DataFrame:
    """A line for every training, in the journal's order: architecture, costs, seed, steps, seconds, scores."""
    step = standalone_training(run, run.space.smallest, 0)
    steps = steps_of(run, step.epochs, step.optimisation.batch)
    codes = [run.space.encode(run.family.from_json(record.arch["arch"])) for record in journal.records]
    params = run.costs.params(np.stack(codes)).tolist() if codes else []
    return pd.DataFrame(
        {
            "macs": record.macs,
            "params": parameters,
            "seed": record.arch["seed"],
            "steps": steps,
            "seconds": round(record.seconds, 1),
            "search": record.metrics["search"],
            "test": record.metrics["test"],
            "arch": json.dumps(record.arch["arch"]),
        }
        for record, parameters in zip(journal.records, params, strict=True)
    )
