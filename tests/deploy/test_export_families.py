"""ONNX export of every family, and of the decoder of joints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from search_spaces import FAMILIES
from supernet.deploy.fusion import fuse_batchnorm
from supernet.deploy.onnx_file import OnnxNetwork, write_onnx
from supernet.errors import UserError
from supernet.pose.top_down.decoding import peaks, quarter_shift
from supernet.pose.top_down.onnx_decoding import WithJoints
from tests.deploy.test_export import FIXED
from tests.deploy.test_fusion import difference, unsettled


@pytest.mark.parametrize("refine", [True, False])
def test_joints_are_those_of_the_decoder(refine: bool) -> None:
    torch.manual_seed(0)
    heatmaps = torch.randn(2, 5, 6, 8)
    heatmaps[0, 0] = -1  # nothing found
    heatmaps[0, 1, 2, 7] = heatmaps[0, 2, 0, 3] = heatmaps[0, 3, 3, 1] = heatmaps[0, 4, 3, 4] = (
        9  # at the edges, and inside
    )
    heatmaps[1, 0] = 1  # all equal: the first

    class Fixed(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            return heatmaps

    joints, confidence = WithJoints(Fixed(), refine)(torch.zeros(2, 3, 24, 32))
    xy, value = peaks(heatmaps.numpy())
    np.testing.assert_array_equal(joints.numpy(), 4 * (quarter_shift(heatmaps.numpy(), xy) if refine else xy))
    np.testing.assert_array_equal(confidence.numpy(), value)


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", ["", "batch", "size"])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family(name: str, dynamic: str, tmp_path: Path) -> None:
    if (name, dynamic) == ("fcos", "size"):
        pytest.xfail("PyTorch's exporter writes GroupNorm for one image size; ONNX Runtime refuses another one")
    family = FAMILIES[name]
    space = family.SPACES["small"]
    for arch in (space.smallest, space.sample(np.random.default_rng(1))):
        network, images = unsettled(family.build(arch, joints=17)), torch.randn(1, 3, *arch.input_hw)
        height, width = arch.input_hw
        others = [images] + [torch.randn(3, 3, height, width)] * bool(dynamic)
        if dynamic == "size":
            others.append(torch.randn(2, 3, height + 32, width + 64))
        if FIXED.get(name) == dynamic:
            with pytest.raises(RuntimeError, match="must match"):
                network(others[-1])
            return
        if hasattr(family, "example_input"):  # boxes of a second stage depend on the first
            with pytest.raises(UserError, match="cannot be exported"):
                write_onnx(network, images, tmp_path / "net.onnx", ["boxes"], {}, dynamic)
            return
        with torch.no_grad():
            output = network(images)
            several = not isinstance(output, Tensor)
            facts = {"several": "true" if several else "false"}
            names = [f"maps{index}" for index in range(len(output) if several else 1)]
            file = tmp_path / "net.onnx"
            write_onnx(fuse_batchnorm(network, images), images, file, names, facts, dynamic)
            assert "BatchNormalization" not in {node.op_type for node in onnx.load(file).graph.node}
            for batch in others:
                assert difference(network(batch), OnnxNetwork(file, threads=1)(batch)) < 1e-4
