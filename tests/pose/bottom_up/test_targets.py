"""Bottom-up targets: the literal drawing of heatmaps, where tags stand, and masks of what is not evaluated."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO as CocoIndex

from supernet.errors import UserError
from supernet.pose.bottom_up.targets import TargetSettings, make_masks, make_targets
from supernet.pose.datasets.annotations import Person
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.keypoints import COCO
from tests.paths import IMAGES

Floats = NDArray[np.float32]

COCO_FOLDER = IMAGES / "coco"
SETTINGS = TargetSettings()


def person(keypoints: object = None, **changes: object) -> Person:
    keypoints_K3 = np.zeros((17, 3), np.float32) if keypoints is None else np.asarray(keypoints, np.float32)
    labelled = int((keypoints_K3[:, 2] > 0).sum())
    values = {"bbox": (0.0, 0.0, 1.0, 1.0), "area": 1.0, "iscrowd": False, "num_keypoints": labelled,
              "segmentation": None, **changes}  # fmt: skip
    return Person(keypoints_K3, **values)  # type: ignore[arg-type]


def people_at_random(rng: np.random.Generator, people: int, size: int) -> Floats:
    """Also beyond every border, and not labelled."""
    keypoints_PK3 = np.empty((people, 17, 3), np.float32)
    keypoints_PK3[..., :2] = rng.uniform(-0.15 * size, 1.15 * size, (people, 17, 2))
    keypoints_PK3[..., 2] = rng.integers(0, 3, (people, 17))
    return keypoints_PK3


def draw_literally(keypoints_PK3: Floats, stride: int, h: int, w: int, sigma: int) -> Floats:
    """One keypoint after the other, each cell of its window by the formula."""
    heatmaps = np.zeros((keypoints_PK3.shape[1], h, w), np.float32)
    reach = 3 * sigma + 1
    for keypoints_K3 in keypoints_PK3:
        for joint, (x, y, v) in enumerate(keypoints_K3):
            column, row = int(x / stride), int(y / stride)
            if v <= 0 or column < 0 or row < 0 or column >= w or row >= h:
                continue
            for i in range(max(0, row - reach), min(h, row + reach + 1)):
                for j in range(max(0, column - reach), min(w, column + reach + 1)):
                    value = np.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * sigma**2))
                    heatmaps[joint, i, j] = max(heatmaps[joint, i, j], np.float32(value))
    return heatmaps


@pytest.mark.parametrize(("input_hw", "sigma"), [((192, 192), 2), ((128, 192), 1), ((64, 128), 3)])
def test_heatmaps_are_bit_equal_to_the_literal_drawing(input_hw: tuple[int, int], sigma: int) -> None:
    keypoints_PK3 = people_at_random(np.random.default_rng(sigma), 5, max(input_hw))
    keypoints_PK3[1] = keypoints_PK3[0] + np.array([3, 2, 0], np.float32)  # neighbours whose Gaussians meet
    targets = make_targets(keypoints_PK3, None, input_hw, TargetSettings(sigma=sigma))
    for heatmaps, stride in zip(targets.heatmaps, (4, 2), strict=True):
        literal = draw_literally(keypoints_PK3, stride, input_hw[0] // stride, input_hw[1] // stride, sigma)
        assert heatmaps.dtype == np.float32 and np.array_equal(heatmaps, literal)
        assert literal.max() == 1


@pytest.mark.parametrize("input_hw", [(256, 256), (448, 448), (448, 704)])
@pytest.mark.parametrize("tag_per_joint", [True, False])
def test_joint_indices_are_for_the_size_of_the_sample(input_hw: tuple[int, int], tag_per_joint: bool) -> None:
    keypoints_PK3 = people_at_random(np.random.default_rng(0), 6, max(input_hw))
    keypoints_PK3[2, :, 2] = 0  # nobody to see: no row
    targets = make_targets(keypoints_PK3, None, input_hw, TargetSettings(max_people=8, tag_per_joint=tag_per_joint))
    h, w = input_hw[0] // 4, input_hw[1] // 4
    assert targets.joints.shape == (8, 17, 2) and targets.joints.dtype == np.int64
    shown = [keypoints_PK3[i] for i in (0, 1, 3, 4, 5)]
    seen = 0
    for row, keypoints_K3 in zip(targets.joints, shown, strict=False):
        for joint, ((x, y, v), (index, visible)) in enumerate(zip(keypoints_K3, row, strict=True)):
            column, line = int(x / 4), int(y / 4)
            assert visible == (v > 0 and 0 <= column < w and 0 <= line < h)
            place = (joint if tag_per_joint else 0, line, column)
            assert not visible or np.unravel_index(index, (17 if tag_per_joint else 1, h, w)) == place
            assert not visible or targets.heatmaps[0][joint, line, column] == 1
            seen += visible
    assert seen > 15 and not targets.joints[5:].any()


def test_tags_are_read_beside_the_joint_and_within_the_maps() -> None:
    keypoints_PK3 = np.array([[[20, 40, 2], [1, 62, 2]]], np.float32)
    shift_2PK = np.array([[[1, 1]], [[-1, -1]]])
    targets = make_targets(keypoints_PK3, None, (64, 64), SETTINGS, shift_2PK)
    assert targets.joints[0, :, 0].tolist() == [11 * 16 + 4, 256 + 15 * 16]
    assert targets.heatmaps[0][0, 10, 5] == targets.heatmaps[0][1, 15, 0] == 1


def test_more_people_than_rows_keep_their_heatmaps() -> None:
    keypoints_PK3 = np.full((4, 17, 3), 2.0, np.float32)
    keypoints_PK3[:, :, 0] = [[20], [60], [100], [140]]
    targets = make_targets(keypoints_PK3, None, (64, 192), TargetSettings(max_people=3))
    assert (targets.joints[:, 0, 0] == [5, 15, 25]).all()
    assert (targets.heatmaps[0][:, 0, 35] == 1).all()


def test_a_negative_sigma_is_a_64th_of_each_output_and_at_least_one_cell() -> None:
    targets = make_targets(np.zeros((0, 17, 3)), None, (512, 768), TargetSettings(sigma=-1))
    assert [peaks.sigma for peaks in targets.peaks] == [2, 4]
    targets = make_targets(np.zeros((0, 17, 3)), None, (128, 256), TargetSettings((8, 1), sigma=-1))
    assert [peaks.sigma for peaks in targets.peaks] == [1, 2]


def test_input_that_no_output_fits_is_refused() -> None:
    with pytest.raises(UserError, match=r"190x192 \(HxW\) is not a multiple of the output stride 4"):
        make_targets(np.zeros((0, 17, 3), np.float32), None, (190, 192), SETTINGS)


def test_masks_of_polygons_run_lengths_and_boxes_are_the_same_region() -> None:
    matrix = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    counts = [64 * 40 + 16, *[32] * 63, 16 + 64 * 24]  # rows 16..47 of columns 40..71, column by column
    runs = {"size": [64, 96], "counts": counts}
    shapes = (
        person(iscrowd=True, segmentation=runs),
        person(segmentation=[[40, 16, 72, 16, 72, 48, 40, 48]]),
        person(bbox=(40.0, 16.0, 32.0, 32.0)),
        person(segmentation=[[40, 16, 72, 48]], bbox=(40.0, 16.0, 32.0, 32.0)),
    )
    expected = np.ones((64, 96), np.float32)
    expected[16:48, 40:72] = 0
    for shape in shapes:
        full, half = make_masks([shape], (64, 96), matrix, (64, 96), strides=(1, 2))
        np.testing.assert_array_equal(full, expected)
        np.testing.assert_array_equal(half, expected[::2, ::2])
    for shift, cells in ((0.25, 0), (0.75, 1)):  # a cell is masked from half of it on
        moved = make_masks(shapes[:1], (64, 96), matrix + [[0, 0, shift], [0, 0, 0]], (64, 96), strides=(1,))[0]
        shifted = np.roll(expected, cells, axis=1)
        shifted[:, :cells] = 0  # beyond the image
        np.testing.assert_array_equal(moved, shifted)
    together = make_masks([*shapes, person(bbox=(-5.0, -5.0, 9.0, 9.0))], (64, 96), matrix, (64, 96), strides=(1,))[0]
    expected[:4, :4] = 0
    np.testing.assert_array_equal(together, expected)
    labelled = person(np.full((17, 3), 2), segmentation=[[40, 16, 72, 16, 72, 48, 40, 48]])
    assert all(mask.all() for mask in make_masks([labelled], (64, 96), matrix, (64, 96), (4, 2)))
    with pytest.raises(UserError, match=r"size \[64, 96\] lies on an image of size \[64, 64\]"):
        make_masks(shapes[:1], (64, 64), matrix, (64, 64), (4, 2))


@pytest.mark.real_images
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools 2.0.11 under numpy 2
def test_real_crowds_are_masked_where_the_official_program_draws_them() -> None:
    file = COCO_FOLDER / "annotations" / "person_keypoints_val2017.json"
    dataset, official = PoseDataset(file, COCO_FOLDER / "val2017", COCO), CocoIndex(str(file))
    hidden = 0
    for image in dataset:
        ignored = [e for e in official.imgToAnns[image.id] if e["iscrowd"] or not e["num_keypoints"]]
        size = (image.height, image.width)
        mask = make_masks(image.people, size, np.eye(3)[:2], size, (1,))[0]
        drawn = np.zeros(size, bool)
        for entry in ignored:
            drawn |= official.annToMask(entry).astype(bool)
        np.testing.assert_array_equal(mask, ~drawn)
        hidden += int(drawn.any())
    assert hidden > 10
