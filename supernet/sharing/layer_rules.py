"""Slicing rules of PyTorch's other modules with weights: normalisations, PReLU, embeddings, attention, recurrent layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .declarations import SharingError
from .rules import READS, Index, declared, leading_of_each, leading_parts, own_tensors, rule_of, same, share


@share.register(nn.PReLU)
def share_channels(small: nn.Module, big: nn.Module) -> dict[str, Index]:
    """One entry for each channel: the leading ones, of each part where the module declares them."""
    indices, tensors = leading_parts(small, big), own_tensors(small)
    width = max((len(tensor) for tensor in tensors.values() if tensor.dim()), default=1)
    for name in ("sources", "targets") if width > 1 else ():
        chosen = declared(name, small, big, width)
        if chosen is not None:
            indices = {key: (chosen, *index[1:]) if index else index for key, index in indices.items()}
    return indices


@share.register(nn.BatchNorm1d)
@share.register(nn.BatchNorm2d)
@share.register(nn.BatchNorm3d)
@share.register(nn.InstanceNorm1d)
@share.register(nn.InstanceNorm2d)
@share.register(nn.InstanceNorm3d)
@share.register(nn.LayerNorm)
def share_norm(small: nn.Module, big: nn.Module) -> dict[str, Index]:
    """A normalisation: its eps is the same."""
    same(small, big, "eps")
    return share_channels(small, big)


if hasattr(nn, "RMSNorm"):
    share.register(nn.RMSNorm)(share_norm)


@share.register
def share_group_norm(small: nn.GroupNorm, big: nn.GroupNorm) -> dict[str, Index]:
    """Groups of one fixed width, whose number may vary; or a single group."""
    mine, theirs = (one.num_channels // one.num_groups for one in (small, big))
    if mine != theirs and not small.num_groups == big.num_groups == 1:
        raise SharingError(
            f"{small.num_groups} groups of {mine} channels cannot be cut out of {big.num_groups} groups of {theirs}; "
            "keep the width of a group and vary their number"
        )
    return share_norm(small, big)


@share.register
def share_embedding(small: nn.Embedding, big: nn.Embedding) -> dict[str, Index]:
    """The leading entries of the table, and of each of them the leading channels."""
    same(small, big, "padding_idx", "max_norm", "scale_grad_by_freq")
    rows, columns = leading_parts(small, big)["weight"]
    chosen = declared("targets", small, big, small.embedding_dim)
    return {"weight": (rows, columns if chosen is None else chosen)}


@share.register
def share_attention(small: nn.MultiheadAttention, big: nn.MultiheadAttention) -> dict[str, Index]:
    """Heads of one fixed width, whose number may vary."""
    same(small, big, "add_zero_attn", "_qkv_same_embed_dim")
    if small.head_dim != big.head_dim:
        raise SharingError(
            f"{small.num_heads} heads of {small.head_dim} channels cannot be cut out of {big.num_heads} heads of "
            f"{big.head_dim}; keep the width of a head and vary their number"
        )
    indices = leading_parts(small, big)
    parts = leading_of_each("heads", (small.embed_dim,) * 3, (big.embed_dim,) * 3, 3 * small.embed_dim)
    for name in ("in_proj_weight", "in_proj_bias"):  # queries, keys and values, one below the other
        if name in indices:
            indices[name] = (parts, *indices[name][1:])
    return indices


@share.register
def share_recurrent(small: nn.RNNBase, big: nn.RNNBase) -> dict[str, Index]:
    """The leading hidden channels, of each gate; of both directions where a layer reads two; the first layers."""
    same(small, big, "bidirectional", "proj_size", "batch_first", "mode")
    if small.proj_size:
        same(small, big, "hidden_size")
    chosen: Any = declared("sources", small, big, small.input_size)
    indices = leading_parts(small, big)
    for name, index in indices.items():
        gates = {"LSTM": 4, "GRU": 3}.get(small.mode, 1)
        rows: Any = index[0]
        if not name.startswith("weight_hr"):
            rows = _parts(gates, small.hidden_size, big.hidden_size)
        columns = list(index[1:])
        if name.startswith("weight_ih_l0") and chosen is not None:
            columns = [chosen]
        elif name.startswith("weight_ih") and not name.startswith("weight_ih_l0") and small.bidirectional:
            columns = [_parts(2, small.proj_size or small.hidden_size, big.proj_size or big.hidden_size)]
        indices[name] = (rows, *columns)
    return indices


def _parts(number: int, mine: int, theirs: int) -> Tensor:
    """The leading ``mine`` of each of ``number`` parts of ``theirs`` entries."""
    return (torch.arange(number)[:, None] * theirs + torch.arange(mine)).flatten()


_PARTS = ("sources", "targets")
READS |= {
    rule_of(nn.BatchNorm2d): _PARTS,
    rule_of(nn.PReLU): _PARTS,
    rule_of(nn.GroupNorm): _PARTS,
    rule_of(nn.Embedding): ("targets",),
    rule_of(nn.MultiheadAttention): (),
    rule_of(nn.RNNBase): ("sources",),
}
