"""MPII's metric as an evaluator of results, like :class:`supernet.pose.metrics.oks.OksEvaluator` for COCO and CrowdPose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from supernet.errors import UserError
from supernet.io.matlab import read_matlab
from supernet.pose.metrics.pckh import pckh

_JOINTS = 16
#: Entries with people along their last axis, and their shape before it.
_PERSON_LAST = {"jnt_missing": (_JOINTS,), "pos_gt_src": (_JOINTS, 2), "headboxes_src": (2, 2)}


class MpiiEvaluator:
    """PCKh of people of one annotation file.

    Args:
        file: ``gt_valid.mat`` of HRNet's MPII files, or of another split in that layout.
        rows: who is evaluated: places in the annotation file, in the order of the results.
        people: how many the annotation file has.

    Raises:
        UserError: the file is missing, is no MATLAB file, or is of another split.
    """

    def __init__(self, file: Path, rows: Sequence[int], people: int) -> None:
        """Read the head boxes and joints."""
        needed = "PCKh needs the head boxes in HRNet's gt_*.mat of this split: put it there, or set DATASET.MPII_GT"
        content = read_matlab(file, "give HRNet's gt_*.mat" if file.is_file() else needed)
        for key, shape in _PERSON_LAST.items():
            if key not in content:
                raise UserError(f"{file}: has no {key!r}; give HRNet's gt_*.mat")
            value = content[key]
            if not isinstance(value, np.ndarray) or value.shape[:-1] != shape or value.dtype.kind not in "fiub":
                wanted = " x ".join(map(str, shape))
                raise UserError(f"{file}: {key!r} is not {wanted} x people numbers; give HRNet's gt_*.mat")
            if (known := value.shape[-1]) != people:
                raise UserError(
                    f"{file}: has {known} people in {key!r}, the annotation file has {people}; give the gt_*.mat of its split"
                )
        self._truth = {**content, **{key: content[key][..., list(rows)] for key in _PERSON_LAST}}

    def evaluate(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """What :func:`supernet.pose.metrics.pckh.pckh` says of results with ``keypoints`` (x, y, anything) * 16, one a person."""
        joints = len(self._truth["jnt_missing"])
        found = np.array([result["keypoints"] for result in results], np.float32).reshape(len(results), joints, -1)
        return pckh(found, self._truth)
