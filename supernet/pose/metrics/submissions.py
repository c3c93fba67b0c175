"""Results as the datasets' own servers take them: COCO's keypoints JSON, which CrowdPose takes too, and MPII's pred.mat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from supernet.io.files import replacing, write_atomically


def write_coco(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Write people as COCO's results format: image_id, category_id, keypoints (x, y, score) * K and score of each.

    Coordinates are 0-based pixels of the image. What else results say (``annotation_id``) is left out.

    Raises:
        UserError: the file cannot be written.
    """
    kept = [{key: value for key, value in result.items() if key != "annotation_id"} for result in results]
    write_atomically(path, json.dumps(kept) + "\n")


def write_mpii(path: Path, keypoints_NK2: NDArray[Any]) -> None:
    """Write people's joints as MATLAB's ``preds`` (N, 16, 2), 1-based pixels, one row for each person of the annotations.

    Args:
        path: the file, ``pred.mat`` for MPII's server.
        keypoints_NK2: (N, 16, 2 or more) x, y in 0-based pixels, in the order of the annotation file.

    Raises:
        UserError: the file cannot be written.
    """
    with replacing(path) as temporary:
        scipy.io.savemat(temporary, {"preds": np.asarray(keypoints_NK2)[..., :2] + 1.0}, appendmat=False)
