"""The datasets' submission formats, read back by what reads them officially."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from supernet.errors import UserError
from supernet.pose.metrics.submissions import write_coco, write_mpii


def test_mpii_counts_pixels_from_one(tmp_path: Path) -> None:
    keypoints = np.random.default_rng(0).uniform(0, 500, (3, 16, 3)).astype(np.float32)
    write_mpii(tmp_path / "new" / "pred.mat", keypoints)
    predictions = scipy.io.loadmat(tmp_path / "new" / "pred.mat")["preds"]
    np.testing.assert_array_equal(predictions, keypoints[..., :2] + 1)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["pred.mat"]


def test_coco_is_a_list_of_people(tmp_path: Path) -> None:
    people = [{"image_id": 7, "category_id": 1, "keypoints": [1.5, 2.0, 0.25] * 17, "score": 0.5}]
    write_coco(tmp_path / "results.json", [{**person, "annotation_id": 3} for person in people])
    assert json.loads((tmp_path / "results.json").read_text()) == people


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for write in (lambda path: write_mpii(path, np.zeros((1, 16, 2))), lambda path: write_coco(path, [])):
        with pytest.raises(UserError, match="results: cannot be written"):
            write(tmp_path / "file" / "results")
