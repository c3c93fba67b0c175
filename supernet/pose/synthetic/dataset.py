"""The synthetic dataset: drawn people with exact annotations, in the layouts of COCO, CrowdPose and MPII; or other things.

The labels follow the same rules in the three layouts; joints are rounded to whole pixels, pixel centres at whole
numbers (MPII's are 1-based):

- v = 2 seen, v = 1 hidden by another person or by the person's own body, v = 0 and x = y = 0 outside of the image;
- mask, area and box are those of the pixels on which the person is topmost;
- a person of whom less than 8 % of the pixels in the image are seen, or with fewer than three COCO joints in
  the image, stays in COCO and CrowdPose as a person without labelled joints (num_keypoints 0, which the evaluation
  ignores) and is left out of MPII; a person of whom nothing is seen is left out everywhere.

Every image has its own generator ``default_rng([seed, split, index])``: more images do not change the earlier ones.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.io

from supernet.errors import UserError
from supernet.io.files import read_json
from supernet.pose.keypoints import COCO, CROWDPOSE
from supernet.pose.synthetic.objects import ThingsWriter, sample_things
from supernet.pose.synthetic.records import Record, category, coco_record, crowd_index, crowdpose_record, mpii_record
from supernet.pose.synthetic.scene import MAX_PEOPLE, Scene, sample_scene
from supernet.pose.synthetic.subjects import SUBJECTS

LAYOUTS = ("coco", "crowdpose", "mpii")  # folders of the dataset
PEOPLE = "people"
_VERSION = 1  # of the drawing and of the labels: raise it when either changes
_DONE = "DONE.json"
_SPLITS = (("train2017", "crowdpose_trainval", "train"), ("val2017", "crowdpose_test", "valid"))
_MPII_SHORT = ("rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thrx", "neck", "head", "rwri", "relb", "rsho",
               "lsho", "lelb", "lwri")  # fmt: skip


class _Writer:
    """Gathers the records of one split while its images are written, then writes its annotation files."""

    def __init__(self, root: Path, split: int) -> None:
        self.root, self.names = root, _SPLITS[split]
        self.images: tuple[list[Record], list[Record]] = ([], [])
        self.coco: list[Record] = []
        self.crowdpose: list[Record] = []
        self.mpii: list[Record] = []
        self.head_boxes: list[list[list[float]]] = []
        self.folders = [root / "coco/images" / self.names[0], root / "crowdpose/images", root / "mpii/images"]
        for folder in [*self.folders, root / "coco/annotations", root / "crowdpose/json", root / "mpii/annot"]:
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, scene: Scene, image_id: int) -> None:
        height, width = scene.image.shape[:2]
        file_name = f"{image_id:012d}.jpg"
        _, encoded = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        first = self.folders[0] / file_name
        first.write_bytes(encoded.tobytes())
        for folder in self.folders[1:]:
            try:
                os.link(first, folder / file_name)
            except OSError:  # a file system without hard links
                shutil.copyfile(first, folder / file_name)

        self.coco += [coco_record(person, image_id, n) for n, person in enumerate(scene.people)]
        crowdpose = [crowdpose_record(person, image_id, n) for n, person in enumerate(scene.people)]
        self.crowdpose += crowdpose
        image = {"file_name": file_name, "id": image_id, "height": height, "width": width}
        self.images[0].append({"license": 1, **image})
        self.images[1].append({**image, "crowdIndex": crowd_index(crowdpose)})
        for person in scene.people:
            if person.labelled:
                x0, y0, x1, y1 = person.head_box
                self.mpii.append(mpii_record(person, file_name, width, height))
                self.head_boxes.append([[x0 + 1, y0 + 1], [x1 + 1, y1 + 1]])

    def finish(self) -> None:
        info = {"description": "Synthetic crowd of drawn people", "url": "", "version": str(_VERSION), "year": 2025,
                "contributor": "pose-supernet", "date_created": "2025/01/01"}  # fmt: skip
        licences = [{"id": 1, "name": "CC0 1.0 (drawn by a program)",
                     "url": "https://creativecommons.org/publicdomain/zero/1.0/"}]  # fmt: skip
        coco_name, crowdpose_name, mpii_name = self.names
        _write_json(self.root / f"coco/annotations/person_keypoints_{coco_name}.json",
                    {"info": info, "licenses": licences, "images": self.images[0], "annotations": self.coco,
                     "categories": [category(COCO)]})  # fmt: skip
        _write_json(self.root / f"crowdpose/json/{crowdpose_name}.json",
                    {"images": self.images[1], "annotations": self.crowdpose,
                     "categories": [category(CROWDPOSE)]})  # fmt: skip
        _write_json(self.root / f"mpii/annot/{mpii_name}.json", self.mpii)
        joints = np.array([person["joints"] for person in self.mpii]).reshape(-1, 16, 2)
        present = np.array([person["joints_vis"] for person in self.mpii], dtype=np.uint8).reshape(-1, 16)
        scipy.io.savemat(
            self.root / f"mpii/annot/gt_{mpii_name}.mat",
            {
                "dataset_joints": np.array(_MPII_SHORT, dtype=object)[None],
                "jnt_missing": (1 - present).T,
                "pos_gt_src": (joints * present[..., None]).transpose(1, 2, 0),
                "headboxes_src": np.array(self.head_boxes).reshape(-1, 2, 2).transpose(1, 2, 0),
            },
        )


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


def _arguments(
    train: int, val: int, width: int, height: int, max_people: int, seed: int, subject: str
) -> dict[str, int | str]:
    other = {} if subject == PEOPLE else {"subject": subject}
    return {"version": _VERSION, "train": train, "val": val, "width": width, "height": height,
            "max_people": max_people, "seed": seed, **other}  # fmt: skip


def _recorded(root: Path) -> Any:
    try:
        return read_json(root / _DONE, 2**16)
    except UserError:
        return None


def is_made(
    root: Path,
    *,
    train: int,
    val: int,
    width: int = 192,
    height: int = 192,
    max_people: int = 4,
    seed: int = 0,
    subject: str = PEOPLE,
) -> bool:
    """Whether ``root`` holds the finished data set of exactly these arguments."""
    return bool(_recorded(root) == _arguments(train, val, width, height, max_people, seed, subject))


def make_synthetic(
    root: Path,
    *,
    train: int,
    val: int,
    width: int = 192,
    height: int = 192,
    max_people: int = 4,
    seed: int = 0,
    subject: str = PEOPLE,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw a crowd and write it under ``root/coco``, ``root/crowdpose`` and ``root/mpii`` in those layouts.

    Other subjects than people are written under ``root/keypoints`` in COCO's format. Returns at once when ``root`` already
    holds the data set of these arguments. Otherwise it is made in a folder beside ``root`` and moved there when finished, so
    nothing half-made is ever found at ``root``. The same arguments give the same bytes of JSON and JPEG (the .mat file
    carries the time at which it was written).

    Args:
        root: folder of the data set; replaced if it holds another synthetic dataset.
        train: number of training images.
        val: number of validation images.
        width: of the images, in pixels.
        height: of the images, in pixels; most people are 47 % to 114 % as tall as the image.
        max_people: most people in one image; fewer are likelier.
        seed: of all randomness, 0 or more.
        subject: ``people``, or of :data:`supernet.pose.synthetic.subjects.SUBJECTS`: corners, hands, animals.
        progress: called after every image with (images done, images in all).

    Raises:
        UserError: an argument is out of range, or ``root`` holds something that is not a synthetic dataset.
    """
    root = Path(root)
    for name, value, low, high in (
        ("train", train, 1, 10**9), ("val", val, 1, 10**9), ("width", width, 64, 4096), ("height", height, 64, 4096),
        ("max_people", max_people, 1, MAX_PEOPLE), ("seed", seed, 0, 2**63),
    ):  # fmt: skip
        if not low <= value <= high:
            raise UserError(f"synthetic dataset: {name} is {value}, give a number from {low} to {high}")
    if subject not in (PEOPLE, *SUBJECTS):
        raise UserError(f"synthetic dataset: there is no subject {subject!r}, give {PEOPLE}, {', '.join(SUBJECTS)}")
    wanted = _arguments(train, val, width, height, max_people, seed, subject)
    if _recorded(root) == wanted:
        return
    if root.exists() and _recorded(root) is None and not (root.is_dir() and not any(root.iterdir())):
        raise UserError(f"{root}: holds something else than a synthetic dataset, give an empty or a new folder")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}.making-", dir=root.parent) as workshop:
        new = Path(workshop) / "new"
        for split, count in enumerate((train, val)):
            writer: Any = _Writer(new, split) if subject == PEOPLE else ThingsWriter(new, split, subject)
            for index in range(count):
                rng = np.random.default_rng([seed, split, index])
                # even and odd ids: unique over the splits, and independent of how many images there are
                image_id = 2 * (index + 1) + split
                if subject == PEOPLE:
                    writer.add(sample_scene(rng, width, height, max_people), image_id)
                else:
                    writer.add(sample_things(rng, subject, width, height, max_people), image_id)
                if progress is not None:
                    progress(index + 1 + split * train, train + val)
            writer.finish()
        _write_json(new / _DONE, wanted)
        if root.exists():
            root.rename(Path(workshop) / "old")
        new.rename(root)
