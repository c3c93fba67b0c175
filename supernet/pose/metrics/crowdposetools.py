"""CrowdPose evaluated by its own program, where somebody has installed it: ``crowdposetools`` is on no package index.

:class:`.oks.OksEvaluator` gives the same numbers without it. Source: CrowdPose (Li et al., CVPR 2019), its API.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supernet.errors import UserError

#: Where the program's vector of statistics has what is reported.
STATS = {"AP": 0, "AP50": 1, "AP75": 2, "AR": 5, "AR50": 6, "AR75": 7, "APeasy": 8, "APmedium": 9, "APhard": 10}


class CrowdPoseTools:
    """The official program on one annotation file.

    Args:
        ground_truth: the annotations as they are in the file, ``crowdIndex`` of the images included.

    Raises:
        UserError: ``crowdposetools`` is not installed.
    """

    def __init__(self, ground_truth: Mapping[str, Any]) -> None:
        """Find the program."""
        try:
            self._coco = importlib.import_module("crowdposetools.coco")
            self._cocoeval = importlib.import_module("crowdposetools.cocoeval")
        except ImportError:
            raise UserError(
                "TEST.METRIC_BACKEND crowdposetools is not installed; install it from CrowdPose's repository, or write "
                "pycocotools, which gives the same numbers"
            ) from None
        self._ground_truth = ground_truth

    def evaluate(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """``AP, AP50, AP75, AR, AR50, AR75, APeasy, APmedium, APhard`` of results in COCO's format, fractions of 1.

        Raises:
            UserError: the program fails, with its reason.
        """
        if not results:
            return dict.fromkeys(STATS, 0.0)
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            file = Path(folder) / "ground_truth.json"
            file.write_text(json.dumps(self._ground_truth))
            try:
                index = self._coco.COCO(str(file))
                evaluation = self._cocoeval.COCOeval(index, index.loadRes(list(results)), "keypoints")
                evaluation.evaluate()
                evaluation.accumulate()
                evaluation.summarize()
            except Exception as error:  # somebody else's program, which may not fit the numpy that is installed
                reason = (str(error) or type(error).__name__).splitlines()[0]
                raise UserError(f"crowdposetools failed: {reason}; write TEST.METRIC_BACKEND pycocotools") from error
        return {name: float(evaluation.stats[place]) for name, place in STATS.items()}
