"""Cut a smaller module out of any module by indices: tensors without weights, and attributes that say what they are."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from .rules import Convolution, Deconvolution, Index
from .tied_weights import first_names

Kept = Mapping[tuple[str, int], list[int]]  # of a tensor's dimension the indices that stay


def cut_out(whole: nn.Module, kept: Kept, kernels: Mapping[str, int], absent: Iterable[str]) -> nn.Module:
    """A copy of a module with smaller tensors, each module of which says which part of the whole one's tensors it has.

    Args:
        whole: the largest module, on the meta device.
        kept: the indices that stay, by first name and dimension; what is not named stays as it is.
        kernels: of convolutions, the size of the centre of their kernel that stays.
        absent: names of modules that are taken out of their containers.
    """
    network = copy.deepcopy(whole)
    names = first_names(network)
    made: dict[str, torch.Tensor] = {}
    for name, module in network.named_modules():
        indices: dict[str, Index] = {}
        for own in (module._parameters, module._buffers):
            for key, tensor in own.items():
                if tensor is None:
                    continue
                first = names.get(tensor, "")
                index = _index(first, tensor, kept)
                if key == "weight" and name in kernels:
                    margins = [(length - kernels[name]) // 2 for length in tensor.shape[2:]]
                    index = (*index[:2], *(slice(margin, margin + kernels[name]) for margin in margins))
                indices[key] = index
                shape = [_length(one, length) for one, length in zip(index, tensor.shape, strict=True)]
                if shape != list(tensor.shape) and first not in made:
                    small = torch.empty(shape, device=tensor.device, dtype=tensor.dtype)
                    parameter = isinstance(tensor, nn.Parameter)
                    made[first] = nn.Parameter(small, tensor.requires_grad) if parameter else small
                own[key] = made.get(first, tensor)  # what is tied stays tied
        if indices:
            module.slices = indices
        _fit(module)
    for name in absent:
        parent, _, key = name.rpartition(".")
        container = network.get_submodule(parent)
        container._modules.pop(key)
        container.zero_is_identity = False  # type: ignore[assignment]
    return network


def _index(name: str, tensor: torch.Tensor, kept: Kept) -> Index:
    index: list[Any] = []
    for dim, length in enumerate(tensor.shape):
        own = kept.get((name, dim))
        if own is None:
            index.append(slice(0, length))
        elif own == list(range(own[0], own[0] + len(own))):
            index.append(slice(own[0], own[0] + len(own)))
        else:
            index.append(torch.tensor(own, device="cpu"))  # also where networks are made without weights
    return tuple(index)


def _length(index: Any, length: int) -> int:
    return len(range(*index.indices(length))) if isinstance(index, slice) else len(index)


def _fit(module: Any) -> None:
    """Say in a layer's attributes what its tensors say."""
    weight: Any = getattr(module, "weight", None)
    if isinstance(module, Convolution):
        width = module.out_channels // module.groups
        module.groups = weight.shape[0] // width if module.groups > 1 else 1
        module.out_channels, module.in_channels = weight.shape[0], weight.shape[1] * module.groups
        size = tuple(weight.shape[2:])
        if size != module.kernel_size:
            margins = [
                (old - new) // 2 * step
                for old, new, step in zip(module.kernel_size, size, module.dilation, strict=True)
            ]
            module.padding = tuple(pad - margin for pad, margin in zip(module.padding, margins, strict=True))
            module._reversed_padding_repeated_twice = [pad for pad in reversed(module.padding) for _ in range(2)]
            module.kernel_size = size
    elif isinstance(module, Deconvolution):
        width = module.in_channels // module.groups
        module.groups = weight.shape[0] // width if module.groups > 1 else 1
        module.in_channels, module.out_channels = weight.shape[0], weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.Embedding):
        module.num_embeddings, module.embedding_dim = weight.shape
    elif isinstance(module, _NormBase):
        own: Any = weight if weight is not None else module.running_mean
        module.num_features = len(own) if own is not None else module.num_features
    elif isinstance(module, nn.GroupNorm) and weight is not None:
        width = module.num_channels // module.num_groups
        module.num_groups = len(weight) // width if module.num_groups > 1 else 1
        module.num_channels = len(weight)
    elif hasattr(module, "normalized_shape") and weight is not None:  # layer norm, root mean square norm
        module.normalized_shape = tuple(weight.shape)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(weight)
    elif isinstance(module, nn.MultiheadAttention):
        packed = module.in_proj_weight is not None
        module.embed_dim = module.out_proj.weight.shape[0] if not packed else module.in_proj_weight.shape[1]
        module.head_dim = module.embed_dim // module.num_heads
        module.kdim, module.vdim = (
            (module.embed_dim,) * 2 if packed else (module.k_proj_weight.shape[1], module.v_proj_weight.shape[1])
        )
    elif isinstance(module, nn.RNNBase):
        reads: Any = module.weight_ih_l0
        repeats: Any = module.weight_hh_l0
        module.input_size, module.hidden_size = reads.shape[1], repeats.shape[1]
        module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
