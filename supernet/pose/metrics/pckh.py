"""MPII's official metric, PCKh: Andriluka et al., CVPR 2014, with 0.6 of the head box's diagonal as the head's length.

Shape legend: N people, K joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError

PCKH_GROUPS = {"Head": ("head",)} | {
    name: (f"l{short}", f"r{short}")
    for name, short in {
        "Shoulder": "sho", "Elbow": "elb", "Wrist": "wri", "Hip": "hip", "Knee": "kne", "Ankle": "ank",
    }.items()
}  # fmt: skip
PCKH_METRICS = (*PCKH_GROUPS, "Mean", "Mean@0.1")
HEAD_SHARE = 0.6  # the head's length is this share of its box's diagonal
PCKH_LEFT_OUT = (6, 7)  # pelvis and thorax do not count towards the mean


def pckh(predictions_NK2: NDArray[Any], ground_truth: Mapping[str, Any]) -> dict[str, float]:
    """MPII's PCKh: the share of visible joints no further from the truth than a share of the head's length.

    ``Mean@0.1`` is at 0.10 exactly; HRNet's program prints, under the same name, what it is at 0.11 (its issue 167).

    Args:
        predictions_NK2: (N, 16, 2 or more) x, y in 0-based pixels of the image, MPII's joint order.
        ground_truth: MPII's ``gt_valid.mat`` as :func:`scipy.io.loadmat` gives it: ``dataset_joints``,
            ``jnt_missing`` (16, N), ``pos_gt_src`` (16, 2, N) 1-based pixels, ``headboxes_src`` (2, 2, N).

    Returns:
        Percentages at 0.5 of the head: ``Head, Shoulder, Elbow, Wrist, Hip, Knee, Ankle`` (left and right averaged),
        ``Mean`` over the joints without pelvis and thorax, weighted by their visible count; and ``Mean@0.1``. NaN
        where no such joint is visible. A prediction that is not a number counts as wrong.

    Raises:
        UserError: an entry of the ground truth is missing, or people or joints do not fit.
    """
    for key in ("dataset_joints", "jnt_missing", "pos_gt_src", "headboxes_src"):
        if key not in ground_truth:
            raise UserError(f"MPII's ground truth has no {key!r}: give the content of gt_valid.mat")
    visible_KN = 1.0 - np.asarray(ground_truth["jnt_missing"], dtype=np.float64)
    if predictions_NK2.ndim != 3 or predictions_NK2.shape[1::-1] != visible_KN.shape or predictions_NK2.shape[2] < 2:
        raise UserError(
            f"predictions have shape {predictions_NK2.shape}, the ground truth is of {visible_KN.shape[1]} people with "
            f"{visible_KN.shape[0]} joints: give (people, joints, x y) in the ground truth's order"
        )
    # Either a cell array of strings or a character array, one row per joint.
    names = [_text(name) for name in np.atleast_1d(np.squeeze(ground_truth["dataset_joints"]))]
    if absent := {name for pair in PCKH_GROUPS.values() for name in pair} - set(names):
        raise UserError(f"MPII's ground truth has no joint {min(absent)!r} in 'dataset_joints': give gt_valid.mat")

    found_KN2 = (predictions_NK2[..., :2] + 1.0).transpose(1, 0, 2)
    error_KN = np.linalg.norm(found_KN2 - np.asarray(ground_truth["pos_gt_src"]).transpose(0, 2, 1), axis=2)
    corners = np.asarray(ground_truth["headboxes_src"], dtype=np.float64)
    head_N = np.linalg.norm(corners[1] - corners[0], axis=0) * HEAD_SHARE
    count_K = visible_KN.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):  # no head, or no visible joint: NaN, which is not a hit
        share_KN = error_KN / head_N
        hits = {limit: ((share_KN <= limit) * visible_KN).sum(axis=1) for limit in (0.5, 0.1)}
        score_K = 100.0 * hits[0.5] / count_K
        scores = {
            name: float(np.mean([score_K[names.index(joint)] for joint in joints]))
            for name, joints in PCKH_GROUPS.items()
        }
        counted = np.delete(np.arange(len(names)), PCKH_LEFT_OUT)
        for name, limit in (("Mean", 0.5), ("Mean@0.1", 0.1)):
            scores[name] = float(100.0 * hits[limit][counted].sum() / count_K[counted].sum())
    return scores


def _text(name: Any) -> str:
    """The name of a joint, in whatever a MATLAB file has it; what is no text becomes "", which is no joint."""
    parts = np.ravel(name)
    return "".join(parts).strip() if all(isinstance(part, str) for part in parts) else ""
