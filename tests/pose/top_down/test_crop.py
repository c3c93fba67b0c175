"""A person's crop: HRNet's affine convention, its augmentation, and one geometry for image and joints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.pose.datasets.coco import PoseDataset
from supernet.pose.datasets.images import read_image
from supernet.pose.datasets.people import PeopleDataset, PersonInstance
from supernet.pose.keypoints import COCO, MPII
from supernet.pose.top_down import crop
from supernet.pose.top_down.crop import (
    PersonAugmentation,
    center_scale,
    crop_image,
    crop_matrix,
    crop_region,
    person_sample,
)
from tests.paths import IMAGES

NONE = PersonAugmentation.none()
MIRROR = PersonAugmentation(0, 0, 1, 0)


def a_person(keypoints_K3: Any = None, bbox: Any = (20, 30, 40, 80), **changes: Any) -> PersonInstance:
    if keypoints_K3 is None:
        rng = np.random.default_rng(0)
        keypoints_K3 = np.column_stack([rng.uniform((20, 30), (60, 110), (17, 2)), np.full(17, 2)])
    values = {"center": None, "scale": None, **changes}
    return PersonInstance(Path("x"), 1, 1, bbox, keypoints_K3=np.float32(keypoints_K3), score=1, area=1, **values)


def an_image(height: int = 150, width: int = 130) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("bbox", "aspect", "center", "size"),
    [
        ((10, 20, 30, 40), 0.75, (25, 40), (30, 40)),
        ((10, 20, 60, 40), 0.75, (40, 40), (60, 80)),
        ((10, 20, 30, 80), 0.75, (25, 60), (60, 80)),
        ((-10, 20, 0, 50), 1.0, (-10, 45), (50, 50)),
    ],
)
def test_a_box_grows_to_the_aspect_and_is_padded(bbox: Any, aspect: float, center: Any, size: Any) -> None:
    found_center, found_scale = center_scale(bbox, aspect)
    assert found_center.dtype == found_scale.dtype == np.float32
    assert found_center.tolist() == list(center)
    np.testing.assert_array_equal(found_scale, np.float32([side / 200 for side in size]) * np.float32(1.25))


def test_mpiis_region_is_the_files() -> None:
    center, scale = np.array([3.0, 4.0]), np.array([1.5, 1.5])
    assert crop_region(a_person(bbox=None, center=center, scale=scale), 0.75) == (center, scale)
    assert crop_region(a_person(), 0.75)[0].tolist() == [40, 70]


@pytest.mark.parametrize("size_wh", [(192, 256), (256, 256), (48, 64), (256, 192)])
@pytest.mark.parametrize("rotation", [0.0, 33.0, -80.0])
def test_the_map_is_hrnets(size_wh: tuple[int, int], rotation: float) -> None:
    center, scale = np.float32([123.4, 77.7]), np.float32([0.83, 1.31])
    width, height = size_wh
    matrix = crop_matrix(center, scale, rotation, size_wh)
    k, angle = width / (200 * float(scale[0])), math.radians(rotation)
    turned = k * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    shift = np.array([width / 2, height / 2]) - turned @ center
    np.testing.assert_allclose(matrix, np.column_stack([turned, shift]), rtol=0, atol=2e-4)  # float32 points
    back = crop_matrix(center, scale, rotation, size_wh, inverse=True)
    points = np.random.default_rng(0).uniform(-50, 300, (20, 2))
    there = points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(there @ back[:, :2].T + back[:, 2], points, atol=2e-3)


def test_the_map_has_the_bits_of_three_float32_points() -> None:
    center, scale = np.float32([311.27, 204.9]), np.float32([1.137, 1.516])
    a = np.float32(center)
    reach = float(scale[0] * np.float32(200)) * -0.5
    radians = np.pi * 21.5 / 180
    b = np.float32(center + np.array([-reach * np.sin(radians), reach * np.cos(radians)]))
    c = np.float32(b + np.float32([-(a - b)[1], (a - b)[0]]))
    target = np.float32([[96, 128], [96, 32], [0, 32]])
    expected = cv2.getAffineTransform(np.float32([a, b, c]), target)
    np.testing.assert_array_equal(crop_matrix(center, scale, 21.5, (192, 256)), expected)


def test_without_augmentation_it_is_the_crop_of_testing() -> None:
    picture, person = an_image(), a_person()
    image, heatmaps_Khw, weights_K = person_sample(picture, person, COCO, (64, 48), NONE, np.random.default_rng(0))
    region = crop_region(person, 0.75)
    assert image.shape == (64, 48, 3) and heatmaps_Khw.shape == (17, 16, 12) and (weights_K == 1).all()
    np.testing.assert_array_equal(image, crop_image(picture, *region, (64, 48)))
    matrix = crop_matrix(*region, 0, (48, 64))
    for heatmap, (x, y, _) in zip(heatmaps_Khw, person.keypoints_K3, strict=True):
        there = (matrix @ [x, y, 1]) / 4
        row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
        assert abs(column - there[0]) <= 0.5 and abs(row - there[1]) <= 0.5


def test_a_mirrored_sample_is_the_sample_of_the_mirrored_photograph() -> None:
    picture, person = an_image(), a_person()
    mirrored_K3 = person.keypoints_K3[list(COCO.flip_index)]
    mirrored_K3[:, 0] = 129 - mirrored_K3[:, 0]
    x, y, w, h = person.bbox or (0, 0, 0, 0)
    other = a_person(mirrored_K3, (129 - x - w, y, w, h))
    ours = person_sample(picture, person, COCO, (64, 48), MIRROR, np.random.default_rng(0))
    theirs = person_sample(picture[:, ::-1], other, COCO, (64, 48), NONE, np.random.default_rng(0))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)
    plain = person_sample(picture, person, COCO, (64, 48), NONE, np.random.default_rng(0))
    assert not np.array_equal(ours[0], plain[0])


def test_nothing_that_was_given_is_changed() -> None:
    picture, person = an_image(), a_person(bbox=None, center=np.array([40.0, 70.0]), scale=np.array([0.5, 0.5]))
    assert person.center is not None and person.scale is not None
    before = picture.copy(), person.keypoints_K3.copy()
    for seed in range(20):
        person_sample(picture, person, COCO, (64, 64), PersonAugmentation(), np.random.default_rng(seed))
    assert np.array_equal(picture, before[0]) and np.array_equal(person.keypoints_K3, before[1])
    assert person.center.tolist() == [40, 70] and person.scale.tolist() == [0.5, 0.5]


def test_a_seed_gives_one_sample_and_options_reach_the_targets() -> None:
    picture, person, draw = an_image(), a_person(), PersonAugmentation()
    first, again, other = (
        person_sample(picture, person, COCO, (64, 48), draw, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    rng = np.random.default_rng(0)
    _, fine, weights_K = person_sample(
        picture, person, COCO, (64, 48), NONE, rng, stride=1, sigma=8.0, weigh_joints=True
    )
    assert fine.shape == (17, 64, 48) and weights_K.max() == np.float32(1.5)
    _, unbiased, _ = person_sample(picture, person, COCO, (64, 48), NONE, rng, unbiased=True)
    assert (unbiased > 0).all() and unbiased.max() < 1


def drawn(monkeypatch: pytest.MonkeyPatch, augmentation: PersonAugmentation, samples: int, **person: Any) -> list[Any]:
    """Centre, scale and rotation of each of many crops."""
    places: list[Any] = []

    def record(center: Any, scale: Any, rotation: float, size_wh: Any) -> Any:
        places.append((*center, scale[0], rotation))
        return crop_matrix(center, scale, rotation, size_wh)

    monkeypatch.setattr(crop, "crop_matrix", record)
    rng = np.random.default_rng(0)
    picture, subject = np.zeros((8, 101, 3), np.uint8), a_person(**person)
    for _ in range(samples):
        person_sample(picture, subject, COCO, (32, 24), augmentation, rng)
    return list(np.array(places).T)


def test_scale_rotation_and_mirror_have_hrnets_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _, scale, rotation = drawn(monkeypatch, PersonAugmentation(0.35, 40, 0.5, 0), 4000)
    factor = scale / (80 * 0.75 * 1.25 / 200)
    assert factor.min() == pytest.approx(0.65) and factor.max() == pytest.approx(1.35)
    assert np.isclose(factor, 1.35).mean() == pytest.approx(0.159, abs=0.02)  # normal numbers above one deviation
    assert np.mean((factor > 1) & (factor < 1.35)) == pytest.approx(0.341, abs=0.03)
    assert (rotation != 0).mean() == pytest.approx(0.6, abs=0.03)
    turned = rotation[rotation != 0]
    assert turned.max() == 80 and turned.min() == -80 and np.mean(abs(turned) < 40) == pytest.approx(0.683, abs=0.03)
    assert np.isclose(turned, 80).mean() == pytest.approx(0.023, abs=0.01)
    assert set(x.round(3)) == {40, 60} and (x == 60).mean() == pytest.approx(0.5, abs=0.03)


def body(upper: int, lower: int, spread: float = 20) -> NDArray[np.float64]:
    """So many labelled joints around (30, 30) above and around (70, 90) below."""
    rng = np.random.default_rng(2)
    keypoints_K3 = np.zeros((17, 3))
    for joints, middle in ((range(upper), (30, 30)), (range(11, 11 + lower), (70, 90))):
        for joint in joints:
            keypoints_K3[joint] = (*(middle + rng.uniform(-spread, spread, 2)), 2)
    return keypoints_K3


@pytest.mark.parametrize(
    ("upper", "lower", "shares"),
    [
        (9, 6, (0.69, 0.31)),
        (9, 2, (1.0, 0.0)),  # the lower half has too few joints
        (2, 6, (0.0, 1.0)),
        (2, 2, (1.0, 0.0)),  # neither has three: the upper half, if two
    ],
)
def test_half_bodies(monkeypatch: pytest.MonkeyPatch, upper: int, lower: int, shares: tuple[float, float]) -> None:
    keypoints_K3 = body(upper, lower)
    x, y, scale, _ = drawn(monkeypatch, PersonAugmentation(0, 0, 0, 1, 3), 1000, keypoints_K3=keypoints_K3)
    for joints, share in ((range(upper), shares[0]), (range(11, 11 + lower), shares[1])):
        points = np.float32(keypoints_K3[list(joints), :2])
        here = np.isclose(x, points[:, 0].mean()) & np.isclose(y, points[:, 1].mean())
        assert here.mean() == pytest.approx(share, abs=0.05)
        width, height = np.ptp(points, axis=0)
        np.testing.assert_allclose(scale[here], max(width, height * 0.75) * 1.5 / 200, rtol=1e-5)


@pytest.mark.parametrize(
    ("augmentation", "keypoints_K3"),
    [
        (PersonAugmentation(0, 0, 0, 1, 9), body(6, 3)),  # not more than 9 joints
        (PersonAugmentation(0, 0, 0, -1, 3), body(6, 6)),  # HRNet's way to write never
        (PersonAugmentation(0, 0, 0, 1, 1), body(1, 1)),
        (PersonAugmentation(0, 0, 0, 1, 3), body(4, 0, spread=0)),  # all on one point: no crop
    ],
)
def test_a_body_that_is_not_halved(monkeypatch: pytest.MonkeyPatch, augmentation: Any, keypoints_K3: Any) -> None:
    x, y, _, _ = drawn(monkeypatch, augmentation, 50, keypoints_K3=keypoints_K3)
    assert (x == 40).all() and (y == 70).all()


def test_about_a_third_of_the_bodies_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    x, *_ = drawn(monkeypatch, PersonAugmentation(0, 0, 0, 0.3, 8), 2000, keypoints_K3=body(9, 6))
    assert (x != 40).mean() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale_factor": 1.0}, "DATASET.SCALE_FACTOR is 1.0: give a number from 0 to below 1"),
        ({"scale_factor": math.nan}, "DATASET.SCALE_FACTOR is nan"),
        ({"rotation_factor": -3.0}, "DATASET.ROT_FACTOR is -3.0: give degrees"),
        ({"flip_probability": 2.0}, "DATASET.FLIP is 2.0: give a probability"),
        ({"half_body_probability": 1.5}, "DATASET.PROB_HALF_BODY is 1.5: give a probability up to 1"),
    ],
)
def test_augmentation_out_of_range_is_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PersonAugmentation(**change)  # type: ignore[arg-type]


@pytest.mark.real_images
def test_real_joints_lie_in_their_crops() -> None:
    coco = PoseDataset(
        IMAGES / "coco" / "annotations" / "person_keypoints_val2017.json", IMAGES / "coco" / "val2017", COCO
    )
    mpii = PeopleDataset.from_mpii(IMAGES / "mpii" / "annot" / "valid.json", IMAGES / "mpii" / "images")
    for people, skeleton, size in (
        (PeopleDataset.from_annotations(coco)[:15], COCO, (256, 192)),
        (mpii, MPII, (256, 256)),
    ):
        for person in people:
            sample = person_sample(read_image(person.path), person, skeleton, size, NONE, np.random.default_rng(0))
            image, heatmaps_Khw, weights_K = sample
            labelled_K = person.keypoints_K3[:, 2] > 0
            assert image.any() and np.array_equal(weights_K > 0, labelled_K)
            assert (heatmaps_Khw[labelled_K].max((1, 2)) == 1).all() and not heatmaps_Khw[~labelled_K].any()
