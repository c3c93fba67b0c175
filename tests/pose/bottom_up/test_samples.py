"""Bottom-up samples: one geometry for image, keypoints and masks, and batches that hold what the samples have."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from supernet.pose.bottom_up.augmentation import Augmentation, sample_matrix
from supernet.pose.bottom_up.samples import collate, training_sample
from supernet.pose.bottom_up.targets import TargetSettings
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.images import read_image
from supernet.pose.geometry import warp_image, warp_keypoints
from supernet.pose.keypoints import COCO
from tests.paths import IMAGES
from tests.pose.bottom_up.test_targets import people_at_random, person
from tools.bench import bottom_up_sample as bench

COCO_FOLDER = IMAGES / "coco"
ALWAYS_FLIP = Augmentation(0, 1, 1, "short", 0, 1.0)
SETTINGS = TargetSettings()


def test_tags_are_trained_within_their_radius() -> None:
    """Everywhere within it in the course of time, never beyond; the heatmaps stay."""
    image, people = np.zeros((64, 64, 3), np.uint8), [person(np.full((17, 3), (32, 32, 2), np.float32))]
    seen: dict[int, set[tuple[int, int]]] = {}
    for radius in (0, 1):
        rng, settings = np.random.default_rng(0), TargetSettings(tag_radius=radius)
        for _ in range(20):
            sample = training_sample(image, people, COCO, (64, 64), Augmentation.none(), settings, rng)[1]
            assert all(sample.heatmaps[0][:, 8, 8] == 1)
            places = np.array(np.unravel_index(sample.joints[0, :, 0], (17, 16, 16)))
            assert (places[0] == np.arange(17)).all()
            seen.setdefault(radius, set()).update(map(tuple, places[1:].T.tolist()))
    assert seen == {0: {(8, 8)}, 1: {(y, x) for y in (7, 8, 9) for x in (7, 8, 9)}}


def test_a_batch_holds_the_heatmaps_of_its_samples() -> None:
    image, rng = np.zeros((96, 128, 3), np.uint8), np.random.default_rng(0)
    people = [person(keypoints_K3) for keypoints_K3 in people_at_random(rng, 6, 128)]
    samples = [training_sample(image, people, COCO, (128, 128), Augmentation(), SETTINGS, rng) for _ in range(3)]
    batch = collate(samples)
    for index, (pixels, targets) in enumerate(samples):
        assert targets.heatmaps[0].any() and np.array_equal(batch["images"][index], pixels)
        for output in (0, 1):
            assert np.array_equal(batch["heatmaps"][output][index], targets.heatmaps[output])
            assert np.array_equal(batch["masks"][output][index], targets.masks[output])
        assert np.array_equal(batch["joints"][index], targets.joints)


def test_flip_mirrors_the_image_and_swaps_left_and_right() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), np.uint8)
    keypoints_K3 = np.stack([rng.integers(2, 60, 17), rng.integers(2, 60, 17), np.full(17, 2)], 1)
    keypoints_K3[COCO.joints.index("left_wrist")] = (5, 9, 2)
    keypoints_K3[COCO.joints.index("right_wrist")] = (40, 30, 2)
    fine = TargetSettings((1, 2))
    flipped, targets = training_sample(image, [person(keypoints_K3)], COCO, (64, 64), ALWAYS_FLIP, fine, rng)
    np.testing.assert_array_equal(flipped, image[:, ::-1])
    assert targets.heatmaps[0][COCO.joints.index("right_wrist"), 9, 63 - 5] == 1
    assert targets.heatmaps[0][COCO.joints.index("left_wrist"), 30, 63 - 40] == 1
    plain = training_sample(image, [person(keypoints_K3)], COCO, (64, 64), Augmentation.none(), fine, rng)[1]
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
            training_sample(image, people, COCO, (192, 256), Augmentation(), SETTINGS, np.random.default_rng([1, seed]))
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
    for scale, evaluated in ((1.0, 1.0), (2.0, 60 * 80 / 120**2)):  # a square of the image's height, then twice that
        augmentation = Augmentation(0.0, scale, scale, "short", 0.0, 0.0)
        _, targets = training_sample(image, [], COCO, (128, 128), augmentation, SETTINGS, np.random.default_rng(0))
        for mask in targets.masks:
            assert mask.mean() == pytest.approx(evaluated, abs=0.03)


@pytest.mark.real_images
def test_real_samples_round_trip() -> None:
    """The keypoints of the file come back through the inverse map; a batch of them has the promised tensors."""
    dataset = PoseDataset(COCO_FOLDER / "annotations" / "person_keypoints_val2017.json", COCO_FOLDER / "val2017", COCO)
    rng = np.random.default_rng(0)
    samples = []
    for image in [image for image in dataset if any(not one.ignored for one in image.people)][:4]:
        matrix, flipped = sample_matrix(image.width, image.height, (256, 256), Augmentation(), rng)
        keypoints_PK3 = np.array([one.keypoints_K3 for one in image.people])
        flip_index = COCO.flip_index if flipped else None
        there = warp_keypoints(keypoints_PK3, matrix, flip_index)
        back = warp_keypoints(there, np.asarray(cv2.invertAffineTransform(matrix), np.float64), flip_index)
        np.testing.assert_allclose(back, keypoints_PK3, atol=1e-3)
        pixels = read_image(image.path)
        samples.append(training_sample(pixels, image.people, COCO, (256, 256), Augmentation(), SETTINGS, rng))
        plain, _ = training_sample(pixels, image.people, COCO, (256, 256), Augmentation.none(), SETTINGS, rng)
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


def test_an_image_without_people_has_empty_targets() -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    _, targets = training_sample(image, [], COCO, (64, 64), Augmentation.none(), SETTINGS, np.random.default_rng(0))
    assert not targets.joints.any() and all(not maps.any() for maps in targets.heatmaps)
    assert all(mask.all() for mask in targets.masks)
