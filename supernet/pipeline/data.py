"""From the DATASET node to images or people, their parts, and the official metric on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from ..errors import UserError
from ..pose.datasets.kind import DatasetKind, Files
from ..pose.datasets.kinds import kind_of
from ..pose.keypoints import Skeleton
from ..pose.protocols import Approach, Evaluator, KeypointDataset
from ..pose.synthetic.dataset import LAYOUTS, is_made, make_synthetic
from .progress import Progress


@dataclass
class Data:
    """The data of one configuration, read on first use. Numbers of images are of images, also for people."""

    cfg: CfgNode

    @property
    def kind(self) -> DatasetKind:
        """What DATASET.DATASET means."""
        return kind_of(self.cfg.DATASET.DATASET)

    @property
    def approach(self) -> Approach:
        """Whether a network sees the image or one person."""
        return self.kind.approaches[self.cfg.DATASET.DATASET]

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints."""
        return self.kind.skeleton

    # ------------------------------------------------------------------------------------------------------------- files

    @cached_property
    def root(self) -> Path:
        """The dataset's folder; a synthetic one is drawn when it is not there yet."""
        data, name = self.cfg.DATASET, self.kind.name
        root = self._path(data.ROOT)
        if data.SYNTHETIC.TRAIN:
            if name not in LAYOUTS:
                raise UserError(
                    f"the synthetic dataset has no annotations of {name}, only {', '.join(LAYOUTS)}: set "
                    "DATASET.SYNTHETIC.TRAIN to 0"
                )
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
                with Progress(f"drawing the synthetic dataset into {root}", made.TRAIN + made.VAL) as progress:
                    make_synthetic(root, **wanted, progress=lambda done, _: progress.to(done))
            return root / name
        if not root.is_dir() or not data.ROOT:
            raise UserError(f"DATASET.ROOT {str(root)!r} is not a folder; set it to where {name} lies")
        return root

    def _path(self, name: str) -> Path:
        return Path(self.cfg.DATA_DIR) / name

    def files(self, part: str) -> Files:
        """Where DATASET.TRAIN or DATASET.TEST lies: in its usual place, or where ANNOTATIONS and IMAGES say."""
        data = self.cfg.DATASET
        named = data.ANNOTATIONS[part] and data.IMAGES[part]
        root = self._path("") if named and not data.ROOT and not data.SYNTHETIC.TRAIN else self.root
        usual = self.kind.files(root, data[part])
        return Files(
            root / data.ANNOTATIONS[part] if data.ANNOTATIONS[part] else usual.annotations,
            root / data.IMAGES[part] if data.IMAGES[part] else usual.images,
        )

    @property
    def detected(self) -> bool:
        """Whether people of the split to evaluate are in a detector's boxes."""
        return self._wants_boxes and bool(self.cfg.TEST.COCO_BBOX_FILE)

    @property
    def _wants_boxes(self) -> bool:
        return self.approach == "top-down" and not self.kind.annotated_crops and not self.cfg.TEST.USE_GT_BBOX

    @property
    def boxes(self) -> Path:
        """The file of detected boxes, below DATA_DIR as HRNet has it."""
        if not self.cfg.TEST.COCO_BBOX_FILE:
            raise UserError(
                "TEST.COCO_BBOX_FILE is empty; set it to a detector's boxes, or TEST.USE_GT_BBOX true for annotated ones"
            )
        return self._path(self.cfg.TEST.COCO_BBOX_FILE)

    # ------------------------------------------------------------------------------------------------------------ splits

    @cached_property
    def test(self) -> KeypointDataset[Any]:
        """The split that is reported, and never searched on; people are in TEST.COCO_BBOX_FILE's boxes or their own."""
        if self._wants_boxes:
            return self.kind.detected_people(self.files("TEST"), self.boxes, self.cfg.TEST.IMAGE_THRE)
        return self._read("TEST")

    def _read(self, part: str) -> KeypointDataset[Any]:
        """A split: its images, or the people annotated on them."""
        files = self.files(part)
        return self.kind.people(files) if self.approach == "top-down" else self.kind.images(files)

    @cached_property
    def _parts(self) -> dict[str, KeypointDataset[Any]]:
        whole = self._read("TRAIN").annotated()
        images, searching = len(whole.image_ids), self.cfg.DATASET.SEARCH_IMAGES
        if searching == 0:
            return {"train": whole}
        if searching >= images:
            raise UserError(
                f"DATASET.SEARCH_IMAGES is {searching}, the training split has {images} images; set it lower"
            )
        return whole.split({"search": searching, "train": images - searching}, self.cfg.DATASET.SPLIT_SEED)

    @property
    def train(self) -> KeypointDataset[Any]:
        """What is trained on: the annotated part of the training split without the search split."""
        return self._parts["train"]

    @property
    def search(self) -> KeypointDataset[Any]:
        """What architectures are compared on; taken from the training split, people in their own boxes."""
        if "search" not in self._parts:
            raise UserError("DATASET.SEARCH_IMAGES is 0: set how many training images architectures are compared on")
        return self._parts["search"]

    @cached_property
    def calibration(self) -> KeypointDataset[Any]:
        """Training images for BatchNorm statistics; of people, equally many crops."""
        images = len(self.train.image_ids)
        wanted = min(self.cfg.DATASET.CALIBRATION_IMAGES, images)
        parts = {"calibrate": wanted} | ({"rest": images - wanted} if wanted < images else {})
        chosen = self.train.split(parts, self.cfg.DATASET.SPLIT_SEED + 1)["calibrate"]
        return chosen[:wanted]

    # -------------------------------------------------------------------------------------------------------- evaluation

    @property
    def withheld(self) -> bool:
        """Whether the annotations of the split to evaluate are not public: a submission is written, no score."""
        return self.kind.withheld(self.test, self.cfg.DATASET.TEST)

    def evaluator(self, dataset: KeypointDataset[Any]) -> Evaluator:
        """The official metric on a dataset: :attr:`test`, a part of the training split, or a part of these."""
        named = self.cfg.DATASET.MPII_GT
        of_test = named and dataset.source == self.files("TEST").annotations
        return self.kind.evaluator(
            dataset, backend=self.cfg.TEST.METRIC_BACKEND, ground_truth=self._path(named) if of_test else None
        )
