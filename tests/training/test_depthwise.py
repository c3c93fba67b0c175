"""Weight gradients of depthwise convolutions in strips are those of the ordinary convolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from search_spaces import litepose_top_down
from supernet import Supernet
from supernet.training.depthwise import StripwiseDepthwise


def gradients(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *how: Any) -> list[torch.Tensor]:
    """Output, and gradients of everything, for a gradient of the output that is the same each time."""
    y = functional.conv2d(x, weight, bias, *how, groups=len(weight))
    generator = torch.Generator().manual_seed(1)
    wanted = [tensor for tensor in (x, weight, bias) if tensor is not None]
    given = torch.randn(y.shape, generator=generator).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, wanted, given)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [6, 13])
@pytest.mark.parametrize(("stride", "padding"), [(1, None), (2, None), (1, 0), ((2, 1), (1, 2))])
@pytest.mark.parametrize("kernel", [4, 5, 7, 9])
def test_gradients(kernel: int, stride: Any, padding: Any, side: int, layout: torch.memory_format) -> None:
    """Output and the gradient of the input to the last bit, the others as near to float64 as the ordinary ones."""
    padding = kernel // 2 if padding is None else padding
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 8, side + 3, side + 5, generator=generator).contiguous(memory_format=layout).requires_grad_()
    weight, bias = (torch.randn(size, generator=generator).requires_grad_() for size in ((8, 1, kernel, kernel), (8,)))
    ordinary = gradients(x, weight, bias, stride, padding)
    with StripwiseDepthwise():
        assert "Stripwise" in str(functional.conv2d(x, weight, None, stride, padding, groups=8).grad_fn)
        strips = gradients(x, weight, bias, stride, padding)
    exact = gradients(x.double(), weight.double(), bias.double(), stride, padding)
    assert torch.equal(ordinary[0], strips[0]) and torch.equal(ordinary[1], strips[1])
    for mine, reference in zip(strips[2:], exact[2:], strict=True):
        assert (mine - reference).abs().max() <= 1e-6 * reference.abs().max()


def test_what_is_left_alone() -> None:
    """Narrow, dense, dilated and float64 convolutions, and those whose weights learn nothing."""
    x, weight = torch.randn(2, 4, 12, 12), torch.randn(4, 1, 7, 7, requires_grad=True)
    with StripwiseDepthwise():
        for left_alone in (
            functional.conv2d(x, weight[..., 2:5, 2:5], groups=4),
            functional.conv2d(x, weight.repeat(1, 4, 1, 1)),
            functional.conv2d(x, weight, dilation=(1, 2), padding="same", groups=4),
            functional.conv2d(x.double(), weight.double(), groups=4),
            functional.conv2d(x.requires_grad_(), weight.detach(), groups=4),
        ):
            assert "Stripwise" not in str(left_alone.grad_fn)
        with torch.no_grad():
            assert functional.conv2d(x, weight, groups=4).grad_fn is None


def test_inside_of_a_supernet() -> None:
    """Every architecture's outputs are the same to the last bit, and so are those of a plain network."""
    space = litepose_top_down.SMALL
    torch.manual_seed(0)
    supernet = Supernet(litepose_top_down.build, space)
    images = torch.randn(2, 3, *space.smallest.input_hw)
    plain: nn.Module = supernet.extract(space.largest)
    with torch.no_grad():
        expected = supernet(images, space.largest), plain(images)
    with StripwiseDepthwise():
        found = supernet(images, space.largest), plain(images)
    assert torch.equal(expected[0], found[0]) and torch.equal(expected[1], found[1])
    found[0].square().mean().backward()
    assert all(parameter.grad is not None for parameter in supernet.parameters())
