"""CrowdPose: Li et al., CVPR 2019; people in crowds, with 14 joints, in COCO's format without areas and segmentations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supernet.pose.datasets.coco_kind import CocoKind
from supernet.pose.datasets.crowd_index import with_crowd_index
from supernet.pose.datasets.kind import Files
from supernet.pose.keypoints import CROWDPOSE, Skeleton
from supernet.pose.metrics.crowdposetools import CrowdPoseTools
from supernet.pose.metrics.oks import CROWDPOSE_RULES
from supernet.pose.protocols import Evaluator


class CrowdPose(CocoKind):
    """``json/crowdpose_<split>.json`` and ``images``."""

    name = "crowdpose"
    approaches = {"crowd_pose_kpt": "bottom-up", "crowd_pose": "bottom-up", "crowdpose": "top-down"}
    skeleton = CROWDPOSE
    rules = CROWDPOSE_RULES

    def files(self, root: Path, split: str) -> Files:
        """Where a split lies."""
        return Files(root / "json" / f"crowdpose_{split}.json", root / "images")

    def official(self, content: Mapping[str, Any], skeleton: Skeleton, backend: str) -> Evaluator:
        """Average precision and recall of OKS, by crowd index too; ``crowdposetools`` is the official program.

        Images without ``crowdIndex`` get the one that their boxes and joints give.
        """
        truth = with_crowd_index(dict(content))
        if backend == "crowdposetools":
            return CrowdPoseTools(truth)
        return super().official(truth, skeleton, backend)
