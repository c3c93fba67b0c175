"""Multi-head attention (Vaswani et al., NeurIPS 2017, §3.2) as the families with transformers share it.

Shapes: tokens are (…, N, C), N of them with C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def attend(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """softmax(q kᵀ / √(C / heads)) v in each head, heads side by side.

    Args:
        queries: projected tokens (B, N, C).
        keys: the same.
        values: the same.
        heads: number of heads; divides C, and a head has consecutive channels.

    Returns:
        (B, N, C), before the output projection.
    """
    q, k, v = (torch.unflatten(tokens, 2, (heads, -1)).transpose(1, 2) for tokens in (queries, keys, values))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
