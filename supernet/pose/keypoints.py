"""Skeletons: the joints of each dataset, once, for reading, augmenting, drawing and evaluating.

Joint order is the dataset's own. ``left``/``right`` are the person's, not the image's. Skeletons of own datasets are read by
``skeleton_file.py``.
Sources: COCO and CrowdPose evaluation programs (``sigmas`` are their OKS constants), MPII annotation page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Pair = tuple[int, int]
Side = Literal["left", "right", "middle"]

#: What says in a name on which side a joint is, the surest first: left and right anywhere; a lone letter (``l_eye``,
#: ``L-eye``, ``eye_l``, ``L1``); a capital before or behind a word (``LEye``, ``eyeL``).
_SIDES = (
    re.compile("left|right", re.IGNORECASE),
    re.compile("(?<![A-Za-z])[LRlr](?![A-Za-z])"),
    re.compile("(?<![A-Za-z])[LR](?=[A-Z][a-z])|(?<=[a-z])[LR](?![A-Za-z])"),
)
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}
_LOWER = {"pelvis", "hip", "hips", "knee", "ankle", "foot", "heel", "toe", "toes"}
_WEIGHTS = {"elbow": 1.2, "knee": 1.2, "wrist": 1.5, "ankle": 1.5}


@dataclass(frozen=True)
class Skeleton:
    """Names and geometry of one dataset's joints.

    Attributes:
        name: of the skeleton, in messages.
        joints: their names, in the order of the annotations.
        limbs: pairs of joint indices to draw.
        sigmas: the OKS falloff constants (empty where the dataset is not evaluated by OKS).
        pairs: the joints that change places in a mirrored image, (left, right); None guesses them from the names.
        upper: the joints of the upper body; None guesses them from the names.
    """

    name: str
    joints: tuple[str, ...]
    limbs: tuple[Pair, ...]
    sigmas: tuple[float, ...] = ()
    pairs: tuple[Pair, ...] | None = None
    upper: tuple[int, ...] | None = None

    @property
    def num_joints(self) -> int:
        """Number of joints."""
        return len(self.joints)

    @property
    def oks_sigmas(self) -> tuple[float, ...]:
        """``sigmas`` to the last bit as official programs have them: they write tenths, and 0.26 / 10 is not 0.026."""
        return tuple(round(sigma * 10, 10) / 10 for sigma in self.sigmas)

    @cached_property
    def flip_pairs(self) -> tuple[Pair, ...]:
        """The joints that change places in a mirrored image, (left, right) of each pair."""
        return mirrored_pairs(self.joints) if self.pairs is None else self.pairs

    @cached_property
    def flip_index(self) -> tuple[int, ...]:
        """Index of the joint with left and right exchanged, for every joint."""
        other = {left: right for left, right in self.flip_pairs} | {right: left for left, right in self.flip_pairs}
        return tuple(other.get(joint, joint) for joint in range(self.num_joints))

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """The side of every joint: the person's own left or right, or the middle."""
        side: dict[int, Side] = {left: "left" for left, _ in self.flip_pairs}
        side |= {right: "right" for _, right in self.flip_pairs}
        return tuple(side.get(joint, "middle") for joint in range(self.num_joints))

    @cached_property
    def upper_body(self) -> tuple[int, ...]:
        """The joints above the hips: one of the two halves of HRNet's half-body augmentation."""
        if self.upper is not None:
            return self.upper
        return tuple(index for index, joint in enumerate(self.joints) if not _LOWER & set(_words(joint)))

    @property
    def joint_weights(self) -> tuple[float, ...]:
        """Weight of each joint under LOSS.USE_DIFFERENT_JOINTS_WEIGHT: HRNet's, the ends of the limbs count more."""
        return tuple(max([_WEIGHTS.get(word, 1.0) for word in _words(joint)], default=1.0) for joint in self.joints)


def mirrored_pairs(joints: Sequence[str]) -> tuple[Pair, ...]:
    """The flip pairs (left, right) that the names of joints tell.

    ``left_eye`` and ``right_eye``, ``L-eye`` and ``R-eye``, ``eyeL`` and ``eyeR``, in any case where that is no mark. A joint
    whose name with left and right exchanged is no joint belongs to no pair.
    """
    places = {joint.casefold(): index for index, joint in enumerate(joints)}
    pairs: dict[int, Pair] = {}
    for index, joint in enumerate(joints):
        for pattern in _SIDES:
            marks = pattern.findall(joint)
            other = places.get(pattern.sub(lambda mark: _OTHER[mark[0].lower()], joint).casefold()) if marks else None
            if other is None or other == index or index in pairs or other in pairs:
                continue
            pair = (index, other) if marks[0].lower().startswith("l") else (other, index)
            pairs[index] = pairs[other] = pair
    return tuple(dict.fromkeys(pairs.values()))


def unpaired(joints: Sequence[str]) -> tuple[str, ...]:
    """The joints whose names say left or right, and that have no partner of the other side by their names."""
    paired = {index for pair in mirrored_pairs(joints) for index in pair}
    return tuple(
        joint for index, joint in enumerate(joints) if index not in paired and {"left", "right"} & set(_words(joint))
    )


def spelled_alike(first: str, second: str) -> bool:
    """Whether two names differ at most in case and in what stands between words: ``Left Eye`` and ``left_eye``."""
    return plain_name(first) == plain_name(second)


def plain_name(joint: str) -> str:
    """The letters and digits of a name, in small letters."""
    return "".join(filter(str.isalnum, joint.casefold()))


def _words(joint: str) -> list[str]:
    """The words of a name in small letters: ``left_hip``, ``LHip`` and ``hip-L`` all have ``hip``."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", joint)]


COCO = Skeleton(
    name="coco",
    joints=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
        "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
        "right_ankle",
    ),
    limbs=(
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
        (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ),
    sigmas=(
        0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087,
        0.089, 0.089,
    ),
)  # fmt: skip

CROWDPOSE = Skeleton(
    name="crowdpose",
    joints=(
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
        "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck",
    ),
    limbs=(
        (12, 13), (13, 0), (13, 1), (0, 2), (2, 4), (1, 3), (3, 5), (0, 6), (1, 7), (6, 7), (6, 8), (8, 10), (7, 9),
        (9, 11),
    ),
    sigmas=(
        0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079,
    ),
)  # fmt: skip

MPII = Skeleton(
    name="mpii",
    joints=(
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax",
        "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
        "left_wrist",
    ),
    limbs=(
        (0, 1), (1, 2), (2, 6), (3, 6), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (10, 11), (11, 12), (12, 7), (13, 7),
        (13, 14), (14, 15),
    ),
)  # fmt: skip
