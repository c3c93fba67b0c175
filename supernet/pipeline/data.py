"""From the DATASET node to images or people, their parts, and the official metric on them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from ..errors import UserError
from ..io.files import read_json
from ..pose.datasets.kind import DatasetKind, Files
from ..pose.datasets.kinds import kind_of
from ..pose.datasets.own_keypoints import OwnKeypoints
from ..pose.keypoints import COCO, Skeleton
from ..pose.metrics.score import LOSS, Score
from ..pose.protocols import Approach, Evaluator, KeypointDataset
from ..pose.skeleton_file import KEYS, skeleton_of, summary
from ..pose.synthetic.dataset import LAYOUTS, PEOPLE, is_made, make_synthetic
from ..pose.synthetic.objects import LAYOUT as OBJECTS
from ..pose.synthetic.records import category
from ..pose.synthetic.subjects import SUBJECTS
from .progress import Progress, say


@dataclass
class Data:
    """The data of one configuration, read on first use. Numbers of images are of images, also for people."""

    cfg: CfgNode

    @cached_property
    def kind(self) -> DatasetKind:
        """What DATASET.DATASET means."""
        kind = kind_of(self.cfg.DATASET.DATASET)
        if kind.own_skeleton:
            return OwnKeypoints(self._own_skeleton)
        if self.cfg.DATASET.SKELETON:
            raise UserError(
                f"DATASET.SKELETON is for own joints, and DATASET.DATASET {self.cfg.DATASET.DATASET} has fixed ones: leave it "
                "out, or set DATASET.DATASET to keypoints or keypoints_bottom_up"
            )
        return kind

    @property
    def approach(self) -> Approach:
        """Whether a network sees the image or one person."""
        return self.kind.approaches[self.cfg.DATASET.DATASET]

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints: those of the dataset kind, or for own joints of the annotation file and DATASET.SKELETON."""
        return self.kind.skeleton

    def _own_skeleton(self) -> Skeleton:
        """The skeleton of DATASET.SKELETON, and of the annotation file for what that leaves out."""
        values, source = self._skeleton_values()
        made = self.cfg.DATASET.SYNTHETIC
        if "joints" in values:
            skeleton = skeleton_of(values, source)
        elif made.TRAIN:  # known without drawing anything
            drawn = COCO if made.SUBJECT == PEOPLE else SUBJECTS[made.SUBJECT][0]
            named = category(drawn, "person" if made.SUBJECT == PEOPLE else drawn.name)
            skeleton, source = skeleton_of(values, source, named), "the synthetic dataset"
        else:
            assert isinstance(self.kind, OwnKeypoints)
            train, test = self.files("TRAIN").annotations, self.files("TEST").annotations
            file = train if train.is_file() or not test.is_file() else test
            skeleton = skeleton_of(values, source if values else str(file), self.kind.category(file))
            source = str(file)
        if any(key not in values for key in KEYS):  # something was guessed
            say(summary(skeleton, source))
        return skeleton

    def _skeleton_values(self) -> tuple[dict[str, Any], str]:
        """What DATASET.SKELETON says, and what messages call it."""
        text = self.cfg.DATASET.SKELETON
        if not text:
            return {}, "DATASET.SKELETON"
        if text.startswith("{"):
            source = "DATASET.SKELETON"
            try:
                values = json.loads(text)
            except (ValueError, RecursionError):
                raise UserError("DATASET.SKELETON is neither a file's name nor JSON: give one of them") from None
        else:
            source = str(self._path(text))
            if not Path(source).is_file():
                raise UserError(f"DATASET.SKELETON {source}: no such file; give a JSON file, or its keys as a node")
            values = read_json(Path(source))
        if not isinstance(values, dict):
            raise UserError(f"{source}: is no JSON object; give flip_pairs, sigmas, limbs or upper_body as its keys")
        return values, source

    @property
    def score(self) -> Score:
        """By which number of the metric networks are compared: TEST.SCORE, or the dataset's own.

        Raises:
            UserError: the dataset's evaluator does not return it.
        """
        return self._named("TEST.SCORE", self.kind.score)

    @property
    def search_score(self) -> Score:
        """By which number a search compares architectures: SEARCH.SCORE, or :attr:`score`.

        Raises:
            UserError: it is neither ``loss`` nor a number that the dataset's evaluator returns.
        """
        if self.cfg.SEARCH.SCORE == LOSS:
            return Score(LOSS, lower=True)
        return self._named("SEARCH.SCORE", self.score, LOSS)

    def check_scores(self) -> None:
        """Refuse a score that the settings name and the dataset does not have; see :attr:`search_score`."""
        if self.cfg.TEST.SCORE or self.cfg.SEARCH.SCORE:
            _ = self.score, self.search_score

    def _named(self, key: str, otherwise: Score, *others: str) -> Score:
        node, _, leaf = key.partition(".")
        name = self.cfg[node][leaf]
        known = self.kind.metrics(self.skeleton) if name else ()
        if name and name not in known:
            raise UserError(
                f"{key} {name!r} is no metric of dataset {self.kind.name}; there are {', '.join((*others, *known))}"
            )
        return replace(self.kind.score, name=name) if name else otherwise

    # ------------------------------------------------------------------------------------------------------------- files

    @cached_property
    def root(self) -> Path:
        """The dataset's folder; a synthetic one is drawn when it is not there yet."""
        data, name = self.cfg.DATASET, self.kind.name
        root = self._path(data.ROOT)
        if data.SYNTHETIC.TRAIN:
            subject = data.SYNTHETIC.SUBJECT
            folder = OBJECTS if subject != PEOPLE else "coco" if self.kind.own_skeleton else name
            if subject != PEOPLE and not self.kind.own_skeleton:
                raise UserError(
                    f"DATASET.SYNTHETIC.SUBJECT {subject} has joints of its own: set DATASET.DATASET to keypoints or "
                    "keypoints_bottom_up"
                )
            if folder not in (*LAYOUTS, OBJECTS):
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
                "subject": subject,
            }
            if not is_made(root, **wanted):
                with Progress(f"drawing the synthetic dataset into {root}", made.TRAIN + made.VAL) as progress:
                    make_synthetic(root, **wanted, progress=lambda done, _: progress.to(done))
            return root / folder
        if not root.is_dir() or not data.ROOT:
            raise UserError(f"DATASET.ROOT {str(root)!r} is not a folder; set it to where {name} lies")
        return root

    def _path(self, name: str) -> Path:
        return Path(self.cfg.DATA_DIR) / name

    def files(self, part: str) -> Files:
        """Where DATASET.TRAIN or DATASET.TEST lies: in its usual place, or where ANNOTATIONS and IMAGES say."""
        data = self.cfg.DATASET
        if data.ANNOTATIONS[part] and data.IMAGES[part] and not data.ROOT:
            return Files(self._path(data.ANNOTATIONS[part]), self._path(data.IMAGES[part]))
        root = self.root
        usual = self.kind.files(root, data[part])
        return usual._replace(
            annotations=root / data.ANNOTATIONS[part] if data.ANNOTATIONS[part] else usual.annotations,
            images=root / data.IMAGES[part] if data.IMAGES[part] else usual.images,
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
            files = self.files("TEST")
            return self._compared(self.kind.detected_people(files, self.boxes, self.cfg.TEST.IMAGE_THRE))
        return self._read("TEST")

    def _read(self, part: str) -> KeypointDataset[Any]:
        """A split: its images, or the people annotated on them."""
        files = self.files(part)
        return self._compared(self.kind.people(files) if self.approach == "top-down" else self.kind.images(files))

    def _compared(self, dataset: KeypointDataset[Any]) -> KeypointDataset[Any]:
        """The dataset, unless its joints have other names than the skeleton's."""
        if self.cfg.DATASET.JOINT_NAMES == "compare":
            self.kind.compare_joint_names(dataset)
        return dataset

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
        final = self.cfg.DATASET.FINAL_IMAGES
        parts = {"search": searching, "final": final, "train": images - searching - final}
        if not final or parts["train"] < 1:  # the search's images are the same without them
            parts = {"search": searching, "train": images - searching}
        return whole.split(parts, self.cfg.DATASET.SPLIT_SEED)

    @property
    def train(self) -> KeypointDataset[Any]:
        """What is trained on: the annotated part of the training split without what is set aside."""
        return self._parts["train"]

    @property
    def final(self) -> KeypointDataset[Any] | None:
        """Others, on which the search's finalists are scored again; None without DATASET.FINAL_IMAGES, or room for them."""
        return self._parts.get("final")

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
