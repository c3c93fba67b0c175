"""MPII's people, from the annotation files of HRNet and mmpose (``annot/{train,valid,test,trainval}.json``).

Source: MPII (Andriluka et al., CVPR 2014) in the form of HRNet's programs: a list with one entry per person, 1-based
pixels, ``center`` of the body and ``scale`` = its height / 200. Shape legend: K joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.io.files import read_json
from supernet.pose.keypoints import MPII

_LARGEST_FILE = 2**28  # bytes; MPII's own are below 20 MiB
_LARGEST_NUMBER = 1e9  # pixels
_LOWERED = 15  # pixels per unit of scale: the centre moves down, as annotated it lies above the body's middle
_PADDING = 1.25


@dataclass(frozen=True, eq=False)
class MpiiPerson:
    """One entry of the file.

    Attributes:
        image: File name of the image.
        center: float64 (2,): x, y of the crop's middle, 0-based pixels; lowered, so that legs are not cut.
        scale: float64 (2,): the crop's side / 200 pixels, twice the same number, padded by 1.25.
        keypoints_K3: float32 (x, y, v), 0-based pixels, v 0 or 1; all 0 in a file of the test set.
    """

    image: str
    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    keypoints_K3: NDArray[np.float32]


def read_mpii(annotations: Path) -> list[MpiiPerson]:
    """Everybody in the file, in its order, which is the order of the columns of ``gt_valid.mat``.

    Raises:
        UserError: The file is missing or not MPII's, or an entry cannot be used; the line names it by its position.
    """
    raw = read_json(annotations, max_bytes=_LARGEST_FILE)
    if not isinstance(raw, list) or not raw:
        raise UserError(f"{annotations}: no list of people: give MPII's annot/*.json in the form of HRNet or mmpose")
    return [_person(entry, f"{annotations}: entry {number}") for number, entry in enumerate(raw)]


def _person(entry: Any, where: str) -> MpiiPerson:
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        raise UserError(f"{where} has no 'image': give MPII's annot/*.json in the form of HRNet or mmpose")
    center = _numbers(entry, "center", (2,), where)
    scale = _numbers(entry, "scale", (), where).repeat(2)
    if center[0] != -1:  # -1: the file does not say where the person is, and the official program leaves it so
        if scale[0] <= 0:
            raise UserError(f"{where} ('{entry['image']}') has scale {entry['scale']}: correct or remove it")
        center[1] += _LOWERED * scale[1]
        scale *= _PADDING
    center -= 1
    keypoints_K3 = np.zeros((MPII.num_joints, 3), np.float32)
    if "joints" in entry:
        keypoints_K3[:, :2] = _numbers(entry, "joints", (MPII.num_joints, 2), where) - 1
        keypoints_K3[:, 2] = _numbers(entry, "joints_vis", (MPII.num_joints,), where) > 0
    return MpiiPerson(entry["image"], center, scale, keypoints_K3)


def _numbers(entry: dict[str, Any], key: str, shape: tuple[int, ...], where: str) -> NDArray[np.float64]:
    """The finite numbers of an entry's key, as float64 of this shape (joints may carry more columns)."""
    try:
        values = np.asarray(entry.get(key), np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.empty(0)
    if key == "joints" and values.ndim == 2:
        values = values[:, :2]
    if values.shape != shape or not (np.abs(values) <= _LARGEST_NUMBER).all():  # nan is not
        wanted = " x ".join(map(str, shape)) or "1"
        raise UserError(f"{where} ('{entry['image']}') has no usable '{key}', which is {wanted} numbers: correct it")
    return values
