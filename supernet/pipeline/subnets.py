"""From an architecture of the front to a network worth comparing: transfer, calibrate, retrain, and evaluate each on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..cli.train import train_subnet
from ..cli.transfer import calibrated, cut, finish
from ..io import checkpoint
from ..io.files import read_json, sha256, sweep, write_atomically
from ..sharing.supernet import Supernet
from .fit import check_settings
from .progress import say
from .provenance import Archive, renew_subnet
from .run import Run
from .training import TRAINED_BY, place

#: Columns of comparison.csv and the stage of a subnet's life behind each.
STAGES = {
    "ap_transferred": "transferred",
    "ap_calibrated": "calibrated",
    "ap_retrained": "retrained",
    "ap_scratch": "from scratch",
}


def compare_subnets(
    run: Run, selected: Mapping[str, str], supernet: Supernet[Any], source: Path, archive: Archive | None = None
) -> list[dict[str, Any]]:
    """:func:`compare` for several architectures, by name, as JSON texts."""
    archs = {name: run.family.from_json(json.loads(text)) for name, text in selected.items()}
    return [compare(run, name, arch, supernet, source, archive) for name, arch in archs.items()]


def compare(
    run: Run, name: str, arch: Any, supernet: Supernet[Any], source: Path, archive: Archive | None = None
) -> dict[str, Any]:
    """Bring one architecture to the end and evaluate it on the reported split after every stage; a row of comparison.csv.

    What a former run has done is read, not done again. Where its settings were others, it is archived, or without ``aside``
    refused.
    """
    folder = run.folder / "subnets" / name
    sweep(folder)
    record = _Record(folder / "metrics.json", run, arch, source, archive)

    if not record.has("calibrated"):
        network, certificate = cut(run, supernet, arch)
        record.measure("transferred", lambda: place(network, run))
        finish(run, folder, arch, network, certificate, source)
        record.costs(certificate)
        record.measure("calibrated", lambda: network)

    teacher = _largest(run, supernet) if run.cfg.RETRAIN.DISTILLATION else None
    record.measure(
        "retrained",
        lambda: trained(run, arch, folder / "retrained", initial=folder / "weights.pt", teacher=teacher),
    )
    if run.cfg.RETRAIN.FROM_SCRATCH:
        record.measure("from scratch", lambda: trained(run, arch, folder / "scratch", initial=None))
    say(f"{name}: " + ", ".join(f"{stage} {record.score(stage):.3f}" for stage in STAGES.values() if record.has(stage)))
    return record.row(name)


def trained(run: Run, arch: Any, folder: Path, *, initial: Path | None, teacher: nn.Module | None = None) -> nn.Module:
    """The network that :func:`.train.train_subnet` trains (same arguments), with its weights."""
    path = train_subnet(run, arch, folder, initial=initial, teacher=teacher)
    network = run.build(arch)
    checkpoint.load_checkpoint(network, path)
    return place(network, run)


def _largest(run: Run, supernet: Supernet[Any]) -> nn.Module:
    """The supernet's largest network, calibrated at its own resolution, as a teacher."""
    arch = run.space.largest
    network = supernet.extract(arch)
    calibrated(run, network, arch)
    return network.requires_grad_(False)


class _Record:
    """``metrics.json`` of one subnet: what it costs, and the official metric after every stage."""

    def __init__(self, path: Path, run: Run, arch: Any, source: Path, archive: Archive | None) -> None:
        self.path, self.run, self.arch = path, run, arch
        made_with = run.settings(*TRAINED_BY, "SUPERNET", "RETRAIN", "TEST") | {
            "arch": run.family.to_json(arch),
            "source_sha256": sha256(source),
        }
        self.content: dict[str, Any] = {"made_with": made_with, "metrics": {}}
        if path.exists():
            found = read_json(path)
            if isinstance(found, dict) and "made_with" in found:
                if archive is None:
                    check_settings(path, found["made_with"], made_with, ("RETRAIN.FROM_SCRATCH",))
                    self.content = found
                else:
                    self.content = renew_subnet(path.parent, found, made_with, archive)
                if self.content is not found:
                    self._write()

    def has(self, stage: str) -> bool:
        return stage in self.content["metrics"]

    def score(self, stage: str) -> float:
        return float(self.content["metrics"][stage][self.run.score])

    def costs(self, certificate: dict[str, Any]) -> None:
        self.content |= {key: certificate[key] for key in ("macs", "params")}
        self._write()

    def measure(self, stage: str, network: Callable[[], nn.Module]) -> None:
        """Evaluate ``network()`` on the reported split, unless that was done before."""
        if self.has(stage):
            return
        self.content["metrics"][stage] = self.run.metrics(network(), self.run.test, self.arch)
        self._write()

    def _write(self) -> None:
        write_atomically(self.path, json.dumps(self.content, indent=2) + "\n")

    def row(self, name: str) -> dict[str, Any]:
        """The subnet's row of comparison.csv."""
        scores = {column: self.score(stage) if self.has(stage) else None for column, stage in STAGES.items()}
        return {
            "name": name,
            "macs": self.content["macs"],
            "params": self.content["params"],
            "resolution": self.arch.input_hw[0],
            **scores,
        }
