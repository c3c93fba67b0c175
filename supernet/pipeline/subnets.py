"""From an architecture of the front to a network worth comparing: extract, calibrate, retrain, and evaluate after each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from ..io import checkpoint
from ..io.files import sweep, write_atomically
from ..io.lock import locked
from ..io.run_folder import SubnetFolder
from ..search.journal import differences
from ..sharing.supernet import Supernet
from . import inputs
from .extraction import calibrated, extract, write_subnet
from .keys import provenance
from .progress import say
from .provenance import Archive, Made, check
from .run import Run
from .stage_records import CALIBRATED, RETRAINED, SCRATCH, STAGES, TRANSFERRED, read_stages
from .steps import NetworkTraining
from .train import train_network
from .training import place


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

    What a former run has done is read, not done again. What was made with other inputs is archived, or without ``archive``
    refused.
    """
    folder = run.paths.subnet(name)
    with locked(folder.path):
        sweep(folder.path)
        record = _Record(run, folder, arch, source, archive)
        if not record.has(CALIBRATED):
            network, certificate = extract(supernet, arch)
            record.measure(TRANSFERRED, lambda: place(network, run))
            write_subnet(run, folder, arch, network, certificate, source)
            record.costs(certificate)
            record.measure(CALIBRATED, lambda: network)
        trainings: dict[str, tuple[Path, Path | None]] = {RETRAINED: (folder.retrained, folder.weights)}
        if run.cfg.RETRAIN.FROM_SCRATCH:
            trainings[SCRATCH] = (folder.scratch, None)
        for stage, (place_of_training, initial) in trainings.items():
            if record.has(stage):
                continue
            step = record.training(stage)
            teacher = _largest(run, supernet) if step.teacher else None
            path = train_network(run, arch, step, place_of_training, initial=initial, teacher=teacher)
            record.measure(stage, lambda path=path: loaded(run, arch, path))  # type: ignore[misc]
        done = [stage for stage in STAGES.values() if record.has(stage)]
        say(f"{name}: " + ", ".join(f"{stage} {record.score(stage):.3f}" for stage in done))
        return record.row()


def training_of(run: Run, arch: Any, source: Path, stage: str) -> NetworkTraining:
    """The training of a stage, ``retrained`` or ``from scratch``, of an architecture from the supernet of a file."""
    if stage == SCRATCH:
        return inputs.network_training(run, arch, initial=None)
    teacher = inputs.digest(source) if run.cfg.RETRAIN.DISTILLATION else None
    return inputs.network_training(run, arch, initial=inputs.extracted(run, arch, source), teacher=teacher)


def loaded(run: Run, arch: Any, path: Path) -> nn.Module:
    """The network of a file of weights, on the run's device."""
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
    """``metrics.json`` of one subnet: what it costs, and of every stage the official metric and what it was made with."""

    def __init__(self, run: Run, folder: SubnetFolder, arch: Any, source: Path, archive: Archive | None) -> None:
        self.run, self.folder, self.arch, self.source = run, folder, arch, source
        self.content = read_stages(folder.metrics)
        self._renew(archive)

    # --------------------------------------------------------------------------------------------------------- inputs

    @cached_property
    def _extraction(self) -> dict[str, Any]:
        return provenance(inputs.transfer(self.run, self.arch, self.source))

    @cached_property
    def _evaluation(self) -> dict[str, Any]:
        return provenance(inputs.evaluation(self.run))

    def training(self, stage: str) -> NetworkTraining:
        """The training of a stage."""
        return training_of(self.run, self.arch, self.source, stage)

    def _made_with(self, stage: str) -> dict[str, dict[str, Any]]:
        trained = stage in (RETRAINED, SCRATCH)
        weights = provenance(self.training(stage)) if trained else self._extraction
        return {"weights": weights, "evaluation": self._evaluation}

    # ------------------------------------------------------------------------------------------------------ renewal

    def _renew(self, archive: Archive | None) -> None:
        """Take out what was made with other inputs."""
        stages, folder = self.content["stages"], self.folder
        first = next((stages[stage] for stage in (CALIBRATED, TRANSFERRED) if stage in stages), None)
        found = differences(first["made_with"]["weights"], self._extraction) if first else {}
        if found:
            self._put(archive, found, f"subnet {folder.name} is", folder.path)
            self.content = {"stages": {}}
            return
        for stage, place_of_training in ((RETRAINED, folder.retrained), (SCRATCH, folder.scratch)):
            if stage == SCRATCH and not self.run.cfg.RETRAIN.FROM_SCRATCH:
                continue
            if found := self._retraining_changes(stage, place_of_training):
                kept = {name: value for name, value in stages.items() if name != stage}
                self._put(archive, found, f"retraining of subnet {folder.name} is", place_of_training, folder.metrics)
                self.content = {**self.content, "stages": kept}
                self._write()
                stages = kept
        kept = {stage: value for stage, value in stages.items() if not self._evaluation_changes(value)}
        if len(kept) < len(stages):
            found = next(found for value in stages.values() if (found := self._evaluation_changes(value)))
            self._put(archive, found, f"scores of subnet {folder.name} are", folder.metrics)
            if CALIBRATED not in kept:  # both scores of the extracted weights are taken on the way to them
                kept.pop(TRANSFERRED, None)
            self.content = {**self.content, "stages": kept}
            self._write()

    def _retraining_changes(self, stage: str, place_of_training: Path) -> dict[str, tuple[Any, Any]]:
        if stage not in self.content["stages"] and not place_of_training.exists():
            return {}
        wanted = provenance(self.training(stage))
        if stage in self.content["stages"]:
            return differences(self.content["stages"][stage]["made_with"]["weights"], wanted)
        made = Made.of(place_of_training)
        return made.changes(wanted) if made.inputs else {}

    def _evaluation_changes(self, stage: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        return differences(stage["made_with"]["evaluation"], self._evaluation)

    def _put(self, archive: Archive | None, found: Mapping[str, tuple[Any, Any]], again: str, *places: Path) -> None:
        if archive is None:
            check(self.folder.path, found)
        else:
            archive.put(found, again, *archive.run.compared, *places)

    # -------------------------------------------------------------------------------------------------------- stages

    def has(self, stage: str) -> bool:
        # a record of a version that knew fewer metrics is made again where it lacks the score
        return self.run.score in self.content["stages"].get(stage, {"metrics": {}})["metrics"]

    def score(self, stage: str) -> float:
        return float(self.content["stages"][stage]["metrics"][self.run.score])

    def costs(self, certificate: dict[str, Any]) -> None:
        self.content |= {key: certificate[key] for key in ("macs", "params")}
        self._write()

    def measure(self, stage: str, network: Callable[[], nn.Module]) -> None:
        """Evaluate ``network()`` on the reported split, unless that was done before."""
        if self.has(stage):
            return
        metrics = self.run.metrics(network(), self.run.test, self.arch)
        self.content["stages"][stage] = {"made_with": self._made_with(stage), "metrics": metrics}
        self._write()

    def _write(self) -> None:
        write_atomically(self.folder.metrics, json.dumps(self.content, indent=2) + "\n")

    def row(self) -> dict[str, Any]:
        """The subnet's row of comparison.csv."""
        scores = {column: self.score(stage) if self.has(stage) else None for column, stage in STAGES.items()}
        return {
            "name": self.folder.name,
            "macs": self.content["macs"],
            "params": self.content["params"],
            "resolution": self.arch.input_hw[0],
            **scores,
        }
