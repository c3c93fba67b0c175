"""TransPose's space, its positions and attention, and files that are refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from search_spaces import ArchitectureError, transpose


def test_the_published_space_contains_r_a3_and_r_a4() -> None:
    """No choice of resolution: the position encoding of a checkpoint fits one."""
    assert transpose.SPACE.size == 1_440
    assert transpose.SPACE.kinds == ("blocks", "depth", "feedforward", "deconv_width")
    for arch in transpose.published().values():
        assert transpose.SPACE.why_not(arch) is None
        shallower = replace(arch, backbone=replace(arch.backbone, feedforward=(1024,) * 3))
        assert transpose.SPACE.why_not(shallower) is None


def test_positions() -> None:
    """Rows in the first half of the channels, columns in the second; fixed, and first in checkpoints."""
    rows, columns, width = 3, 5, 12
    encoding = transpose.sine_positions(rows, columns, width)
    assert encoding.shape == (rows * columns, 1, width)
    for row, column in [(0, 0), (2, 1), (1, 4)]:
        for part, (index, count) in enumerate([(row, rows), (column, columns)]):
            for channel in range(width // 2):
                angle = 2 * math.pi * (index + 1) / count / 10000 ** (channel // 2 * 2 / (width // 2))
                expected = math.cos(angle) if channel % 2 else math.sin(angle)
                value = encoding[row * columns + column, 0, part * (width // 2) + channel]
                assert value == pytest.approx(expected, abs=1e-6)
    network = transpose.build(transpose.SMALL.smallest)
    assert next(iter(network.state_dict())) == "pos_embedding"
    assert [name for name, parameter in network.named_parameters() if not parameter.requires_grad] == ["pos_embedding"]


def test_attention_is_pytorchs() -> None:
    """With the position in queries and keys only, and the same names."""
    own, peer = transpose.PackedAttention(8, 2).double(), nn.MultiheadAttention(8, 2, batch_first=True).double()
    peer.load_state_dict(own.state_dict())
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 8, dtype=torch.float64, generator=generator)
    position = torch.randn(6, 8, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        expected = peer(x + position, x + position, x, need_weights=False)[0]
        assert torch.allclose(own(x, position), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("multiscale", [True, False])
def test_features(multiscale: bool) -> None:
    """A quarter of the resolution from the ResNet and an eighth from the encoder, or the latter alone."""
    backbone = transpose.SMALL.smallest.backbone.network(multiscale)
    shapes = [tuple(x.shape[1:]) for x in backbone(torch.zeros(1, 3, 96, 64))]
    assert shapes == [(64, 24, 16), (64, 12, 8)][0 if multiscale else 1 :]
    assert tuple(shape[0] for shape in shapes) == backbone.widths


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("resolution", [384, 288], "resolution is .384, 288., it has to be 8 times backbone.grid, which is .32, 24."),
        ("heads", 3, "backbone.width is 256, it has to be a multiple of 4 and of backbone.heads, 3"),
        ("feedforward", [], "backbone.feedforward is .., it has to have an entry"),
        ("stem", 0, "backbone.stem is 0"),
        ("deconv_width", [0], "deconv_width is .0,."),
    ],
)
def test_wrong_file(place: str, value: Any, message: str) -> None:
    data = transpose.to_json(transpose.SPACE.smallest)
    next(part for part in (data, data["backbone"]) if place in part)[place] = value
    with pytest.raises(ArchitectureError, match=message):
        transpose.from_json(data)
