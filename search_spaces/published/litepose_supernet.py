"""Cut the weights of one LitePose network out of the checkpoint of LitePose's own supernet.

The authors keep the weights of the largest network, whose layers run on leading channels, and in every block two linear maps,
``Linear5x5`` and ``Linear3x3``, that make a 5×5 or 3×3 kernel of the centre of the 7×7 one. Facts: mit-han-lab/litepose.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

import torch
from torch import Tensor

from ..space.tree import ArchitectureError

Weights = Mapping[str, Tensor]
LINEAR = "Linear{0}x{0}"  # of a block, for a kernel of that size


def is_supernet(weights: Weights) -> bool:
    """Whether a state dict is the authors' supernet."""
    return any(".Linear5x5." in key for key in weights)


def cut(weights: Weights, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of one network.

    Args:
        weights: the supernet's state dict.
        shapes: of the network's tensors, by name.

    Raises:
        ArchitectureError: when the network is not a part of the supernet; names the tensor and both shapes.
    """
    result: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        if key not in weights:
            continue  # the loader says so
        whole = weights[key]
        if whole.dim() != len(shape) or any(part > all_ for part, all_ in zip(shape, whole.shape, strict=True)):
            raise ArchitectureError(f"{key} {tuple(shape)} is not a part of the supernet's {tuple(whole.shape)}")
        margins = [
            (total - part) // 2 if dim >= 2 else 0
            for dim, (total, part) in enumerate(zip(whole.shape, shape, strict=True))
        ]
        part = whole[tuple(slice(margin, margin + size) for margin, size in zip(margins, shape, strict=True))]
        if len(shape) == 4 and shape[-1] < whole.shape[-1]:
            part = _transformed(part, weights, key)
        result[key] = part.clone()
    return result


def _transformed(kernels: Tensor, weights: Weights, key: str) -> Tensor:
    """The centre crops (C, 1, k, k) of depthwise kernels after the block's linear map for that size, in float64."""
    linear = key.removesuffix("depth_conv.0.weight") + LINEAR.format(kernels.shape[-1])
    if f"{linear}.weight" not in weights:
        raise ArchitectureError(f"{key}: the supernet has no {linear} for a kernel of {kernels.shape[-1]}")
    weight, bias = (weights[f"{linear}.{kind}"].double() for kind in ("weight", "bias"))
    return (kernels.double().flatten(1) @ weight.T + bias).view_as(kernels)


def reorganized(weights: Weights) -> dict[str, Tensor]:
    """What LitePose's ``re_organize_weights`` makes of a supernet: important channels first, and another function.

    The channels between two stages are sorted by the L1 norm of the weights of the next stage that read them. Left as they
    are, which is the flaw: running means and variances, what the heads read, and the last stage.
    :func:`supernet.sharing.channel_sorting.sort_channels` sorts without changing the function.
    """
    result = dict(weights)

    def permute(key: str, dim: int, order: Tensor) -> None:
        result[key] = result[key].index_select(dim, order)

    def sort_by(reader: str) -> Tensor:
        order = torch.sort(result[reader].abs().sum(dim=(0, 2, 3)), descending=True).indices
        permute(reader, 1, order)
        return order

    def permute_made(convolution: str, norm: str, order: Tensor) -> None:
        permute(f"{convolution}.weight", 0, order)
        for kind in ("weight", "bias"):
            permute(f"{norm}.{kind}", 0, order)

    permute_made("first.2", "first.3", sort_by("stage.0.0.inv.0.weight"))
    for stage in count():
        reader = f"stage.{stage + 1}.0.inv.0.weight"
        if reader not in result:
            return result
        order = sort_by(reader)
        for block in count():
            prefix = f"stage.{stage}.{block}"
            if f"{prefix}.inv.0.weight" not in result:
                break
            permute_made(f"{prefix}.point_conv.0", f"{prefix}.point_conv.1", order)
            if block > 0:
                permute(f"{prefix}.inv.0.weight", 1, order)
    raise AssertionError("unreachable")
