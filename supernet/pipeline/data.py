"""From the DATASET node to images or people, their parts, and the official metric on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from ..errors import UserError
from ..pose.datasets.coco import PoseDataset
from ..pose.datasets.images import find_images
from ..pose.datasets.people import PeopleDataset
from ..pose.keypoints import COCO, CROWDPOSE, MPII, Skeleton
from ..pose.metrics.crowdposetools import CrowdPoseTools
from ..pose.metrics.mpii import MpiiEvaluator
from ..pose.metrics.oks import OksEvaluator
from ..pose.protocols import Approach, Evaluator, KeypointDataset
from ..pose.synthetic.dataset import is_made, make_synthetic
from .progress import Progress


@dataclass(frozen=True)
class Reader:
    """What a value of DATASET.DATASET means: whose joints, and whether a network sees one person or the image."""

    skeleton: Skeleton
    top_down: bool

    @property
    def name(self) -> str:
        """What the dataset is called."""
        return self.skeleton.name


#: HigherHRNet's names are bottom-up, HRNet's top-down.
READERS = {
    "coco_kpt": Reader(COCO, False),
    "crowd_pose_kpt": Reader(CROWDPOSE, False),
    "crowd_pose": Reader(CROWDPOSE, False),
    "coco": Reader(COCO, True),
    "crowdpose": Reader(CROWDPOSE, True),
    "mpii": Reader(MPII, True),
}


@dataclass
class Data:
    """The data of one configuration, read on first use. Numbers of images are of images, also for people."""

    cfg: CfgNode

    @cached_property
    def reader(self) -> Reader:
        """Joints, and bottom-up or top-down."""
        name = self.cfg.DATASET.DATASET
        if name not in READERS:
            raise UserError(f"DATASET.DATASET {name!r} is not known; there are {', '.join(READERS)}")
        return READERS[name]

    @property
    def approach(self) -> Approach:
        """Whether a network sees the image or one person."""
        return "top-down" if self.reader.top_down else "bottom-up"

    @cached_property
    def root(self) -> Path:
        """The dataset's folder; a synthetic one is drawn when it is not there yet."""
        data, name = self.cfg.DATASET, self.reader.name
        root = self._path(data.ROOT)
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
                with Progress(f"drawing the synthetic dataset into {root}", made.TRAIN + made.VAL) as progress:
                    make_synthetic(root, **wanted, progress=lambda done, _: progress.to(done))
            return root / name
        if not root.is_dir() or not data.ROOT:
            raise UserError(f"DATASET.ROOT {str(root)!r} is not a folder; set it to where {name} lies")
        return root

    def _path(self, name: str) -> Path:
        return Path(self.cfg.DATA_DIR) / name

    def files(self, part: str) -> tuple[Path, Path]:
        """Annotations and images of DATASET.TRAIN or DATASET.TEST, in their usual place or where the keys say."""
        data, split, root = self.cfg.DATASET, self.cfg.DATASET[part], self.root
        if self.reader.skeleton is MPII:
            annotations, images = root / "annot" / f"{split}.json", root / "images"
        elif self.reader.skeleton is CROWDPOSE:
            annotations, images = root / "json" / f"crowdpose_{split}.json", root / "images"
        else:
            hidden = "test" in split  # COCO keeps the annotations of its test images
            annotations = root / "annotations" / f"{'image_info' if hidden else 'person_keypoints'}_{split}.json"
            folder = "test2017" if hidden else split
            images = find_images(root / "images" / folder, root / folder)
        if data.ANNOTATIONS[part]:
            annotations = root / data.ANNOTATIONS[part]
        if data.IMAGES[part]:
            images = root / data.IMAGES[part]
        return annotations, images

    @cached_property
    def photographs(self) -> PoseDataset:
        """The images of the split to evaluate (not MPII's), with the people on them where they are annotated."""
        return PoseDataset(*self.files("TEST"), self.reader.skeleton)

    @cached_property
    def test(self) -> KeypointDataset[Any]:
        """The split that is reported, and never searched on; people are in TEST.COCO_BBOX_FILE's boxes or their own."""
        test = self.cfg.TEST
        if self.reader.skeleton is MPII:
            return PeopleDataset.from_mpii(*self.files("TEST"))
        if not self.reader.top_down:
            return self.photographs
        if test.USE_GT_BBOX:
            return PeopleDataset.from_annotations(self.photographs)
        if not test.COCO_BBOX_FILE:
            raise UserError(
                "TEST.COCO_BBOX_FILE is empty; set it to a detector's boxes, or TEST.USE_GT_BBOX true for annotated ones"
            )
        return PeopleDataset.from_detections(self.photographs, self.boxes, test.IMAGE_THRE)

    @property
    def detected(self) -> bool:
        """Whether people of the split to evaluate are in a detector's boxes."""
        test = self.cfg.TEST
        return (
            self.approach == "top-down"
            and self.reader.skeleton is not MPII
            and bool(test.COCO_BBOX_FILE)
            and not test.USE_GT_BBOX
        )

    @property
    def boxes(self) -> Path:
        """The file of detected boxes, below DATA_DIR as HRNet has it."""
        return self._path(self.cfg.TEST.COCO_BBOX_FILE)

    @cached_property
    def _whole(self) -> KeypointDataset[Any]:
        """The training split: its images, or the people annotated on them."""
        annotations, images = self.files("TRAIN")
        if self.reader.skeleton is MPII:
            return PeopleDataset.from_mpii(annotations, images)
        photographs = PoseDataset(annotations, images, self.reader.skeleton)
        return PeopleDataset.from_annotations(photographs) if self.reader.top_down else photographs

    @cached_property
    def _parts(self) -> dict[str, KeypointDataset[Any]]:
        whole = self._whole.annotated()
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

    # -------------------------------------------------------------------------------------------------------- evaluating

    @property
    def hidden(self) -> bool:
        """Whether the annotations of the split to evaluate are the organisers' secret: a submission is written, no score."""
        return "test" in self.cfg.DATASET.TEST if self.reader.skeleton is MPII else not self.photographs.has_annotations

    @property
    def category_id(self) -> int:
        """What results on the split to evaluate call a person."""
        return 1 if self.reader.skeleton is MPII else self.photographs.category_id

    def evaluator(self, dataset: KeypointDataset[Any]) -> Evaluator:
        """The official metric on a dataset: :attr:`test`, or a part of the training split."""
        backend = self.cfg.TEST.METRIC_BACKEND
        if backend == "crowdposetools" and self.reader.skeleton is CROWDPOSE:
            return CrowdPoseTools(dataset.ground_truth())
        if backend == "crowdposetools":
            raise UserError("TEST.METRIC_BACKEND crowdposetools evaluates CrowdPose only; write pycocotools")
        if self.reader.skeleton is not MPII:
            return OksEvaluator(dataset.ground_truth(), self.reader.skeleton, backend=backend)
        part, everybody = ("TEST", self.test) if dataset is self.test else ("TRAIN", self._whole)
        annotations, _ = self.files(part)
        file = annotations.with_name(f"gt_{annotations.stem}.mat")
        if part == "TEST" and self.cfg.DATASET.MPII_GT:
            file = self._path(self.cfg.DATASET.MPII_GT)
        return MpiiEvaluator(file, [person.annotation_id for person in dataset], len(everybody))
