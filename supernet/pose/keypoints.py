"""Skeletons: the joints of each dataset, once, for reading, augmenting, drawing and evaluating.

Joint order is the dataset's own. ``left``/``right`` are the person's, not the image's.
Sources: COCO and CrowdPose evaluation programs (``sigmas`` are their OKS constants), MPII annotation page.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Skeleton:
    """Names and geometry of one dataset's joints.

    ``flip_index[k]`` is the joint that joint ``k`` becomes in a mirrored image; ``limbs`` are pairs of joint
    indices to draw; ``sigmas`` are the OKS falloff constants (empty where the dataset is not evaluated by OKS).
    """

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...] = ()

    @property
    def num_joints(self) -> int:
        """Number of joints."""
        return len(self.joints)

    @property
    def oks_sigmas(self) -> tuple[float, ...]:
        """``sigmas`` to the last bit as official programs have them: they write tenths, and 0.26 / 10 is not 0.026."""
        return tuple(round(sigma * 10, 10) / 10 for sigma in self.sigmas)

    @property
    def flip_index(self) -> tuple[int, ...]:
        """Index of the joint with left and right exchanged, for every joint."""
        swapped = {"left": "right", "right": "left"}
        mirrored = ["_".join(swapped.get(word, word) for word in joint.split("_")) for joint in self.joints]
        return tuple(self.joints.index(joint) for joint in mirrored)

    @property
    def upper_body(self) -> tuple[int, ...]:
        """The joints above the hips: one of the two halves of HRNet's half-body augmentation."""
        lower = {"pelvis", "hip", "knee", "ankle"}
        return tuple(index for index, joint in enumerate(self.joints) if joint.split("_")[-1] not in lower)

    @property
    def joint_weights(self) -> tuple[float, ...]:
        """Weight of each joint under LOSS.USE_DIFFERENT_JOINTS_WEIGHT: HRNet's, the ends of the limbs count more."""
        weights = {"elbow": 1.2, "knee": 1.2, "wrist": 1.5, "ankle": 1.5}
        return tuple(weights.get(joint.split("_")[-1], 1.0) for joint in self.joints)


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
