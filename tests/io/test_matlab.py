"""MATLAB files that are damaged, too large or hold something else: one line each."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from supernet.errors import UserError
from supernet.io.matlab import read_matlab
from supernet.pose.metrics.mpii import MpiiEvaluator
from tests.paths import ROOT

PEOPLE = 3
TRUTH = {
    "dataset_joints": np.array(["rank"] * 16, dtype=object)[None],
    "jnt_missing": np.zeros((16, PEOPLE)),
    "pos_gt_src": np.ones((16, 2, PEOPLE)),
    "headboxes_src": np.ones((2, 2, PEOPLE)),
}


@pytest.mark.parametrize("compress", [False, True])
def test_what_is_read_is_what_scipy_reads(compress: bool, tmp_path: Path) -> None:
    content = TRUTH | {
        "many": np.arange(24, dtype=np.int16).reshape(2, 3, 4),
        "rows": np.array(["ab", "cd"]),
        "yes": np.array([True]),
    }
    scipy.io.savemat(tmp_path / "x.mat", content, do_compression=compress)
    for path in (tmp_path / "x.mat", ROOT / "tests" / "data" / "evaluation" / "mpii_gt_val.mat"):
        found, wanted = read_matlab(path, ""), scipy.io.loadmat(path)
        assert found.keys() == {name for name in wanted if not name.startswith("__")} and len(found) > 3
        for name, value in found.items():
            if value.dtype == object:
                assert value.shape == wanted[name].shape
                assert [cell.tolist() for cell in value.flat] == [cell.tolist() for cell in wanted[name].flat]
            else:
                np.testing.assert_array_equal(value, wanted[name])


@pytest.mark.parametrize("compress", [False, True])
def test_damaged_files_end_in_one_line(compress: bool, tmp_path: Path) -> None:
    buffer, path, rng = io.BytesIO(), tmp_path / "x.mat", np.random.default_rng(20)
    scipy.io.savemat(buffer, TRUTH, do_compression=compress)
    data, read = buffer.getvalue(), 0
    for case in range(200):
        spoiled = bytearray(data[: rng.integers(1, len(data))] if case % 4 == 0 else data)
        for place in rng.integers(0, len(spoiled), 3):
            spoiled[place] = rng.integers(0, 256)
        path.write_bytes(spoiled)
        try:
            MpiiEvaluator(path, range(PEOPLE), PEOPLE)
            read += 1
        except UserError as error:
            assert "\n" not in str(error) and str(path) in str(error)
    assert read < 200


def test_a_compressed_part_that_unpacks_to_gigabytes_is_refused_before(tmp_path: Path) -> None:
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(100)) + packer.flush()  # 100 MiB
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    (tmp_path / "bomb.mat").write_bytes(head + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(UserError, match="bomb.mat: is no MATLAB file .*it unpacks to more than 64 MiB"):
        read_matlab(tmp_path / "bomb.mat", "give another")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jnt_missing": "text"}, "'jnt_missing' is not 16 x people numbers"),
        ({"pos_gt_src": np.ones((2, 16, PEOPLE))}, "'pos_gt_src' is not 16 x 2 x people numbers"),
        ({"headboxes_src": np.array([[{}]], object)}, "'headboxes_src' is not 2 x 2 x people numbers"),
        ({"jnt_missing": np.zeros((16, 9))}, "has 9 people in 'jnt_missing'"),
        ({"dataset_joints": 5.0}, "has no joint .* in 'dataset_joints'"),
    ],
)
def test_entries_of_another_kind_are_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "gt.mat", TRUTH | change)
    with pytest.raises(UserError, match=message):
        MpiiEvaluator(tmp_path / "gt.mat", range(PEOPLE), PEOPLE).evaluate([{"keypoints": [0.0] * 48}] * PEOPLE)
