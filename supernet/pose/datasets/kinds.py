"""The table of dataset kinds: a line for each."""

from __future__ import annotations

from supernet.errors import UserError
from supernet.pose.datasets.coco import Coco
from supernet.pose.datasets.crowdpose import CrowdPose
from supernet.pose.datasets.kind import DatasetKind
from supernet.pose.datasets.lsp import Lsp
from supernet.pose.datasets.mpii import Mpii
from supernet.pose.datasets.own_keypoints import OwnKeypoints
from supernet.pose.keypoints import Skeleton

KINDS: list[DatasetKind] = [
    Coco(),
    CrowdPose(),
    Mpii(),
    Lsp(),
    OwnKeypoints(),
]


def skeletons() -> dict[str, Skeleton]:
    """The keypoints of every kind that has fixed ones, by its name."""
    return {kind.name: kind.skeleton for kind in KINDS if not kind.own_skeleton}


def kind_of(name: str) -> DatasetKind:
    """The kind that a value of DATASET.DATASET means.

    Raises:
        UserError: none has that name.
    """
    for kind in KINDS:
        if name in kind.approaches:
            return kind
    names = [known for kind in KINDS for known in kind.approaches]
    raise UserError(f"DATASET.DATASET {name!r} is not known; there are {', '.join(names)}")
