"""What the experiments on photographs share: the run, people cropped once, their scores, trainings that go on, tables that grow.

Not a program. Everything that is asked of a configuration and of the pipeline is asked in :class:`Photographs` and :func:`train`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from torch import Tensor, nn

from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.pipeline.fit import Keeping, fit
from supernet.pipeline.run import Run
from supernet.pose.datasets.images import read_image
from supernet.pose.datasets.people import PersonInstance
from supernet.pose.keypoints import Skeleton
from supernet.pose.metrics.people import MEAN_OKS, TORSO_PCK, AnnotatedPeople, PeopleEvaluator
from supernet.pose.top_down.crop import crop_region
from supernet.pose.top_down.decoding import decode, merge_mirrored
from supernet.pose.top_down.samples import PersonAugmentation, person_sample
from supernet.search.journal import differences
from supernet.training.schedule import Plan
from supernet.training.trainer import Trainer

CONFIGURATION = Path(__file__).parents[2] / "experiments" / "lsp" / "litepose_top_down.yaml"


@dataclass(frozen=True, eq=False)
class People:
    """People cropped as in testing, with what a network is to say of them."""

    skeleton: Skeleton
    people: Sequence[PersonInstance]
    crops: Tensor  # uint8 (N, H, W, 3)
    heatmaps: Tensor  # (N, K, h, w)
    weights: Tensor  # (N, K)
    centers: Any  # (N, 2)
    scales: Any  # (N, 2)

    @cached_property
    def evaluator(self) -> PeopleEvaluator:
        """Mean OKS and PCK; the area of a person is the annotated one."""
        return PeopleEvaluator(
            AnnotatedPeople(
                self.skeleton,
                [person.image_id for person in self.people],
                [person.annotation_id for person in self.people],
                np.stack([person.keypoints_K3 for person in self.people]).astype(np.float64),
                np.array([max(person.bbox[2:]) if person.bbox else np.nan for person in self.people]),
                np.array([person.area for person in self.people]),
            )
        )


@dataclass(frozen=True, eq=False)
class Photographs:
    """A configuration's space, task and people."""

    run: Run

    @classmethod
    def of(cls, configuration: Path, overrides: Sequence[str]) -> Photographs:
        """From a file and KEY VALUE pairs; nothing is set aside for finalists, whose split these experiments make themselves."""
        return cls(Run(load_config(configuration, ["DATASET.FINAL_IMAGES", "0", *overrides]), configuration))

    @property
    def task(self) -> Any:
        """The run's."""
        return self.run.task

    @cached_property
    def search(self) -> People:
        """Those that architectures are compared on."""
        return self._cropped(self.run.search)

    @cached_property
    def test(self) -> People:
        """Those that are reported."""
        return self._cropped(self.run.test)

    @cached_property
    def calibration(self) -> list[Tensor]:
        """Network inputs for BatchNorm's statistics."""
        crops = self._cropped(self.run.calibration).crops
        return [self.task.inputs(crops[first : first + 64]) for first in range(0, len(crops), 64)]

    def _cropped(self, dataset: Any) -> People:
        task, input_hw = self.task, self.run.space.smallest.input_hw
        samples = [
            person_sample(
                read_image(person.path, person.size_wh),
                person,
                task.skeleton,
                input_hw,
                PersonAugmentation.none(),
                replace(task.targets, stride=task.stride_of(self.run.space.smallest)),
                np.random.default_rng(0),
            )
            for person in dataset
        ]
        crops, heatmaps, weights = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
        places = [crop_region(person, input_hw[1] / input_hw[0]) for person in dataset]
        centers, scales = (np.array(values) for values in zip(*places, strict=True))
        return People(task.skeleton, list(dataset), crops, heatmaps, weights, centers, scales)

    @torch.inference_mode()
    def scores(self, network: nn.Module, people: People, *, poses: bool = True, batch: int = 64) -> dict[str, float]:
        """Loss on un-augmented crops; with ``poses`` also mean OKS and PCK@0.2, mirrored images included."""
        network.eval()
        task, losses, found = self.task, [], []
        for first in range(0, len(people.people), batch):
            part = slice(first, first + batch)
            inputs = task.inputs(people.crops[part])
            heatmaps = network(inputs)
            targets = {"heatmaps": people.heatmaps[part], "weights": people.weights[part]}
            losses.append(float(task.loss(heatmaps, targets)[0]) * len(inputs))
            if poses:
                mirrored = network(inputs.flip(3))
                merged = merge_mirrored(heatmaps, mirrored, task.skeleton.flip_index, task.decoding.shift)
                found.append(decode(merged.numpy(), people.centers[part], people.scales[part], task.decoding))
        scores = {"loss": sum(losses) / len(people.people)}
        if poses:
            joints = np.concatenate(found)
            results = [
                {"image_id": person.image_id, "annotation_id": person.annotation_id, "keypoints": keypoints.ravel()}
                for person, keypoints in zip(people.people, joints, strict=True)
            ]
            metrics = people.evaluator.evaluate(results)
            scores |= {"oks": metrics[MEAN_OKS], "pck": metrics[TORSO_PCK]}
        return scores


def train(
    photographs: Photographs,
    folder: Path,
    title: str,
    trainer: Trainer[Any],
    plan: Plan[Any],
    settings: Mapping[str, Any],
) -> dict[str, Tensor]:
    """The weights at the end of a plan; a training that was stopped goes on, one that has ended is not done again.

    Raises:
        UserError: the folder holds a training with other settings.
    """
    path, run = folder / "weights.pt", photographs.run
    settings = {**settings, "images": len(run.train)}
    if not path.exists():
        fit(folder, title, trainer, plan, run.task, run.train, settings, {}, Keeping(seconds=60.0))
    content = torch.load(path, map_location="cpu", weights_only=True)
    if found := differences(content["settings"], settings):
        raise UserError(f"{path}: was trained with other settings ({', '.join(found)}); give another --out")
    weights: dict[str, Tensor] = content["state_dict"]
    return weights


def adam(model: nn.Module) -> torch.optim.Optimizer:
    """On everything that learns."""
    return torch.optim.Adam([parameter for parameter in model.parameters() if parameter.requires_grad], fused=True)


class Table:
    """A CSV file of results, a row for each key; several processes may add to it, and rows that are there are not made again."""

    def __init__(self, path: Path, keys: Sequence[str]) -> None:
        self.path, self.keys = path, list(keys)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(path.with_suffix(".lock"))
        self.rows = self._read()

    def _read(self) -> list[dict[str, Any]]:
        return pd.read_csv(self.path).to_dict("records") if self.path.exists() else []

    def find(self, **key: Any) -> dict[str, Any] | None:
        """The row of a key."""
        return next((row for row in self.rows if all(row[name] == key[name] for name in self.keys)), None)

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row to the file, after what others have added meanwhile."""
        with self.lock:
            self.rows = [*self._read(), dict(row)]
            pd.DataFrame(self.rows).to_csv(self.path, index=False, float_format="%.6g")


def as_text(family: Any, arch: Any) -> str:
    """An architecture in one cell of a table."""
    return json.dumps(family.to_json(arch), separators=(",", ":"))
