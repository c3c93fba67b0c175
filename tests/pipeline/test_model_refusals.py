"""MODEL nodes that describe nothing that can be built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from supernet import UserError
from supernet.pipeline.models import family_of_poses
from tests.pipeline.test_models import EFFICIENT, HIGHER, LITEPOSE, SIMPLE, TRANSPOSE, hrnet, refusal


@pytest.mark.parametrize(
    ("text", "key", "value", "message"),
    [
        (HIGHER, "MODEL.NAME", "pose_ddrnet", "MODEL.NAME 'pose_ddrnet' names no network that can be built"),
        (HIGHER, "MODEL.EXTRA.STAGE2.BLOCK", "BOTTLENECK", "STAGE2.BLOCK is 'BOTTLENECK', and only 'BASIC' can be built"),
        (HIGHER, "MODEL.EXTRA.STAGE4.FUSE_METHOD", "CAT", "STAGE4.FUSE_METHOD is 'CAT', and only 'SUM' can be built"),
        (HIGHER, "MODEL.EXTRA.STAGE3.NUM_BRANCHES", "2", "STAGE3.NUM_BRANCHES is 2, and only 3 can be built"),
        (HIGHER, "MODEL.EXTRA.STAGE3.NUM_BLOCKS", "[4, 4]", "NUM_BLOCKS is [4, 4], it has to be a list of 3 whole numbers"),
        (HIGHER, "MODEL.EXTRA.STAGE3.NUM_CHANNELS", "[32, 64, 96]", "NUM_CHANNELS is [32, 64, 96], and only [32, 64, 128]"),
        (HIGHER, "MODEL.EXTRA.STAGE2.NUM_MODULES", "0", "STAGE2.NUM_MODULES is 0, it has to be a whole number from 1 on"),
        (HIGHER, "MODEL.EXTRA.STEM_INPLANES", "wide", "EXTRA.STEM_INPLANES is 'wide', it has to be a whole number"),
        (HIGHER, "MODEL.EXTRA.FINAL_CONV_KERNEL", "3", "EXTRA.FINAL_CONV_KERNEL is 3, and only 1 can be built"),
        (HIGHER, "MODEL.EXTRA.DECONV.NUM_DECONVS", "2", "DECONV.NUM_DECONVS is 2, and only 1 can be built"),
        (HIGHER, "MODEL.EXTRA.DECONV.CAT_OUTPUT", "[False]", "DECONV.CAT_OUTPUT is [False], and only [True] can be built"),
        (HIGHER, "MODEL.TAG_PER_JOINT", "False", "MODEL.TAG_PER_JOINT is False, and only True can be built"),
        (HIGHER, "LOSS.WITH_AE_LOSS", "[True, True]", "LOSS.WITH_AE_LOSS is [True, True], and only [True, False]"),
        (HIGHER, "DATASET.INPUT_SIZE", "500", "DATASET.INPUT_SIZE has 500, it has to be a multiple of 32 pixels"),
        (hrnet(32), "MODEL.IMAGE_SIZE", "[192, 250]", "MODEL.IMAGE_SIZE has 250, it has to be a multiple of 32 pixels"),
        (hrnet(32), "MODEL.IMAGE_SIZE", "[192]", "MODEL.IMAGE_SIZE is [192], it has to be width and height in pixels"),
        (hrnet(32), "MODEL.EXTRA.STAGE2.NUM_BLOCKS", "[0, 4]", "NUM_BLOCKS[0] is 0, it has to be a whole number from 1 on"),
        (SIMPLE, "MODEL.EXTRA.NUM_LAYERS", "18", "EXTRA.NUM_LAYERS is 18, and only 50, 101 or 152 can be built"),
        (SIMPLE, "MODEL.EXTRA.NUM_DECONV_KERNELS", "[4, 4, 2]", "NUM_DECONV_KERNELS is [4, 4, 2], and only [4, 4, 4]"),
        (SIMPLE, "MODEL.EXTRA.DECONV_WITH_BIAS", "True", "EXTRA.DECONV_WITH_BIAS is True, and only False can be built"),
        (EFFICIENT, "MODEL.SCALE_FACTOR", "-5", "MODEL.SCALE_FACTOR is -5, and only -1, -2, -3 or -4 can be built"),
        (EFFICIENT, "MODEL.DEPTH_MULT", "1.0", "DEPTH_MULT is 1.0, and with MODEL.SCALE_FACTOR -1 only 0.833 can be built"),
        (EFFICIENT, "MODEL.EXTRA.DECONV.NUM_CHANNELS", "[26]", "DECONV.NUM_CHANNELS is [26], and only [32] can be built"),
        (LITEPOSE, "MODEL.EXTRA.NUM_DECONV_FILTERS", "[16, 24, 24]", "is [16, 24, 24], and only [64, 48, 32] can be built"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_refused_by_its_key(
    text: str, key: str, value: str, message: str, tmp_path: Path
) -> None:
    """One line with key and value."""
    assert message in refusal(tmp_path, text, key, value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    """LitePose's file for its own bottom-up ResNet has no NUM_LAYERS; a node may be missing as a whole, or be no node."""
    tree: Mapping[str, Any] = yaml.safe_load(SIMPLE)
    del tree["MODEL"]["EXTRA"]["NUM_LAYERS"]
    assert refusal(tmp_path, yaml.safe_dump(tree)).startswith("MODEL.EXTRA.NUM_LAYERS is missing; the network cannot")
    tree = yaml.safe_load(HIGHER)
    tree["MODEL"]["EXTRA"]["STAGE4"] = 4
    assert refusal(tmp_path, yaml.safe_dump(tree)).startswith("MODEL.EXTRA.STAGE4 is 4, it has to be a mapping of keys")
    del tree["MODEL"]["EXTRA"]["DECONV"]
    assert refusal(tmp_path, yaml.safe_dump(tree)).startswith("MODEL.EXTRA.DECONV is missing")


def test_a_wrong_encoder_of_transpose_is_refused(tmp_path: Path) -> None:
    """Keys that only TransPose has."""
    line = refusal(tmp_path, TRANSPOSE, "MODEL.DIM_MODEL", "250")
    assert line == "MODEL.DIM_MODEL is 250, it has to be a multiple of 4 and of MODEL.N_HEAD, 8"
    line = refusal(tmp_path, TRANSPOSE, "MODEL.POS_EMBEDDING", "none")
    assert line == "MODEL.POS_EMBEDDING is 'none', and only 'sine' can be built"


@pytest.mark.parametrize(
    ("family", "message"),
    [("hrnetv2p", "has no keypoints"), ("fcos", "has no keypoints"), ("yolo", "is not known")],
)
def test_a_family_that_has_no_keypoints(family: str, message: str) -> None:
    """Features and boxes are no poses; the line says which families have them."""
    with pytest.raises(UserError, match=f"SPACE.FAMILY '{family}' {message}; there are litepose, .*srpose") as error:
        family_of_poses(family)
    assert "rcnn" not in str(error.value)
    assert family_of_poses("litepose").SPACES
