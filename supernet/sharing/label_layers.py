"""How layers with weights tie their entries to the labels of what they read: convolutions, linear layers, norms, attention.

Each rule is told the arguments by name and what the layer returned; it ties atoms and labels the result. Inside of it nothing
is looked at.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from .labels import FIXED, Labels, varying

Arguments = dict[str, Any]
Rule = Callable[[Labels, Arguments, Any], None]
_RULES: dict[Any, tuple[Rule, tuple[str, ...]]] = {}


class Layers(TorchFunctionMode):
    """Hands every layer with weights to its rule."""

    def __init__(self, labels: Labels) -> None:
        super().__init__()
        self.labels = labels

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.labels.quiet or func not in _RULES:
            return func(*args, **kwargs)
        rule, names = _RULES[func]
        arguments = {**dict(zip(names, args, strict=False)), **kwargs}
        if rule is _product and self.labels.name_of(arguments.get("other")) is None:
            return func(*args, **kwargs)  # of two activations: an operation like others
        self.labels.quiet += 1
        try:
            x = arguments.get("input")
            if rule in _SHAPED and isinstance(x, Tensor) and x.is_meta:
                result = torch.empty_like(x)  # all that there is to know, without some thirty operations
            else:
                result = func(*args, **kwargs)
        finally:
            self.labels.quiet -= 1
        rule(self.labels, arguments, result)
        return result


def rule(*functions: Any, names: str = "") -> Callable[[Rule], Rule]:
    """Register a rule; ``names`` of the arguments where a function does not tell them."""

    def register(decorated: Rule) -> Rule:
        for function in functions:
            own = tuple(names.split()) or tuple(inspect.signature(function).parameters)
            _RULES[function] = decorated, own
        return decorated

    return register


def _unknown(labels: Labels, what: str, result: Any, *tensors: Any) -> None:
    """Everything that meets here has to stay as it is."""
    labels.unknown[what, labels.where] += 1
    labels.fix(*tensors)
    for tensor in result if isinstance(result, tuple) else (result,):
        if isinstance(tensor, Tensor):
            labels.put(tensor, torch.full((1,) * tensor.dim(), FIXED))


def _put_along(labels: Labels, tensor: Tensor, dim: int, made: Tensor) -> None:
    """Label a tensor whose labels differ along one dimension only."""
    shape = [1] * tensor.dim()
    shape[dim] = -1
    labels.put(tensor, made.view(shape))


def _tie_own(labels: Labels, tensor: Any, dim: int, to: Tensor) -> None:
    """Tie a dimension of a parameter; one that is computed has to stay."""
    if tensor is None or tensor.numel() == 1:
        return
    name = labels.name_of(tensor)
    if name is None:
        labels.fix(tensor)
        labels.tie(to, FIXED)
    else:
        labels.tie(labels.atoms(name, dim), to)


_CONVOLUTION = "input weight bias stride padding dilation groups"
_TRANSPOSED = "input weight bias stride padding output_padding groups dilation"


@rule(torch.conv1d, torch.conv2d, torch.conv3d, names=_CONVOLUTION)
def _convolution(labels: Labels, given: Arguments, result: Tensor) -> None:
    _weighted(labels, given, result, reads=1, makes=0)


@rule(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d, names=_TRANSPOSED)
def _transposed(labels: Labels, given: Arguments, result: Tensor) -> None:
    _weighted(labels, given, result, reads=0, makes=1)


def _weighted(labels: Labels, given: Arguments, result: Tensor, reads: int, makes: int) -> None:
    x, weight, groups = given["input"], given["weight"], given.get("groups", 1)
    axis, name = (1 if x.dim() == weight.dim() else 0), labels.name_of(weight)
    if name is None:
        return _unknown(labels, "computed weight", result, x, weight)
    read = labels.channels(x, axis)
    if groups == 1:
        labels.tie(labels.atoms(name, reads), read)
        made = labels.atoms(name, makes)
    else:  # the channels of a group come and go together
        own = labels.atoms(name, 0).view(groups, -1)
        labels.tie(own, own[:, :1])
        labels.tie(read.view(groups, -1), own[:, :1])
        made = own[:, :1].expand(groups, result.shape[axis] // groups).flatten() if makes else own.flatten()
    _tie_own(labels, given.get("bias"), 0, made)
    _put_along(labels, result, axis, made)


@rule(F.linear, names="input weight bias")
def _linear(labels: Labels, given: Arguments, result: Tensor) -> None:
    x, name = given["input"], labels.name_of(given["weight"])
    if name is None:
        return _unknown(labels, "computed weight", result, x, given["weight"])
    labels.tie(labels.atoms(name, 1), labels.channels(x, x.dim() - 1))
    made = labels.atoms(name, 0)
    _tie_own(labels, given.get("bias"), 0, made)
    _put_along(labels, result, result.dim() - 1, made)


@rule(torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__, names="input other")
def _product(labels: Labels, given: Arguments, result: Tensor) -> None:
    """``x @ weight`` of a parameter (inputs, outputs)."""
    x, weight, name = given["input"], given["other"], labels.name_of(given["other"])
    assert name is not None
    if weight.dim() != 2:
        return _unknown(labels, "matmul", result, x, weight)
    labels.tie(labels.atoms(name, 0), labels.channels(x, x.dim() - 1))
    _put_along(labels, result, result.dim() - 1, labels.atoms(name, 1))


@rule(F.embedding)
def _embedding(labels: Labels, given: Arguments, result: Tensor) -> None:
    name = labels.name_of(given["weight"])
    if name is None:
        return _unknown(labels, "computed weight", result, given["weight"])
    _put_along(labels, result, result.dim() - 1, labels.atoms(name, 1))


@rule(F.batch_norm, F.instance_norm)
def _channel_norm(labels: Labels, given: Arguments, result: Tensor) -> None:
    _per_channel(labels, given, result, labels.channels(given["input"], 1))


@rule(F.prelu, names="input weight")
def _prelu(labels: Labels, given: Arguments, result: Tensor) -> None:
    x = given["input"]
    if given["weight"].numel() > 1:
        _tie_own(labels, given["weight"], 0, labels.channels(x, min(1, x.dim() - 1)))
    if labels.get(x) is not None:
        labels.put(result, labels.get(x))  # type: ignore[arg-type]


@rule(F.group_norm)
def _group_norm(labels: Labels, given: Arguments, result: Tensor) -> None:
    """With one group as a layer norm; else the channels of a group come and go together."""
    read = labels.channels(given["input"], 1)
    if given["num_groups"] > 1:
        labels.tie(read.view(given["num_groups"], -1), read.view(given["num_groups"], -1)[:, :1])
    _per_channel(labels, given, result, read)


def _layer_norm(labels: Labels, given: Arguments, result: Tensor) -> None:
    x = given["input"]
    if tuple(x.shape[-len(given["normalized_shape"]) :]) != tuple(given["normalized_shape"]):
        raise RuntimeError(f"normalized_shape {tuple(given['normalized_shape'])} of an input {tuple(x.shape)}")
    if len(given["normalized_shape"]) > 1:
        return _unknown(labels, "layer_norm over several dimensions", result, x, given.get("weight"), given.get("bias"))
    _per_channel(labels, given, result, labels.channels(x, x.dim() - 1))


rule(F.layer_norm)(_layer_norm)
if hasattr(F, "rms_norm"):
    rule(F.rms_norm)(_layer_norm)


def _per_channel(labels: Labels, given: Arguments, result: Tensor, read: Tensor) -> None:
    for kind in ("running_mean", "running_var", "weight", "bias"):
        _tie_own(labels, given.get(kind), 0, read)
    own = labels.get(given["input"])
    if own is not None:
        labels.put(result, own)


@rule(F.scaled_dot_product_attention, names="query key value attn_mask dropout_p is_causal scale enable_gqa")
def _attention(labels: Labels, given: Arguments, result: Tensor) -> None:
    """(…, L, E): the entries of queries and keys that are multiplied belong together, the result has those of the values."""
    query, key, value = (given[name] for name in ("query", "key", "value"))
    q, k, v = (labels.get(tensor) for tensor in (query, key, value))
    if q is None or k is None or v is None or q.shape[:-2] != k.shape[:-2] or k.shape[:-2] != v.shape[:-2]:
        return _unknown(labels, "attention", result, query, key, value)
    for one in (q, k, v):
        if one.dim() - 2 in varying(one):
            labels.tie_along(one, one.dim() - 2)
    labels.tie(q[..., :1, :], k[..., :1, :])
    labels.put(result, v[..., :1, :])


@rule(F.multi_head_attention_forward)
def _multi_head(labels: Labels, given: Arguments, result: Any) -> None:
    """Entry i of every head, of queries, keys and values, belongs together, so that all heads keep one size."""
    tensors = [given["query"], given["key"], given["value"]]
    packed = labels.name_of(given["in_proj_weight"])
    separate = [given.get(f"{kind}_proj_weight") for kind in "qkv"]
    out = labels.name_of(given["out_proj_weight"])
    extra = (given.get("bias_k"), given.get("bias_v"), given.get("static_k"), given.get("static_v"))
    names = [packed] * 3 if packed else [labels.name_of(weight) for weight in separate]
    if out is None or None in names or any(value is not None for value in extra):
        return _unknown(labels, "multi_head_attention_forward", result, *tensors)
    width, heads = given["embed_dim_to_check"], given["num_heads"]
    lanes = labels.atoms(out, 1).view(heads, -1)  # entry i of head h
    labels.tie(lanes, lanes[:1])
    bias, biases = given.get("in_proj_bias"), labels.name_of(given.get("in_proj_bias"))
    for part, (tensor, name) in enumerate(zip(tensors, names, strict=True)):
        assert name is not None
        labels.tie(labels.atoms(name, 1), labels.channels(tensor, tensor.dim() - 1))
        rows = labels.atoms(name, 0)
        labels.tie(rows[part * width : (part + 1) * width] if packed else rows, lanes.flatten())
        if biases:
            labels.tie(labels.atoms(biases, 0)[part * width : (part + 1) * width], lanes.flatten())
        elif bias is not None:
            labels.tie(lanes, FIXED)
    made = labels.atoms(out, 0)
    _tie_own(labels, given.get("out_proj_bias"), 0, made)
    _put_along(labels, result[0], result[0].dim() - 1, made)


def _recurrent(labels: Labels, given: Arguments, result: Any) -> None:
    """Every gate has a row for each hidden channel; a packed sequence is not looked at."""
    x, weights = given["input"], given["weights"]
    state = given["state"] if isinstance(given["state"], list | tuple) else [given["state"]]
    names = [labels.name_of(weight) for weight in weights]
    layers, directions = given["layers"], 1 + bool(given["bidirectional"])
    per = 4 if given["biases"] else 2
    if None in names or not isinstance(given["biases"], bool) or len(weights) != per * layers * directions:
        return _unknown(labels, "recurrent layer", result, x, *weights)
    labels.fix(*state)
    read, own, made = labels.channels(x, x.dim() - 1), iter(names), torch.empty(0)
    for _ in range(layers):
        outputs = []
        for _ in range(directions):
            reads, repeats, *biases = [str(next(own)) for _ in range(per)]
            hidden = labels.atoms(repeats, 1)
            labels.tie(labels.atoms(reads, 1), read)
            for name in (reads, repeats, *biases):
                labels.tie(labels.atoms(name, 0).view(-1, len(hidden)), hidden)
            outputs.append(hidden)
        read = made = torch.cat(outputs)
    _put_along(labels, result[0], result[0].dim() - 1, made)
    for tensor in result[1:]:
        labels.put(tensor, torch.full((1,) * tensor.dim(), FIXED) if layers * directions > 1 else made)


rule(
    *(getattr(torch, kind) for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu")),
    names="input state weights biases layers dropout training bidirectional batch_first",
)(_recurrent)

_SHAPED = (_channel_norm, _prelu, _group_norm, _layer_norm)  # the result has the shape of the input
