"""A run: its configuration, and what that stands for: folders, space, network, data and task, made on first use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from yacs.config import CfgNode

from search_spaces import Space

from ..config.loading import dump
from ..cost.cost_model import CostModel
from ..cost.latency import LatencyModel
from ..errors import UserError
from ..io.files import read_json, sha256, write_atomically
from ..io.run_folder import RunFolder, folder_name
from ..pose.datasets.image_limits import ImageLimits
from ..pose.keypoints import Skeleton
from ..pose.protocols import Evaluator, KeypointDataset
from ..pose.task import Task
from . import keys, parts
from .costs import latency_of
from .data import Data
from .models import MODEL, architecture_of_model, family_name, family_of_poses
from .tasks import Machine, bottom_up_task, output_stride, top_down_task


@dataclass
class Run:
    """One run.

    Args:
        cfg: the resolved configuration.
        source: the YAML file it came from, which names the run folder.
        overrides: the ``KEY VALUE`` pairs that were given on top of it.
    """

    cfg: CfgNode
    source: Path
    overrides: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.cfg.THREADS:
            torch.set_num_threads(self.cfg.THREADS)
        limits = self.cfg.DATASET.IMAGE_LIMITS
        ImageLimits(limits.PIXELS, limits.SIDE, limits.ASPECT).use()
        for key in ("SCALE_AWARE_SIGMA", "WITH_CENTER"):
            if self.cfg.DATASET[key]:
                raise UserError(f"DATASET.{key} true would train something else here, where it is not: set it to false")
        self.data.check_scores()  # refused now, not after the training
        cudnn, wanted = torch.backends.cudnn, self.cfg.CUDNN
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = wanted.ENABLED, wanted.BENCHMARK, wanted.DETERMINISTIC

    @cached_property
    def folder(self) -> Path:
        """Where the run keeps everything: OUTPUT_DIR / folder of the YAML / name of the YAML."""
        names = (self.source.resolve().parent.name or "root", self.source.stem)
        return Path(self.cfg.OUTPUT_DIR, *(folder_name(name, "the name of a run") for name in names))

    @property
    def paths(self) -> RunFolder:
        """Everything within the folder."""
        return RunFolder(self.folder)

    @cached_property
    def device(self) -> torch.device:
        """The device of DEVICE; ``auto`` takes a GPU where there is one."""
        name = self.cfg.DEVICE
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
        except RuntimeError:
            raise UserError(f"DEVICE {name!r} is not a device; write auto, cpu or cuda") from None
        if device.type == "cuda" and not torch.cuda.is_available():
            raise UserError(f"DEVICE is {name}, but PyTorch sees no GPU; write DEVICE cpu")
        return device

    # ------------------------------------------------------------------------------------------------------ network

    @cached_property
    def family_name(self) -> str:
        """What the family is called."""
        return family_name(self.cfg)

    @cached_property
    def family(self) -> ModuleType:
        """The family's module in search_spaces."""
        return family_of_poses(self.family_name)

    @cached_property
    def space(self) -> Space[Any]:
        """The search space, with SPACE.RESTRICT applied."""
        spaces, name = self.family.SPACES, self.cfg.SPACE.NAME
        if name not in spaces:
            raise UserError(
                f"SPACE.NAME {name!r} is not a space of {self.cfg.SPACE.FAMILY}; there are {', '.join(spaces)}"
            )
        space: Space[Any] = spaces[name]
        return space.restrict(dict(self.cfg.SPACE.RESTRICT)) if self.cfg.SPACE.RESTRICT else space

    @cached_property
    def build(self) -> Callable[[Any], nn.Module]:
        """From an architecture to its network for the skeleton's joints."""
        wanted = 0 if self.data.kind.own_skeleton else self.cfg.MODEL.NUM_JOINTS
        if wanted not in (0, self.skeleton.num_joints):
            raise UserError(
                f"MODEL.NUM_JOINTS is {wanted}, DATASET.DATASET {self.cfg.DATASET.DATASET} has "
                f"{self.skeleton.num_joints} joints; make them equal"
            )
        return partial(self.family.build, joints=self.skeleton.num_joints)

    def architecture(self, name: str) -> Any:
        """The architecture of a superconfig file, of a published name such as ``litepose-XS``, or of the MODEL node."""
        if name == MODEL:
            return architecture_of_model(self.cfg)[1]
        return architecture_of(self.family, name)

    @cached_property
    def required(self) -> dict[str, Any]:
        """The architectures of SPACE.MUST_CONTAIN, by name."""
        return {name: self.architecture(name) for name in self.cfg.SPACE.MUST_CONTAIN}

    @cached_property
    def costs(self) -> CostModel[Any]:
        """MACs, parameters and peak memory of architectures of the space, many at once."""
        return CostModel(self.build, self.space)

    @cached_property
    def latency(self) -> LatencyModel[Any]:
        """The latency of architectures of the space by COST.LATENCY_TABLE, many at once."""
        return latency_of(self)

    # ------------------------------------------------------------------------------------------------- data and task

    @cached_property
    def data(self) -> Data:
        """Images or people, and the metric on them."""
        return Data(self.cfg)

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints."""
        return self.data.skeleton

    @property
    def test(self) -> KeypointDataset[Any]:
        """The split that is reported, and never searched on."""
        return self.data.test

    @property
    def train(self) -> KeypointDataset[Any]:
        """What is trained on."""
        return self.data.train

    @property
    def search(self) -> KeypointDataset[Any]:
        """What architectures are compared on; taken from the training split."""
        return self.data.search

    @property
    def calibration(self) -> KeypointDataset[Any]:
        """Training images for BatchNorm statistics."""
        return self.data.calibration

    def evaluator(self, dataset: KeypointDataset[Any]) -> Evaluator:
        """The official metric on a dataset."""
        return self.data.evaluator(dataset)

    def metrics(
        self, network: nn.Module, dataset: KeypointDataset[Any], arch: Any, evaluator: Evaluator | None = None
    ) -> dict[str, float]:
        """The official metrics of a network on a dataset by its evaluator if that is at hand."""
        evaluator, batch = evaluator or self.evaluator(dataset), self.cfg.TEST.IMAGES_PER_GPU
        metrics, _ = self.task.evaluate(network, dataset, evaluator, arch.input_hw, batch=batch)
        return self.data.score.checked(metrics)

    @property
    def score(self) -> str:
        """The number of the metric by which networks are compared: TEST.SCORE, or AP, or MPII's Mean."""
        return self.data.score.name

    @property
    def percent(self) -> bool:
        """Whether that number is in percent, as PCKh is, and not a fraction of 1, as AP is."""
        return self.data.score.percent

    @cached_property
    def task(self) -> Task[Any]:
        """Samples, loss and decoding: bottom-up or top-down, as DATASET.DATASET says."""
        machine = Machine(self.device, self.cfg.CHANNELS_LAST, self.cfg.WORKERS)
        shared = self.skeleton, machine, self.cfg.SEED
        match self.samples, self.inference:
            case parts.TopDownSamples() as samples, parts.TopDownInference() as inference:
                stride_of = partial(output_stride, self.build, samples.target_type == "simcc")
                suppress = not self.data.kind.one_result_each
                return top_down_task(samples, inference, *shared, stride_of, suppress)
            case parts.BottomUpSamples() as samples, parts.BottomUpInference() as inference:
                return bottom_up_task(samples, inference, *shared)
        raise AssertionError("samples and inference are of one approach")

    # ----------------------------------------------------------------------------------------------- inputs of the steps

    @cached_property
    def samples(self) -> parts.Samples:
        """What training samples and their loss follow from."""
        if self.data.approach == "top-down":
            halves = self._own_skeleton is not None and self.cfg.DATASET.PROB_HALF_BODY > 0
            upper = self.skeleton.upper_body if halves else None
            return keys.read(parts.TopDownSamples, self.cfg, upper_body=upper)
        data = self.cfg.DATASET
        strides = tuple(data.INPUT_SIZE // size for size in data.OUTPUT_SIZE[: len(self.cfg.LOSS.WITH_HEATMAPS_LOSS)])
        return keys.read(parts.BottomUpSamples, self.cfg, strides=strides)

    @cached_property
    def inference(self) -> parts.Inference:
        """What results follow from, besides the network."""
        sigmas = None if self._own_skeleton is None else self.skeleton.sigmas
        if self.data.approach == "top-down":
            return keys.read(parts.TopDownInference, self.cfg, sigmas=sigmas)
        return keys.read(parts.BottomUpInference, self.cfg, sigmas=sigmas)

    @cached_property
    def training_data(self) -> parts.TrainingData:
        """Which images are trained on."""
        return keys.read(
            parts.TrainingData,
            self.cfg,
            dataset=self._dataset("TRAIN"),
            annotations=None if self._synthetic else sha256(self.data.files("TRAIN")[0]),
            synthetic=self._synthetic,
            skeleton=self._own_skeleton,
        )

    @cached_property
    def test_data(self) -> parts.TestData:
        """Which images are reported on, and the boxes on them."""
        values: dict[str, Any] = {}
        if self.data.detected:
            values = {"boxes": sha256(self.data.boxes), "lowest_box_score": self.cfg.TEST.IMAGE_THRE}
        if self.cfg.DATASET.MPII_GT:
            values["mpii_gt"] = sha256(Path(self.cfg.DATA_DIR) / self.cfg.DATASET.MPII_GT)
        return keys.read(
            parts.TestData,
            self.cfg,
            dataset=self._dataset("TEST"),
            annotations=None if self._synthetic else sha256(self.data.files("TEST")[0]),
            synthetic=self._synthetic,
            skeleton=self._own_skeleton,
            **values,
        )

    def _dataset(self, part: str) -> str:
        split = "" if self._synthetic else self.data.files(part).part
        return ", ".join(filter(None, (self.data.kind.name, self.data.approach, split)))

    @property
    def _own_skeleton(self) -> Any:
        """Of own joints, what samples follow from; the dataset kind says it for fixed ones."""
        if not self.data.kind.own_skeleton:
            return None
        return {"joints": self.skeleton.joints, "flip_index": self.skeleton.flip_index}

    @property
    def _synthetic(self) -> parts.SyntheticData | None:
        return keys.read(parts.SyntheticData, self.cfg) if self.cfg.DATASET.SYNTHETIC.TRAIN else None

    def keep_config(self, folder: Path) -> None:
        """Write the resolved configuration into the folder of what it makes."""
        write_atomically(RunFolder(folder).config, dump(self.cfg))


def architecture_of(family: ModuleType, name: str) -> Any:
    """The architecture of a superconfig file, or of a published name such as ``litepose-XS``.

    Raises:
        UserError: when there is no such file or name, or the file holds something else.
    """
    published = family.published()
    if name in published:
        return published[name]
    path = Path(name)
    if not path.exists():
        here = [str(file) for file in path.parent.glob("*.json")] if path.parent.is_dir() else []
        near = get_close_matches(name, [*published, *here], n=1, cutoff=0.75)
        guess = f"did you mean {near[0]}?" if near else f"give a JSON file, or one of {', '.join(published)}"
        raise UserError(f"{name}: no such superconfig; {guess}")
    try:
        return family.from_json(read_json(path))
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
