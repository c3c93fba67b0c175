"""What an architecture is worth before it has weights of its own: cut out, calibrated, and evaluated on the search split.

Where it is evaluated makes no difference: a process of a cluster does what this one would do, with as many threads.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from yacs.config import CfgNode

from ..errors import UserError
from ..io.files import sha256
from ..search.loop import Evaluate, one_by_one
from ..sharing.supernet import Supernet
from .cluster import Cluster, Pool
from .extraction import calibrated
from .run import Run
from .scoring import Loss, Measure, measure_on
from .training import new_supernet

Value = Callable[[Any], Mapping[str, float]]  # the metrics of one architecture
Timed = tuple[Mapping[str, float], float]  # metrics, and the seconds they took


def evaluate_of(run: Run, supernet: Supernet[Any], source: Path) -> Evaluate[Any]:
    """The numbers of SEARCH.SCORE on the search split, by this process or a cluster as SEARCH.BACKEND says.

    Args:
        run: the run.
        supernet: trained, in eval mode.
        source: the file it came from.
    """
    return _evaluate("scores", run, supernet, source)


def losses_of(run: Run, supernet: Supernet[Any], source: Path) -> Evaluate[Any]:
    """``loss``, the task's own, on SEARCH.HALVING.IMAGES images of the search split; arguments as :func:`evaluate_of`."""
    return _evaluate("losses", run, supernet, source)


def finals_of(run: Run, supernet: Supernet[Any], source: Path) -> Evaluate[Any]:
    """The numbers of SEARCH.SCORE on the final images; arguments as :func:`evaluate_of`."""
    return _evaluate("finals", run, supernet, source)


def _evaluate(kind: str, run: Run, supernet: Supernet[Any], source: Path) -> Evaluate[Any]:
    if run.cfg.SEARCH.BACKEND == "local":
        return one_by_one(VALUES[kind](run, supernet))

    @cache
    def pool() -> Pool[Shipped, Any, Timed]:  # when there is something to evaluate: a finished search needs none
        weights = io.BytesIO()
        torch.save(supernet.state_dict(), weights)
        shipped = Shipped(kind, Worker.of(run), weights.getvalue(), sha256(source))
        return Pool(cluster_of(run), _timed, shipped)

    def evaluate(archs: Sequence[Any]) -> Iterator[tuple[int, Mapping[str, float], float]]:
        for position, (metrics, seconds) in pool().map(archs):
            yield position, metrics, seconds

    return evaluate


def cluster_of(run: Run) -> Cluster:
    """The cluster of the node RAY."""
    ray = run.cfg.RAY
    return Cluster(ray.ADDRESS, ray.WORKERS, ray.CPUS, ray.GPUS, ray.START_SECONDS)


# ---------------------------------------------------------------------------------------------------- in a worker process


@dataclass(frozen=True)
class Worker:
    """A setting on its way to another process. Data sets have to lie on its machine where the configuration says.

    Attributes:
        cfg: the resolved configuration.
        source: the YAML file it came from.
        folder: where relative paths begin.
        threads: torch threads of the process.
    """

    cfg: CfgNode
    source: Path
    folder: Path
    threads: int

    @classmethod
    def of(cls, run: Run) -> Worker:
        """For a setting of this process. A worker has THREADS threads, or else RAY.CPUS."""
        threads = int(run.cfg.THREADS or run.cfg.RAY.CPUS)
        return cls(run.cfg, run.source.resolve(), Path.cwd(), threads)

    def begin(self) -> Run:
        """The setting, in the worker process.

        Raises:
            UserError: when its machine lacks the folder.
        """
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise UserError(
                f"{self.folder}: {error.strerror}; start the program in a folder that all machines have"
            ) from None
        torch.set_num_threads(self.threads)
        return Run(self.cfg, self.source)


@dataclass(frozen=True)
class Shipped:
    """What a worker process needs to evaluate."""

    kind: str
    worker: Worker
    weights: bytes
    digest: str  # of the supernet's file


_opened: dict[tuple[str, str], tuple[Run, Supernet[Any]]] = {}  # one entry: data and weights are large


def _open(shipped: Shipped) -> tuple[Run, Supernet[Any]]:
    """Setting and supernet, kept for the other kind of value."""
    key = shipped.digest, str(shipped.worker)
    if key not in _opened:
        _opened.clear()
        run = shipped.worker.begin()
        supernet = new_supernet(run)
        supernet.load_state_dict(torch.load(io.BytesIO(shipped.weights), map_location="cpu", weights_only=True))
        _opened[key] = run, supernet.eval()
    return _opened[key]


def _timed(shipped: Shipped) -> Callable[[Any], Timed]:
    value = VALUES[shipped.kind](*_open(shipped))

    def measured(arch: Any) -> Timed:
        started = time.perf_counter()
        metrics = value(arch)
        return metrics, time.perf_counter() - started

    return measured


# ----------------------------------------------------------------------------------------------------------------- values


def subnet(run: Run, supernet: Supernet[Any], arch: Any) -> nn.Module:
    """The architecture cut out and calibrated."""
    network = supernet.extract(arch)
    calibrated(run, network, arch)
    return network


def scores_of(run: Run, supernet: Supernet[Any]) -> Value:
    """From an architecture to its numbers by SEARCH.SCORE on the search split, by this process."""
    return _value(run, supernet, measure_on(run, run.search))  # never what is reported


def _losses(run: Run, supernet: Supernet[Any]) -> Value:
    return _value(run, supernet, Loss(run, run.search, run.cfg.SEARCH.HALVING.IMAGES))


def _finals(run: Run, supernet: Supernet[Any]) -> Value:
    if run.data.final is None:
        raise UserError("DATASET.FINAL_IMAGES is 0: set how many training images the search's finalists are scored on")
    return _value(run, supernet, measure_on(run, run.data.final))


def _value(run: Run, supernet: Supernet[Any], measure: Measure) -> Value:
    return lambda arch: measure(subnet(run, supernet, arch), arch)


VALUES: dict[str, Callable[[Run, Supernet[Any]], Value]] = {"scores": scores_of, "losses": _losses, "finals": _finals}
