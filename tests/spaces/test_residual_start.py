"""Where it is asked for, a training begins with residual branches that add nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from search_spaces.layers.branches import BasicBlock, Bottleneck
from search_spaces.layers.convolutions import InvertedResidual, SqueezeExcite, start_as_identity


@pytest.mark.parametrize(
    "block",
    [
        BasicBlock(8),
        Bottleneck(32, 8),
        InvertedResidual(8, 8, 16, 5, 1),
        InvertedResidual(8, 8, 16, 3, 1, names="mmpose", squeeze=SqueezeExcite(16, 4)),
        InvertedResidual(8, 8, 16, 3, 1, names="efficientnet"),
    ],
    ids=["basic", "bottleneck", "inverted", "with squeeze-and-excitation", "efficientnet"],
)
def test_a_fresh_block_is_the_identity(block: nn.Module) -> None:
    """On what comes out of a ReLU, in training mode as well."""
    start_as_identity(block)
    x = torch.rand(2, 32 if isinstance(block, Bottleneck) else 8, 6, 6)
    assert torch.equal(block(x), x)
    block(x).square().sum().backward()
    assert sum(float(parameter.grad.abs().sum()) > 0 for parameter in block.parameters() if parameter.grad is not None)


def test_a_branch_without_a_shortcut_starts_as_usual() -> None:
    block = InvertedResidual(8, 16, 16, 3, 1)
    start_as_identity(block)
    norm = block.point_conv[1]
    assert isinstance(norm, nn.BatchNorm2d) and bool((norm.weight == 1).all())
