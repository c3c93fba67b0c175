"""Leeds Sports Pose and its extended training set in their original form: ``joints.mat`` and ``images``.

Sources: LSP (Johnson and Everingham, BMVC 2010): 2,000 images, ``im0001.jpg`` to ``im2000.jpg``, the first 1,000 of them for
training; LSP extended (the same, CVPR 2011): 10,000 images for training, ``im00001.jpg`` and so on. Their README files and the
programs written for them agree on what ``joints`` holds:

==========  ==================  ===================================================================================
dataset     shape of joints     third number of a joint
==========  ==================  ===================================================================================
LSP         3 (or 2) × 14 × N   1 where the joint is occluded; it is labelled all the same
extended    14 × 3 (or 2) × N   1 where the joint is visible; the others lie anywhere, also outside of the image
==========  ==================  ===================================================================================

So the mark means the opposite in the other file. It becomes COCO's visibility here: an occluded joint of LSP is labelled and
hidden (1), an invisible one of LSP extended, or one outside of its image, is not labelled (0). Left and right are the person's.
One person an image is annotated, others may be on it, so the dataset is for top-down networks. Coordinates are taken as 0-based
pixels, x before y, as programs commonly take them. Neither dataset has boxes, areas or OKS constants: boxes are those of
:func:`supernet.pose.metrics.people.box_of_joints` clipped to the image, areas and constants CrowdPose's. Shape legend: N people,
K joints.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.io.matlab import read_matlab
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.coco_kind import CocoKind
from supernet.pose.datasets.images import find_images, image_path, image_size
from supernet.pose.datasets.kind import Files
from supernet.pose.keypoints import Skeleton
from supernet.pose.metrics.oks import BOX_SHARE, OksRules
from supernet.pose.metrics.people import TORSO_PCK, box_of_joints
from supernet.pose.metrics.score import Score

LSP = Skeleton(
    name="lsp",
    joints=(
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
        "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top",
    ),
    limbs=(
        (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 12), (12, 9), (9, 10), (10, 11), (12, 13), (2, 8), (3, 9),
    ),
    sigmas=(0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.062, 0.072, 0.079, 0.079, 0.072, 0.062, 0.079, 0.079),
)  # fmt: skip
_REMEDY = "give the joints.mat of LSP or of LSP extended as it was published"
_FEWEST_VISIBLE = 0.5  # share of the joints of LSP extended; in the published file it is far above


class Lsp(CocoKind):
    """``joints.mat`` and ``images`` of LSP or of LSP extended, evaluated by PCK, beside it by OKS.

    Splits are ``train`` (the first half of LSP, everything of LSP extended), ``test`` (the second half of LSP), ``all``, or
    numbers of images such as ``9001-10000``.
    """

    name = "lsp"
    approaches = {"lsp": "top-down"}
    skeleton = LSP
    score = Score(TORSO_PCK)
    rules = OksRules(box_share=BOX_SHARE)
    annotated_crops = True
    one_result_each = True

    def files(self, root: Path, split: str) -> Files:
        """Where a split lies: all of them in the same files."""
        return Files(root / "joints.mat", root / "images", split)

    def images(self, files: Files) -> PoseDataset:
        """The images of a split with the person annotated on each.

        Raises:
            UserError: a file is missing or damaged, or the split is none.
        """
        content = lsp_content(files.annotations, find_images(files.images), files.part)
        return PoseDataset(files.annotations, files.images, self.skeleton, content)


def lsp_content(file: Path, images: Path, split: str) -> dict[str, Any]:
    """What a file in COCO's format would say of a split; ids are the numbers of the images.

    Args:
        file: ``joints.mat``.
        images: the folder or archive of the images, whose sizes are read.
        split: see :class:`Lsp`.

    Raises:
        UserError: the file is missing or damaged, an image is missing or damaged, or there is no such split.
    """
    if not images.exists():
        raise UserError(f"LSP's image folder {images} does not exist: set DATASET.ROOT to the folder around it")
    keypoints_NK3, extended = read_joints(file)
    entries, people = [], []
    for number in numbers_of(split, len(keypoints_NK3), extended):
        name = f"im{number:0{5 if extended else 4}d}.jpg"
        width, height = image_size(image_path(images, name))
        entries.append({"id": number, "file_name": name, "width": width, "height": height})
        joints_K3 = keypoints_NK3[number - 1]
        if extended:
            inside_K = ((joints_K3[:, :2] >= 0) & (joints_K3[:, :2] < (width, height))).all(1)
            joints_K3 = np.where(inside_K[:, None], joints_K3, 0)
        if not joints_K3[:, 2].any():
            continue
        x, y, wide, high = box_of_joints(joints_K3)
        left, top, right, bottom = max(0.0, x), max(0.0, y), min(float(width), x + wide), min(float(height), y + high)
        people.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "keypoints": joints_K3.ravel().tolist(),
                "num_keypoints": int((joints_K3[:, 2] > 0).sum()),
                "bbox": [left, top, right - left, bottom - top],
                "area": BOX_SHARE * (right - left) * (bottom - top),
                "iscrowd": 0,
            }
        )
    category = {"id": 1, "name": "person", "keypoints": list(LSP.joints)}
    return {"images": entries, "annotations": people, "categories": [category]}


def read_joints(file: Path) -> tuple[NDArray[np.float64], bool]:
    """Keypoints (N, 14, 3) x, y, v of ``joints.mat``, v as COCO has it, and whether it is that of LSP extended.

    Raises:
        UserError: the file is missing or damaged.
    """
    content = read_matlab(file, _REMEDY)
    raw = content.get("joints")
    if raw is None:
        names = ", ".join(name for name in content if not name.startswith("__")) or "nothing"
        raise UserError(f"{file}: has no 'joints', only {names}; {_REMEDY}")
    if raw.ndim != 3 or raw.shape[:2] not in ((3, 14), (2, 14), (14, 3), (14, 2)) or raw.dtype.kind not in "fiu":
        shape = " × ".join(map(str, raw.shape))
        raise UserError(f"{file}: 'joints' is {shape}, not 3 × 14 × N (LSP) or 14 × 3 × N (extended); {_REMEDY}")
    extended = raw.shape[0] == 14
    values_NK3 = np.asarray(raw, np.float64).transpose((2, 0, 1) if extended else (2, 1, 0))
    marks_NK = values_NK3[..., 2] if values_NK3.shape[2] == 3 else np.full(values_NK3.shape[:2], float(extended))
    if not np.isin(marks_NK, (0, 1)).all():
        raise UserError(f"{file}: marks of visibility are not all 0 or 1; {_REMEDY}")
    visible_NK = marks_NK == (1 if extended else 0)
    if extended and visible_NK.size and visible_NK.mean() < _FEWEST_VISIBLE:
        raise UserError(
            f"{file}: only {100 * visible_NK.mean():.0f} % of the joints are marked visible; 14 × 3 × N is the shape of LSP "
            f"extended, where 1 marks visible joints (in LSP, 3 × 14 × N, occluded ones); {_REMEDY}"
        )
    labelled_NK = visible_NK if extended else np.ones_like(visible_NK)
    finite_NK = np.isfinite(values_NK3[..., :2]).all(2)
    if (wrong_N := (labelled_NK & ~finite_NK).any(1)).any():
        raise UserError(f"{file}: person {int(wrong_N.argmax()) + 1} has a joint that is no finite number; {_REMEDY}")
    keypoints_NK3 = np.zeros((*labelled_NK.shape, 3))
    keypoints_NK3[labelled_NK, :2] = values_NK3[..., :2][labelled_NK]
    keypoints_NK3[..., 2] = labelled_NK * (1 + visible_NK)
    return keypoints_NK3, extended


def numbers_of(split: str, people: int, extended: bool) -> range:
    """Numbers of the images of a split, from 1.

    Raises:
        UserError: there is no such split.
    """
    every = range(1, people + 1)
    match split:
        case "all":
            return every
        case "train":
            return every if extended else every[: people // 2]
        case "test" if not extended:
            return every[people // 2 :]
    if (ends := re.fullmatch(r"(\d{1,6})-(\d{1,6})", split)) and 1 <= int(ends[1]) <= int(ends[2]) <= people:
        return range(int(ends[1]), int(ends[2]) + 1)
    known = "train, all" if extended else "train, test, all"
    raise UserError(
        f"DATASET.TRAIN or DATASET.TEST {split!r} is no split of {'LSP extended' if extended else 'LSP'}: write {known}, or "
        f"numbers of images up to {people} such as 1-{people}"
    )
