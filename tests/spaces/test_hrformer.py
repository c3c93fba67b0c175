"""HRFormer's space, what its attention does at the border, and files that are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from search_spaces import ArchitectureError, hrformer


def test_the_published_space_contains_hrformer_s() -> None:
    assert hrformer.SPACE.size == 1_492_992
    assert hrformer.SPACE.kinds == ("resolution", "bottleneck_blocks", "expansion", "blocks", "modules")
    for arch in hrformer.published().values():
        assert hrformer.SPACE.why_not(arch) is None


def test_windows_are_centred_and_padded_tokens_attend() -> None:
    """One window of 7×7 around a map of 4×3, computed by ``nn.MultiheadAttention`` over all 49 tokens."""
    width, heads = 8, 2
    attention = hrformer.WindowAttention(width, heads).double()
    own, peer = attention.attn, nn.MultiheadAttention(width, heads, batch_first=True).double()
    projections = (own.q_proj, own.k_proj, own.v_proj)
    with torch.no_grad():
        peer.in_proj_weight.copy_(torch.cat([projection.weight for projection in projections]))
        peer.in_proj_bias.copy_(torch.cat([projection.bias for projection in projections]))
        peer.out_proj.load_state_dict(own.out_proj.state_dict())
        x = torch.randn(2, 4, 3, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        window = torch.zeros(2, 7, 7, width, dtype=torch.float64)
        window[:, 1:5, 2:5] = x
        tokens = window.flatten(1, 2)
        expected = peer(tokens, tokens, tokens, need_weights=False)[0].unflatten(1, (7, 7))[:, 1:5, 2:5]
        assert torch.allclose(attention(x), expected, rtol=0, atol=1e-12)


def test_windows_do_not_see_each_other() -> None:
    """On a map of 14×7 a change in the upper window stays there."""
    attention = hrformer.WindowAttention(4, 1)
    x = torch.randn(1, 14, 7, 4, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, 6] += 1
    with torch.no_grad():
        difference = (attention(x) - attention(changed)).abs().amax((0, 2, 3))
    assert (difference[:7] > 0).all()
    assert (difference[7:] == 0).all()


def test_relative_position_is_stored_and_unused() -> None:
    tokens = hrformer.WindowTokens(4, 2)
    for p, q in [(0, 0), (0, 48), (48, 0), (10, 33)]:
        (y, x), (other_y, other_x) = divmod(p, 7), divmod(q, 7)
        assert tokens.relative_position_index[p, q] == (y - other_y + 6) * 13 + x - other_x + 6
    tokens(torch.ones(1, 49, 4)).sum().backward()
    assert tokens.relative_position_bias_table.grad is None


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("resolution", [256, 200], "resolution is .256, 200., it has to be two multiples of 32"),
        ("heads", [1, 2, 3, 8], "widths.2. is 128, it has to be a multiple of heads.2., 3"),
        ("expansion", [4, 4, 0, 4], "expansion.2., 0, has to be at least 1"),
        ("stages", [{"modules": 1, "blocks": [2]}] * 3, "stages.0. has 1 modules and blocks for 1 branches"),
        ("bottleneck_blocks", 0, "bottleneck_blocks have to be at least 1"),
        ("deconv_width", [0], "head.deconv_width is .0,."),
    ],
)
def test_wrong_file(place: str, value: Any, message: str) -> None:
    data = hrformer.to_json(hrformer.SPACE.smallest)
    next(part for part in (data, data["backbone"], data["head"]) if place in part)[place] = value
    with pytest.raises(ArchitectureError, match=message):
        hrformer.from_json(data)
