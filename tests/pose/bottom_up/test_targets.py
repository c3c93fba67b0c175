"""Augmentation and targets: one geometry for everything, and the literal drawing of heatmaps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO as CocoIndex

from supernet.errors import UserError
from supernet.pose.bottom_up.augmentation import Augmentation, sample_matrix
from supernet.pose.bottom_up.targets import collate, make_masks, make_targets, training_sample
from supernet.pose.datasets.annotations import Person
from supernet.pose.datasets.coco import PoseDataset
from supernet.pose.datasets.images import read_image
from supernet.pose.geometry import warp_image, warp_keypoints
from supernet.pose.keypoints import COCO
from tests import reference
from tests.paths import IMAGES
from tools.bench import bottom_up_sample as bench

Floats = NDArray[np.float32]

COCO_FOLDER = IMAGES / "coco"
ALWAYS_FLIP = Augmentation(0, 1, 1, "short", 0, 1.0)


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
    targets = make_targets(keypoints_PK3, None, input_hw, sigma=sigma)
    for heatmaps, stride in zip(targets.heatmaps, (4, 2), strict=True):
        literal = draw_literally(keypoints_PK3, stride, input_hw[0] // stride, input_hw[1] // stride, sigma)
        assert heatmaps.dtype == np.float32 and np.array_equal(heatmaps, literal)
        assert literal.max() == 1


@pytest.mark.parametrize("input_hw", [(256, 256), (448, 448), (448, 704)])
@pytest.mark.parametrize("tag_per_joint", [True, False])
def test_joint_indices_are_for_the_size_of_the_sample(input_hw: tuple[int, int], tag_per_joint: bool) -> None:
    keypoints_PK3 = people_at_random(np.random.default_rng(0), 6, max(input_hw))
    keypoints_PK3[2, :, 2] = 0  # nobody to see: no row
    targets = make_targets(keypoints_PK3, None, input_hw, max_people=8, tag_per_joint=tag_per_joint)
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
    targets = make_targets(keypoints_PK3, None, (64, 64), tag_shift_2PK=shift_2PK)
    assert targets.joints[0, :, 0].tolist() == [11 * 16 + 4, 256 + 15 * 16]
    assert targets.heatmaps[0][0, 10, 5] == targets.heatmaps[0][1, 15, 0] == 1


def test_tags_are_learnt_within_their_radius() -> None:
    """Everywhere within it in the course of time, never beyond; the heatmaps stay."""
    image, people = np.zeros((64, 64, 3), np.uint8), [person(np.full((17, 3), (32, 32, 2), np.float32))]
    seen: dict[int, set[tuple[int, int]]] = {}
    for radius in (0, 1):
        rng = np.random.default_rng(0)
        for _ in range(20):
            sample = training_sample(image, people, COCO, (64, 64), Augmentation.none(), rng, tag_radius=radius)[1]
            assert all(sample.heatmaps[0][:, 8, 8] == 1)
            places = np.array(np.unravel_index(sample.joints[0, :, 0], (17, 16, 16)))
            assert (places[0] == np.arange(17)).all()
            seen.setdefault(radius, set()).update(map(tuple, places[1:].T.tolist()))
    assert seen == {0: {(8, 8)}, 1: {(y, x) for y in (7, 8, 9) for x in (7, 8, 9)}}


def test_more_people_than_rows_keep_their_heatmaps() -> None:
    keypoints_PK3 = np.full((4, 17, 3), 2.0, np.float32)
    keypoints_PK3[:, :, 0] = [[20], [60], [100], [140]]
    targets = make_targets(keypoints_PK3, None, (64, 192), max_people=3)
    assert (targets.joints[:, 0, 0] == [5, 15, 25]).all()
    assert (targets.heatmaps[0][:, 0, 35] == 1).all()


def test_a_negative_sigma_is_a_64th_of_each_output_and_at_least_one_cell() -> None:
    assert [peaks.sigma for peaks in make_targets(np.zeros((0, 17, 3)), None, (512, 768), sigma=-1).peaks] == [2, 4]
    targets = make_targets(np.zeros((0, 17, 3)), None, (128, 256), strides=(8, 1), sigma=-1)
    assert [peaks.sigma for peaks in targets.peaks] == [1, 2]


def test_a_batch_holds_the_heatmaps_of_its_samples() -> None:
    image, rng = np.zeros((96, 128, 3), np.uint8), np.random.default_rng(0)
    people = [person(keypoints_K3) for keypoints_K3 in people_at_random(rng, 6, 128)]
    samples = [training_sample(image, people, COCO, (128, 128), Augmentation(), rng) for _ in range(3)]
    batch = collate(samples)
    for index, (pixels, targets) in enumerate(samples):
        assert targets.heatmaps[0].any() and np.array_equal(batch["images"][index], pixels)
        for output in (0, 1):
            assert np.array_equal(batch["heatmaps"][output][index], targets.heatmaps[output])
            assert np.array_equal(batch["masks"][output][index], targets.masks[output])
        assert np.array_equal(batch["joints"][index], targets.joints)


def test_input_that_no_output_fits_is_refused() -> None:
    with pytest.raises(UserError, match=r"190x192 \(HxW\) is not a multiple of the output stride 4"):
        make_targets(np.zeros((0, 17, 3), np.float32), None, (190, 192))


def test_without_augmentation_the_map_is_that_of_testing() -> None:
    rng = np.random.default_rng(0)
    for width, height, input_hw, scale, centre in (
        (640, 480, (512, 704), 512 / 480, (320, 240)),
        (427, 640, (768, 512), 512 / 427, (214, 320)),
        (333, 500, (704, 448), 448 / 333, (167, 250)),
        (500, 500, (512, 512), 512 / 500, (250, 250)),
    ):
        matrix, flipped = sample_matrix(width, height, input_hw, Augmentation.none(), rng)
        shift = [input_hw[1] / 2 - scale * centre[0], input_hw[0] / 2 - scale * centre[1]]
        np.testing.assert_allclose(matrix, [[scale, 0, shift[0]], [0, scale, shift[1]]], atol=1e-9)
        assert not flipped


def test_without_augmentation_the_map_is_that_of_the_original_programs() -> None:
    compared = 0
    for case in reference.load_json("evaluation/ae_sizes_affine"):
        if case["current_scale"] == case["min_scale"]:
            (width, height), (input_width, input_height) = case["image_wh"], case["size_wh"]
            matrix, _ = sample_matrix(
                width, height, (input_height, input_width), Augmentation.none(), np.random.default_rng(0)
            )
            np.testing.assert_allclose(matrix, case["forward"], atol=1e-4, err_msg=str(case))
            compared += 1
    assert compared > 5


def test_the_side_that_fills_the_input() -> None:
    rng = np.random.default_rng(0)
    for scale_type, expected in (("short", 256 / 480), ("long", 256 / 640)):
        for width, height in ((640, 480), (480, 640)):
            matrix, _ = sample_matrix(width, height, (256, 256), Augmentation.none(scale_type), rng)
            assert matrix[0, 0] == matrix[1, 1] == expected


def test_draws_fill_their_ranges_and_depend_on_the_generator_only() -> None:
    augmentation = Augmentation()
    rng = np.random.default_rng(0)
    scales, angles, shifts, flips = [], [], [], []
    for _ in range(2000):
        matrix, flipped = sample_matrix(400, 400, (200, 200), augmentation, rng)
        if flipped:
            matrix[0] = [-matrix[0, 0], -matrix[0, 1], 199 - matrix[0, 2]]
        scales.append(0.5 / np.hypot(*matrix[0, :2]))
        angles.append(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
        shifts.append(np.linalg.norm(matrix @ [200, 200, 1] - 100, ord=2))
        flips.append(flipped)
    assert 0.75 <= min(scales) < 0.76 and 1.49 < max(scales) <= 1.5
    assert -30 <= min(angles) < -29.5 and 29.5 < max(angles) <= 30
    assert 50 < max(shifts) <= 40 * np.sqrt(2) + 1e-6  # a fifth of the input's 200 pixels along each axis
    assert 0.45 < np.mean(flips) < 0.55
    one, two = (sample_matrix(400, 300, (256, 256), augmentation, np.random.default_rng(5))[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="SCALE_TYPE is 'wide'"):
        Augmentation(scale_type="wide")
    with pytest.raises(UserError, match="MIN_SCALE 1.0 and MAX_SCALE 0.5"):
        Augmentation(min_scale=1.0, max_scale=0.5)
    with pytest.raises(UserError, match="FLIP is 2"):
        Augmentation(flip_probability=2)


def test_flip_mirrors_the_image_and_swaps_left_and_right() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), np.uint8)
    keypoints_K3 = np.stack([rng.integers(2, 60, 17), rng.integers(2, 60, 17), np.full(17, 2)], 1)
    keypoints_K3[COCO.joints.index("left_wrist")] = (5, 9, 2)
    keypoints_K3[COCO.joints.index("right_wrist")] = (40, 30, 2)
    flipped, targets = training_sample(image, [person(keypoints_K3)], COCO, (64, 64), ALWAYS_FLIP, rng, strides=(1, 2))
    np.testing.assert_array_equal(flipped, image[:, ::-1])
    assert targets.heatmaps[0][COCO.joints.index("right_wrist"), 9, 63 - 5] == 1
    assert targets.heatmaps[0][COCO.joints.index("left_wrist"), 30, 63 - 40] == 1
    plain = training_sample(image, [person(keypoints_K3)], COCO, (64, 64), Augmentation.none(), rng, strides=(1, 2))[1]
    for mirrored, straight in zip(targets.heatmaps, plain.heatmaps, strict=True):
        np.testing.assert_array_equal(mirrored, straight[list(COCO.flip_index)][:, :, ::-1])


def test_image_keypoints_and_mask_move_together() -> None:
    """A bright spot, a joint on it and a masked square round it stay together under every map."""
    image = np.zeros((240, 320, 3), np.uint8)
    cv2.circle(image, (150, 100), 6, (255, 255, 255), -1)
    keypoints_K3 = np.zeros((17, 3))
    keypoints_K3[0] = (150, 100, 2)
    crowd = person(iscrowd=True, segmentation=[[130, 80, 170, 80, 170, 120, 130, 120]])
    seen = 0
    for seed in range(40):
        (warped, targets), (_, alone) = (
            training_sample(image, people, COCO, (192, 256), Augmentation(), np.random.default_rng([1, seed]))
            for people in ([person(keypoints_K3), crowd], [person(keypoints_K3)])
        )
        spot = np.argwhere(warped[..., 0] > 128)
        if not targets.joints.any() or spot.min() < 10 or spot[:, 0].max() > 182 or spot[:, 1].max() > 246:
            continue
        seen += 1
        for heatmaps, mask, plain, stride in zip(targets.heatmaps, targets.masks, alone.masks, (4, 2), strict=True):
            joint = np.array(np.unravel_index(heatmaps[0].argmax(), heatmaps[0].shape))
            hidden = np.argwhere(mask < plain).mean(0)
            np.testing.assert_allclose((joint + 0.5) * stride - 0.5, spot.mean(0), atol=stride / 2 + 0.5)
            np.testing.assert_allclose(hidden * stride, spot.mean(0), atol=stride)
    assert seen > 15


def test_beyond_the_image_nothing_is_evaluated() -> None:
    """As in HigherHRNet's loader; where the whole input shows the image, everything is."""
    image = np.zeros((60, 80, 3), np.uint8)
    for scale, judged in ((1.0, 1.0), (2.0, 60 * 80 / 120**2)):  # a square of the image's height, then twice that
        augmentation = Augmentation(0.0, scale, scale, "short", 0.0, 0.0)
        _, targets = training_sample(image, [], COCO, (128, 128), augmentation, np.random.default_rng(0))
        for mask in targets.masks:
            assert mask.mean() == pytest.approx(judged, abs=0.03)


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
    assert all(mask.all() for mask in make_masks([labelled], (64, 96), matrix, (64, 96)))
    with pytest.raises(UserError, match=r"size \[64, 96\] lies on an image of size \[64, 64\]"):
        make_masks(shapes[:1], (64, 64), matrix, (64, 64))


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


@pytest.mark.real_images
def test_real_samples_round_trip() -> None:
    """The keypoints of the file come back through the inverse map; a batch of them has the promised tensors."""
    dataset = PoseDataset(COCO_FOLDER / "annotations" / "person_keypoints_val2017.json", COCO_FOLDER / "val2017", COCO)
    rng = np.random.default_rng(0)
    samples = []
    for image in [image for image in dataset if any(not person.ignored for person in image.people)][:4]:
        matrix, flipped = sample_matrix(image.width, image.height, (256, 256), Augmentation(), rng)
        keypoints_PK3 = np.array([person.keypoints_K3 for person in image.people])
        flip_index = COCO.flip_index if flipped else None
        there = warp_keypoints(keypoints_PK3, matrix, flip_index)
        back = warp_keypoints(there, np.asarray(cv2.invertAffineTransform(matrix), np.float64), flip_index)
        np.testing.assert_allclose(back, keypoints_PK3, atol=1e-3)
        pixels = read_image(image.path)
        samples.append(training_sample(pixels, image.people, COCO, (256, 256), Augmentation(), rng))
        plain, _ = training_sample(pixels, image.people, COCO, (256, 256), Augmentation.none(), rng)
        matrix, _ = sample_matrix(image.width, image.height, (256, 256), Augmentation.none(), rng)
        np.testing.assert_array_equal(plain, warp_image(pixels, matrix, (256, 256)))
    batch = collate(samples)
    assert batch["images"].shape == (4, 256, 256, 3) and str(batch["images"].dtype) == "torch.uint8"
    assert [tuple(maps.shape) for maps in batch["heatmaps"]] == [(4, 17, 64, 64), (4, 17, 128, 128)]
    assert [tuple(maps.shape) for maps in batch["masks"]] == [(4, 64, 64), (4, 128, 128)]
    assert batch["joints"].shape == (4, 30, 17, 2) and batch["joints"].any(dim=3).any()


@pytest.mark.real_images
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools 2.0.11 under numpy 2
def test_samples_equal_the_literal_ones_of_the_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    dataset = PoseDataset(
        COCO_FOLDER / "annotations" / "person_keypoints_train2017.json", COCO_FOLDER / "train2017", COCO
    )
    images = list(dataset.annotated())
    bench.compare("real", images[:4], 2)
    bench.compare("crowded", bench.crowded(images, 40)[:1], 2)  # more people than rows for tags
    assert capsys.readouterr().out.count("targets equal") == 2


def test_a_image_without_people_has_empty_answers() -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    _, targets = training_sample(image, [], COCO, (64, 64), Augmentation.none(), np.random.default_rng(0))
    assert not targets.joints.any() and all(not maps.any() for maps in targets.heatmaps)
    assert all(mask.all() for mask in targets.masks)
