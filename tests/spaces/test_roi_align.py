"""RoIAlign: against a literal loop over samples, ONNX Runtime, and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor

from search_spaces.layers.roi_align import level_of, roi_align

#: Inside, fractional, across every border, far outside, long and thin, tiny, without extent, turned over.
BOXES = torch.tensor(
    [
        [0, 8, 8, 40, 40], [1, 3.3, 5.7, 41.2, 30.1], [0, -9, -7, 25, 25], [1, 50, 30, 75, 60], [0, -60, -60, 130, 110],
        [1, 200, 200, 240, 240], [0, 2, 20, 62, 23], [0, 30, 1, 33, 47], [1, 10.2, 10.2, 10.6, 10.7], [0, 20, 20, 20, 40],
        [0, 20, 20, 40, 20], [1, 30, 30, 20, 20], [1, 0, 0, 64, 48],
    ],
    dtype=torch.float64,
)  # fmt: skip


def by_loop(x: Tensor, rois: Tensor, size: int, scale: float) -> Tensor:
    """As the paper says: every sample of every bin, one after another."""
    height, width = x.shape[-2:]
    out = torch.zeros(len(rois), x.shape[1], size, size, dtype=x.dtype)

    def sample(image: int, y: float, x_: float) -> Tensor:
        if not (-1 <= y <= height and -1 <= x_ <= width):
            return torch.zeros(x.shape[1], dtype=x.dtype)
        y, x_ = min(max(y, 0), height - 1), min(max(x_, 0), width - 1)
        top, left = int(y), int(x_)
        bottom, right, b, r = min(top + 1, height - 1), min(left + 1, width - 1), y - top, x_ - left
        upper = (1 - r) * x[image, :, top, left] + r * x[image, :, top, right]
        return (1 - b) * upper + b * ((1 - r) * x[image, :, bottom, left] + r * x[image, :, bottom, right])

    for index, (image, x0, y0, x1, y1) in enumerate(rois.tolist()):
        x0, y0, x1, y1 = (value * scale - 0.5 for value in (x0, y0, x1, y1))
        bin_w, bin_h = (x1 - x0) / size, (y1 - y0) / size
        across, down = math.ceil(bin_w), math.ceil(bin_h)
        for i in range(size):
            for j in range(size):
                for k in range(down):
                    for m in range(across):
                        y, x_ = y0 + (i + (k + 0.5) / down) * bin_h, x0 + (j + (m + 0.5) / across) * bin_w
                        out[index, :, i, j] += sample(int(image), y, x_) / (down * across)
    return out


@pytest.fixture
def features() -> Tensor:
    return torch.randn(2, 3, 12, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("size", "scale"), [(7, 1 / 4), (3, 1 / 4), (2, 1 / 8)])
def test_every_sample_of_every_bin(features: Tensor, size: int, scale: float) -> None:
    found = roi_align([features], BOXES, size, [scale])
    assert (found - by_loop(features, BOXES, size, scale)).abs().max() < 1e-14
    assert not found[[9, 10, 11]].any()  # no width, no height, turned over
    assert not found[5].any()  # far outside


def test_onnx_runtime_has_the_same(features: Tensor) -> None:
    """Its RoiAlign with half_pixel and as many samples as needed, float32."""
    runtime = pytest.importorskip("onnxruntime")
    node = helper.make_node(
        "RoiAlign", ["x", "rois", "batch"], ["y"], mode="avg", output_height=7, output_width=7, sampling_ratio=0,
        spatial_scale=0.25, coordinate_transformation_mode="half_pixel",
    )  # fmt: skip
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "rois")]
    inputs.append(helper.make_tensor_value_info("batch", TensorProto.INT64, None))
    graph = helper.make_graph([node], "roi", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=9)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    boxes = BOXES[[0, 1, 2, 3, 4, 6, 7, 8, 12]].float()
    feed = {"x": features.float().numpy(), "rois": boxes[:, 1:].numpy(), "batch": boxes[:, 0].long().numpy()}
    (expected,) = session.run(None, feed)
    np.testing.assert_allclose(roi_align([features.float()], boxes, 7, [1 / 4]), expected, atol=1e-5)


def test_each_box_is_read_from_the_level_that_fits_it() -> None:
    """Coarser from 112 px on, by area; the order of the boxes stays."""
    sides = [4, 111.9, 112, 223, 224, 448, 5000]
    boxes = torch.tensor([[0, 0, side, side] for side in sides] + [[0, 0, 28, 448], [5, 5, 5, 5]])
    assert level_of(boxes, 4).tolist() == [0, 0, 1, 1, 2, 3, 3, 1, 0]
    levels = [torch.full((1, 1, 64 >> level, 64 >> level), float(level + 1)) for level in range(4)]
    rois = torch.cat([torch.zeros(7, 1), boxes[[0, 1, 2, 3, 4, 5, 7]]], 1)
    found = roi_align(levels, rois, 7, [1 / 4, 1 / 8, 1 / 16, 1 / 32])
    assert [float(value) for value in found[:, 0, 0, 0]] == pytest.approx([1, 1, 2, 2, 3, 4, 2])


def test_gradients() -> None:
    """Those of finite differences in the features, of each of two levels."""
    generator = torch.Generator().manual_seed(1)
    levels = [
        torch.randn(2, 1, 8 // 2**level, 10 // 2**level, dtype=torch.float64, generator=generator) for level in (0, 1)
    ]
    for level in levels:
        level.requires_grad_()
    rois = torch.cat([BOXES[[1, 2, 6]], torch.tensor([[1, 0, 0, 160, 120]], dtype=torch.float64)])
    assert torch.autograd.gradcheck(lambda a, b: roi_align([a, b], rois, 2, [1 / 4, 1 / 8]), levels)


def test_no_boxes_keep_the_gradient_of_the_features_alive(features: Tensor) -> None:
    features.requires_grad_()
    found = roi_align([features], BOXES[:0], 7, [1 / 4])
    assert found.shape == (0, 3, 7, 7)
    found.sum().backward()
    assert features.grad is not None and not features.grad.any()


def test_boxes_stay_exact_where_features_are_not(features: Tensor) -> None:
    """Half-precision features, coordinates of four digits: within the rounding of the features."""
    found = roi_align([features.bfloat16()], BOXES.float(), 7, [1 / 4])
    assert found.dtype == torch.bfloat16
    assert (found.double() - roi_align([features], BOXES, 7, [1 / 4])).abs().max() < 0.03


def test_on_the_meta_device_only_shapes() -> None:
    found = roi_align([torch.empty(2, 5, 8, 8, device="meta")], torch.empty(9, 5, device="meta"), 7, [1 / 4])
    assert found.is_meta and found.shape == (9, 5, 7, 7)
