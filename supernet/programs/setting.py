"""What a configuration stands for: folders, space, network, data and task, made on first use."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from yacs.config import CfgNode

from search_spaces import FAMILIES, Space

from ..config import dump
from ..cost import CostModel
from ..errors import UserError
from ..files import read_json, write_atomically
from ..pose.coco import PoseDataset
from ..pose.grouping import GroupingSettings
from ..pose.inference import InferenceSettings
from ..pose.losses import BottomUpLoss
from ..pose.metrics import Judge
from ..pose.skeletons import COCO, CROWDPOSE, Skeleton
from ..pose.synthetic import is_made, make_synthetic
from ..pose.task import BottomUpTask
from ..pose.transforms import Augmentation
from .progress import Progress

#: Names of HRNet-family files for a reader, and the skeleton behind each.
READERS: dict[str, Skeleton] = {"coco_kpt": COCO, "coco": COCO, "crowd_pose_kpt": CROWDPOSE, "crowd_pose": CROWDPOSE}


@dataclass
class Setting:
    """One run: its configuration, and what that stands for.

    Args:
        cfg: the resolved configuration.
        source: the YAML file it came from, which names the run folder.
    """

    cfg: CfgNode
    source: Path

    def __post_init__(self) -> None:
        if self.cfg.THREADS:
            torch.set_num_threads(self.cfg.THREADS)

    @cached_property
    def folder(self) -> Path:
        """Where the run keeps everything: OUTPUT_DIR / folder of the YAML / name of the YAML."""
        return Path(self.cfg.OUTPUT_DIR) / self.source.resolve().parent.name / self.source.stem

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
    def family(self) -> ModuleType:
        """The family's module in search_spaces."""
        name = self.cfg.SPACE.FAMILY
        if name not in FAMILIES:
            raise UserError(f"SPACE.FAMILY {name!r} is not known; there are {', '.join(FAMILIES)}")
        return FAMILIES[name]

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
        """From an architecture to its network for MODEL.NUM_JOINTS joints."""
        if self.cfg.MODEL.NUM_JOINTS != self.skeleton.num_joints:
            raise UserError(
                f"MODEL.NUM_JOINTS is {self.cfg.MODEL.NUM_JOINTS}, DATASET.DATASET {self.cfg.DATASET.DATASET} has "
                f"{self.skeleton.num_joints} joints; make them equal"
            )
        return partial(self.family.build, joints=self.skeleton.num_joints)

    def architecture(self, name: str) -> Any:
        """The architecture of a superconfig file, or of a published name such as ``litepose-XS``."""
        return architecture_of(self.family, name)

    @cached_property
    def required(self) -> dict[str, Any]:
        """The architectures of SPACE.MUST_CONTAIN, by name."""
        return {name: self.architecture(name) for name in self.cfg.SPACE.MUST_CONTAIN}

    @cached_property
    def costs(self) -> CostModel[Any]:
        """MACs and parameters of architectures of the space, many at once."""
        return CostModel(self.build, self.space)

    # --------------------------------------------------------------------------------------------------------- data

    @cached_property
    def skeleton(self) -> Skeleton:
        """Joints of the training data."""
        name = self.cfg.DATASET.DATASET
        if name not in READERS:
            raise UserError(f"DATASET.DATASET {name!r} is not known; there are {', '.join(READERS)}")
        return READERS[name]

    @cached_property
    def root(self) -> Path:
        """The dataset's folder; a synthetic one is drawn when it is not there yet."""
        data = self.cfg.DATASET
        root: Path = Path(self.cfg.DATA_DIR) / data.ROOT
        if data.SYNTHETIC.TRAIN:
            made = data.SYNTHETIC
            wanted: dict[str, Any] = {
                "train": made.TRAIN,
                "val": made.VAL,
                "width": made.SIZE[0],
                "height": made.SIZE[1],
                "max_people": made.MAX_PEOPLE,
                "seed": made.SEED,
            }
            if not is_made(root, **wanted):
                with Progress(f"drawing the synthetic crowd into {root}", made.TRAIN + made.VAL) as progress:
                    make_synthetic(root, **wanted, progress=lambda done, _: progress.to(done))
            return root / self.skeleton.name
        if not root.is_dir() or not data.ROOT:
            raise UserError(f"DATASET.ROOT {str(root)!r} is not a folder; set it to where {self.skeleton.name} lies")
        return root

    def _dataset(self, part: str) -> PoseDataset:
        """The dataset of DATASET.TRAIN or DATASET.TEST, in its usual place or where the configuration says."""
        data, split = self.cfg.DATASET, self.cfg.DATASET[part]
        if self.skeleton is CROWDPOSE:
            annotations, images = self.root / "json" / f"crowdpose_{split}.json", self.root / "images"
        else:
            annotations, images = (
                self.root / "annotations" / f"person_keypoints_{split}.json",
                self.root / "images" / split,
            )
            if not images.is_dir():
                images = self.root / split
        if data.ANNOTATIONS[part]:
            annotations = self.root / data.ANNOTATIONS[part]
        if data.IMAGES[part]:
            images = self.root / data.IMAGES[part]
        return PoseDataset(annotations, images, self.skeleton)

    @cached_property
    def test(self) -> PoseDataset:
        """The split that is reported, and never searched on."""
        return self._dataset("TEST")

    @cached_property
    def _parts(self) -> dict[str, PoseDataset]:
        whole, searching = self._dataset("TRAIN").annotated(), self.cfg.DATASET.SEARCH_IMAGES
        if searching == 0:
            return {"train": whole}
        if searching >= len(whole):
            raise UserError(
                f"DATASET.SEARCH_IMAGES is {searching}, the training split has {len(whole)} images; set it lower"
            )
        return whole.split({"search": searching, "train": len(whole) - searching}, self.cfg.DATASET.SPLIT_SEED)

    @property
    def train(self) -> PoseDataset:
        """What is trained on: the annotated images of the training split without the search split."""
        return self._parts["train"]

    @property
    def search(self) -> PoseDataset:
        """What architectures are compared on; taken from the training split."""
        if "search" not in self._parts:
            raise UserError("DATASET.SEARCH_IMAGES is 0: set how many training images architectures are compared on")
        return self._parts["search"]

    @cached_property
    def calibration(self) -> PoseDataset:
        """Training images for BatchNorm statistics."""
        wanted = min(self.cfg.DATASET.CALIBRATION_IMAGES, len(self.train))
        rest = len(self.train) - wanted
        parts = {"calibrate": wanted} | ({"rest": rest} if rest else {})
        return self.train.split(parts, self.cfg.DATASET.SPLIT_SEED + 1)["calibrate"]

    # --------------------------------------------------------------------------------------------------------- task

    @cached_property
    def task(self) -> BottomUpTask:
        """Samples, loss, decoding and judging of bottom-up pose estimation."""
        cfg = self.cfg
        loss = BottomUpLoss(
            num_joints=self.skeleton.num_joints,
            with_heatmaps=tuple(cfg.LOSS.WITH_HEATMAPS_LOSS),
            with_tags=tuple(cfg.LOSS.WITH_AE_LOSS),
            heatmap_factors=tuple(cfg.LOSS.HEATMAPS_LOSS_FACTOR),
            push_factors=tuple(cfg.LOSS.PUSH_LOSS_FACTOR),
            pull_factors=tuple(cfg.LOSS.PULL_LOSS_FACTOR),
            tag_kind=cfg.LOSS.AE_LOSS_TYPE,
            foreground=cfg.LOSS.FOREGROUND_WEIGHT,
        )
        augmentation = Augmentation(
            max_rotation=cfg.DATASET.MAX_ROTATION,
            min_scale=cfg.DATASET.MIN_SCALE,
            max_scale=cfg.DATASET.MAX_SCALE,
            scale_type=cfg.DATASET.SCALE_TYPE,
            max_translate=cfg.DATASET.MAX_TRANSLATE,
            flip_probability=cfg.DATASET.FLIP,
        )
        grouping = GroupingSettings(
            num_joints=self.skeleton.num_joints,
            max_people=cfg.DATASET.MAX_NUM_PEOPLE,
            detection_threshold=cfg.TEST.DETECTION_THRESHOLD,
            tag_threshold=cfg.TEST.TAG_THRESHOLD,
            use_detection_value=cfg.TEST.USE_DETECTION_VAL,
            ignore_too_much=cfg.TEST.IGNORE_TOO_MUCH,
            nms_kernel=cfg.TEST.NMS_KERNEL,
            tag_per_joint=cfg.MODEL.TAG_PER_JOINT,
            adjust=cfg.TEST.ADJUST,
            refine=cfg.TEST.REFINE,
        )
        inference = InferenceSettings(
            input_size=cfg.DATASET.INPUT_SIZE,
            scales=tuple(cfg.TEST.SCALE_FACTOR),
            flip=cfg.TEST.FLIP_TEST,
            project_to_image=cfg.TEST.PROJECT2IMAGE,
            with_heatmaps=tuple(cfg.TEST.WITH_HEATMAPS),
            with_tags=tuple(cfg.TEST.WITH_AE),
            grouping=grouping,
            flip_index=self.skeleton.flip_index,
        )
        return BottomUpTask(
            skeleton=self.skeleton,
            loss=loss,
            augmentation=augmentation,
            inference=inference,
            sigma=cfg.DATASET.SIGMA,
            max_people=cfg.DATASET.MAX_NUM_PEOPLE,
            device=self.device,
            channels_last=cfg.CHANNELS_LAST,
            workers=cfg.WORKERS,
            seed=cfg.SEED,
        )

    def judge(self, dataset: PoseDataset) -> Judge:
        """The official metric on a dataset."""
        return Judge(dataset.ground_truth(), self.skeleton)

    # -------------------------------------------------------------------------------------------------------- files

    def keep_config(self) -> None:
        """Write the resolved configuration into the run folder."""
        write_atomically(self.folder / "config.yaml", dump(self.cfg))

    def settings(self, *nodes: str) -> dict[str, Any]:
        """What these nodes of the configuration say, flat, as JSON values: to know a result's settings again."""
        flat: dict[str, Any] = {}

        def walk(value: Any, name: str) -> None:
            if isinstance(value, dict) and value:
                for key in value:
                    walk(value[key], f"{name}.{key}")
            else:
                flat[name] = json.loads(json.dumps(value))

        for node in nodes:
            value: Any = self.cfg
            for key in node.split("."):
                value = value[key]
            walk(value, node)
        return flat


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
        raise UserError(f"{name}: no such superconfig; give a JSON file, or one of {', '.join(published)}")
    try:
        return family.from_json(read_json(path))
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
