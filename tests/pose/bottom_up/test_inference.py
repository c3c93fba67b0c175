"""Sizes, aggregation and back-projection against the published programs; ``predict`` on planted people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from supernet.errors import UserError
from supernet.pose.bottom_up.grouping import GroupingSettings
from supernet.pose.bottom_up.inference import (
    InferenceSettings,
    Maps,
    Prediction,
    Resize,
    affine,
    aggregate_stages,
    merge_flip,
    merge_scales,
    normalise,
    predict,
    project,
    resize_image,
    resized_size,
    results,
    to_image,
    unflip,
)
from supernet.pose.keypoints import COCO, CROWDPOSE
from tests import reference

SETTINGS = InferenceSettings(input_size=64, grouping=GroupingSettings(14), flip_index=CROWDPOSE.flip_index)


@pytest.fixture(scope="module")
def records() -> dict[str, Any]:
    return reference.load_arrays("evaluation/ae_inference_cases")


@pytest.fixture(scope="module")
def sizes() -> list[dict[str, Any]]:
    return list(reference.load_json("evaluation/ae_sizes_affine"))


def test_sizes_are_those_of_the_reference(sizes: list[dict[str, Any]]) -> None:
    for case in sizes:
        resize = resized_size(*case["image_wh"], case["input_size"], case["current_scale"], case["min_scale"])
        assert resize == Resize(tuple(case["size_wh"]), tuple(case["center"]), tuple(case["scale"])), case
    assert len(sizes) == 200


@pytest.mark.parametrize(
    ("size", "input_size", "expected"),
    [
        ((640, 480), 512, (704, 512)),
        ((427, 640), 512, (512, 768)),
        ((500, 500), 512, (512, 512)),
        ((192, 192), 128, (128, 128)),
        ((192, 192), 160, (192, 192)),
    ],
)
def test_sizes_are_rounded_up_to_64(size: tuple[int, int], input_size: int, expected: tuple[int, int]) -> None:
    assert resized_size(*size, input_size).size_wh == expected


def test_affine_matrices_are_those_of_the_reference(sizes: list[dict[str, Any]]) -> None:
    for case in sizes:
        resize = Resize(tuple(case["size_wh"]), tuple(case["center"]), tuple(case["scale"]))
        assert np.array_equal(affine(resize), case["forward"])
        assert np.array_equal(affine(resize, inverse=True), case["inverse"])


def test_affine_is_a_uniform_scale_about_the_centre() -> None:
    resize = resized_size(333, 500, 448)
    factor = 448 / 333
    expected = [[factor, 0, 224 - factor * 167], [0, factor, 352 - factor * 250]]
    np.testing.assert_allclose(affine(resize), expected, atol=1e-4)
    there_and_back = np.vstack((affine(resize), (0, 0, 1))) @ np.vstack((affine(resize, inverse=True), (0, 0, 1)))
    np.testing.assert_allclose(there_and_back, np.eye(3), atol=1e-4)


def test_the_image_is_centred_on_black() -> None:
    image = np.full((64, 100, 3), 200, np.uint8)
    resized = resize_image(image, resized_size(100, 64, 64))
    assert resized.shape == (64, 128, 3)
    assert (resized[:, 15:113] == 200).all() and (resized[:, :13] == 0).all() and (resized[:, 115:] == 0).all()


def test_normalisation_is_that_of_imagenet() -> None:
    images = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(normalise(images).flatten(), torch.tensor(expected))
    assert normalise(images.expand(2, 4, 4, 3), True).is_contiguous(memory_format=torch.channels_last)
    assert normalise(images.expand(2, 4, 4, 3)).is_contiguous()


@pytest.mark.parametrize("case", range(6))
def test_aggregation_is_that_of_the_reference(records: dict[str, Any], case: int) -> None:
    # The records were made with another release of torch, whose bilinear resize may round differently: 1e-6.
    meta = json.loads(str(records["meta"]))[case]
    settings = replace(SETTINGS, scales=tuple(meta["scales"]), flip=meta["flip"])
    by_scale = []
    for scale in sorted(meta["scales"], reverse=True):
        outputs = {
            flip: [torch.from_numpy(records[f"c{case}_s{scale}{flip}_out{i}"]) for i in (0, 1)]
            for flip in (("", "_flip") if meta["flip"] else ("",))
        }
        passes = [aggregate_stages(o, settings) for o in outputs.values()]
        if meta["flip"]:
            passes[1] = unflip(passes[1], settings.flip_index, True)
        if meta["project2image"]:
            passes = [project(maps, tuple(meta["base_size"])) for maps in passes]
        by_scale.append((scale, merge_flip(*passes) if meta["flip"] else passes[0]))
    maps = merge_scales(by_scale)
    confidence, tags = maps.confidence.numpy(), torch.stack(maps.tags, dim=4).numpy()
    assert list(confidence.shape) == meta["final_shape"] and list(tags.shape) == meta["tags_shape"]
    np.testing.assert_allclose(confidence[:, :, ::3, ::5], records[f"c{case}_final_heatmaps_3_5"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(tags[:, :, ::3, ::5], records[f"c{case}_tags_3_5"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(confidence.sum((2, 3), np.float64), records[f"c{case}_final_heatmaps_sum"], atol=1e-3)
    np.testing.assert_allclose(tags.sum((2, 3), np.float64), records[f"c{case}_tags_sum"], atol=1e-3)


@pytest.mark.parametrize("case", range(6))
def test_points_return_to_the_image_as_in_the_reference(records: dict[str, Any], case: int) -> None:
    meta = json.loads(str(records["meta"]))[case]
    smallest = min(meta["scales"])
    resize = resized_size(*meta["image_wh"], meta["input_size"], smallest, smallest)
    assert resize.center_xy == tuple(meta["center"]) and resize.scale_xy == tuple(meta["scale"])
    base = resized_size(*meta["image_wh"], meta["input_size"], 1.0, smallest)
    assert base.size_wh == tuple(meta["base_size"])
    height, width = meta["final_shape"][2:]
    points = to_image(records[f"c{case}_grid_pts"][..., :2], (width, height), resize)
    np.testing.assert_allclose(points, records[f"c{case}_image_pts"][..., :2], rtol=0, atol=1e-12)


def test_stages_are_chosen_by_their_flags() -> None:
    rng = torch.Generator().manual_seed(0)
    low, high = torch.rand(1, 28, 4, 4, generator=rng), torch.rand(1, 28, 4, 4, generator=rng)
    maps = aggregate_stages([low, high], replace(SETTINGS, with_heatmaps=(False, True), with_tags=(True, True)))
    assert torch.equal(maps.confidence, high[:, :14])
    assert [torch.equal(t, o[:, 14:]) for t, o in zip(maps.tags, (low, high), strict=True)] == [True, True]
    shared = replace(SETTINGS, grouping=GroupingSettings(14, tag_per_joint=False))
    maps = aggregate_stages([low[:, :15], high], shared)
    assert torch.equal(maps.tags[0], low[:, 14:15])
    assert torch.equal(maps.confidence, (low[:, :14] + high[:, :14]) / 2)


def test_outputs_that_do_not_fit_are_named() -> None:
    with pytest.raises(UserError, match="the network gave 1 outputs, with_heatmaps and with_tags have 2 flags"):
        aggregate_stages([torch.zeros(1, 28, 4, 4)], SETTINGS)
    with pytest.raises(UserError, match="output 0 of the network has 17 channels, 28 are needed for 14 joints"):
        aggregate_stages([torch.zeros(1, 17, 4, 4), torch.zeros(1, 14, 8, 8)], SETTINGS)


def test_unflip_mirrors_and_exchanges_sides() -> None:
    confidence = torch.arange(14 * 3.0).view(1, 14, 1, 3)
    maps = unflip(Maps(confidence, [confidence + 1]), CROWDPOSE.flip_index, True)
    assert maps.confidence[0, 0, 0].tolist() == [5, 4, 3] and maps.tags[0][0, 0, 0].tolist() == [6, 5, 4]
    shared = unflip(Maps(confidence, [confidence[:, :1]]), CROWDPOSE.flip_index, False)
    assert shared.tags[0].tolist() == [[[[2, 1, 0]]]]


class Planted:
    """A network that reads maps painted into the image: red is confidence of all joints, green is the tag."""

    def __init__(self, joints: int = 14) -> None:
        self.joints = joints
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, x: torch.Tensor) -> Sequence[torch.Tensor]:
        self.shapes.append(tuple(x.shape))
        red = x[:, :1] * 0.229 + 0.485
        green = x[:, 1:2] * 0.224 + 0.456
        pool = torch.nn.functional.max_pool2d
        confidence = [pool(red, k).expand(-1, self.joints, -1, -1) for k in (4, 2)]
        tags = 20 * pool(green, 4).expand(-1, self.joints, -1, -1)
        return torch.cat((confidence[0], tags), dim=1), confidence[1]


def image(height: int, width: int, people: Sequence[tuple[int, int]]) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    for number, (x, y) in enumerate(people):
        image[:, max(0, x - 20) : x + 20, 1] = 40 * (number + 1)
        image[y - 3 : y + 4, x - 3 : x + 4, 0] = 120
        image[y - 1 : y + 2, x - 1 : x + 2, 0] = 230
    return image


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 2.0)])
@pytest.mark.parametrize("project_to_image", [True, False])
def test_planted_people_are_found_where_they_are(flip: bool, scales: tuple[float, ...], project_to_image: bool) -> None:
    people = [[(40, 50), (150, 90)], [(100, 100)], [], [(60, 40), (130, 160)]]
    images = [
        image(h, w, p) for (h, w), p in zip([(192, 192), (160, 256), (192, 192), (192, 192)], people, strict=True)
    ]
    network = Planted()
    grouping = GroupingSettings(14, refine=False, nms_kernel=5, detection_threshold=0.6 if scales == (1.0,) else 0.4)
    settings = replace(
        SETTINGS, input_size=192, scales=scales, flip=flip, project_to_image=project_to_image, grouping=grouping
    )
    predictions = predict(network, images, settings)
    assert len(network.shapes) == 2 * len(scales) * (1 + flip)  # two sizes of image
    assert sorted({shape[0] for shape in network.shapes}) == [1, 3]
    # at 0.5 the short side is 96, rounded up to 128; the other scales follow from that
    assert {s[2] for s in network.shapes} == ({192} if scales == (1.0,) else {128, 256, 512})
    for expected, prediction in zip(people, predictions, strict=True):
        assert prediction.keypoints.dtype == np.float32
        for x, y in expected:
            nearest = np.abs(prediction.keypoints[:, :, :2] - (x, y)).max(axis=2).min(axis=0)
            assert (nearest < 4).all()
        if not expected:
            assert prediction.keypoints.shape == (0, 14, 3) and prediction.scores.shape == (0,)


def test_batching_and_memory_format_change_nothing() -> None:
    images = [image(128, 128, [(30 + 10 * i, 60)]) for i in range(5)]
    settings = replace(SETTINGS, input_size=128)
    network = Planted()
    together = predict(network, images, settings)
    apart = predict(network, images, settings, channels_last=True, batch_size=2)
    assert [shape[0] for shape in network.shapes] == [5, 2, 2, 1]
    for a, b in zip(together, apart, strict=True):
        assert len(a.keypoints) and np.array_equal(a.keypoints, b.keypoints) and np.array_equal(a.scores, b.scores)


def test_a_centre_channel_is_dropped() -> None:
    images = [image(128, 128, [(60, 60)])]
    plain = predict(Planted(14), images, replace(SETTINGS, input_size=128, flip=True))
    centred = replace(SETTINGS, input_size=128, flip=True, flip_index=(*CROWDPOSE.flip_index, 14))
    with_centre = predict(Planted(15), images, centred)
    assert np.array_equal(plain[0].keypoints, with_centre[0].keypoints)


def test_results_are_coco_entries() -> None:
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, :, 0] = np.arange(17) - 2
    keypoints[0, 3] = 5.5, 40, 0.75
    entries = results(7, Prediction(keypoints, np.array([0.25], np.float32)))
    assert entries == [
        {
            "image_id": 7,
            "category_id": 1,
            "keypoints": keypoints[0].ravel().tolist(),
            "score": 0.25,
            "bbox": [-2.0, 0.0, 16.0, 40.0],
        }
    ]
    assert len(json.loads(json.dumps(entries))[0]["keypoints"]) == 51
    assert results(7, Prediction(keypoints[:0], np.zeros(0, np.float32))) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scales": (0.5, 2.0)}, r"scales \(0.5, 2.0\) lack 1"),
        ({"scales": (-1.0,)}, "must be positive"),
        ({"with_tags": (False, False)}, "at least one true"),
        ({"with_tags": (True,)}, "one flag for each output"),
        ({"grouping": GroupingSettings(17)}, "flip_index names 14 joints, grouping has 17"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(SETTINGS, **change)


def test_wrong_images_are_named() -> None:
    good = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(UserError, match=r"image 1 is uint8 \(64, 64\): give uint8 RGB"):
        predict(Planted(), [good, good[:, :, 0]], SETTINGS)


@pytest.mark.gpu
def test_the_device_changes_nothing_that_matters() -> None:
    images = [image(128, 128, [(40, 60), (100, 90)])]
    settings = replace(SETTINGS, input_size=128, flip=True, grouping=GroupingSettings(17), flip_index=COCO.flip_index)
    cpu, gpu = (predict(Planted(17), images, settings, device=device)[0] for device in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu.keypoints, cpu.keypoints, atol=1e-3)
