"""RTMPose as ONNX: logits and joints as PyTorch has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime")

from search_spaces import rtmpose
from supernet import fuse_batchnorm
from supernet.deploy.onnx_file import OnnxNetwork, write_onnx
from supernet.pose.top_down.onnx_decoding import WithBinJoints
from supernet.pose.top_down.simcc import simcc_peaks


def test_logits_and_joints(tmp_path: Path) -> None:
    """Named outputs; joints with the corrections of decoding, of any number of images."""
    network = rtmpose.build(rtmpose.SMALL.smallest, joints=5).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # so that bins differ
        for layer in (network.head.get_parameter("cls_x.weight"), network.head.get_parameter("cls_y.weight")):
            layer.normal_(std=30.0, generator=generator)
    images = torch.randn(3, 3, *network.input_hw, generator=generator)
    with torch.no_grad():
        x, y = (vector.numpy() for vector in network(images))
    fused = fuse_batchnorm(network, images)
    write_onnx(fused, images, tmp_path / "net.onnx", ("simcc_x", "simcc_y"), dynamic="batch")
    for found, wanted in zip(OnnxNetwork(tmp_path / "net.onnx")(images), (x, y), strict=True):
        assert np.abs(found.numpy() - wanted).max() <= 1e-4 * np.abs(wanted).max()
    for refine in (False, True):
        joints, confidence = WithBinJoints(network, refine)(images)
        places, scores = simcc_peaks((x, y), refine)
        assert np.abs(joints.detach().numpy() - places).max() <= 1e-3
        assert np.abs(confidence.detach().numpy() - scores).max() == 0
    write_onnx(WithBinJoints(fused, True).eval(), images, tmp_path / "joints.onnx", ("joints", "confidence"))
    exported, _ = OnnxNetwork(tmp_path / "joints.onnx")(images)
    assert np.abs(exported.numpy() - joints.detach().numpy()).max() <= 1e-2
