"""What operations without weights do to labels: views, elementwise operations, pooling, sums, products of activations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils._python_dispatch import TorchDispatchMode

from .label_layers import Layers
from .labels import FIXED, NONE, Labels, broadcast, first, tensors_in, thin, varying

# fmt: off
_SAME = frozenset("""
    clone contiguous detach alias lift_fresh _to_copy to native_dropout dropout hardtanh hardtanh_ hardswish hardswish_
    hardsigmoid hardsigmoid_ _softmax softmax _log_softmax log_softmax cumsum bernoulli bernoulli_
""".split())
_MOVES = frozenset("""
    view _unsafe_view reshape permute transpose t expand squeeze unsqueeze slice select split split_with_sizes unsafe_split
    unsafe_split_with_sizes unbind cat stack constant_pad_nd index index_select roll flip repeat as_strided unfold
    pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle im2col movedim swapaxes chunk narrow diagonal
    _reshape_alias reshape_as view_as
""".split())
_SPATIAL = frozenset("""
    max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool2d adaptive_max_pool3d upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d
    upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa reflection_pad1d reflection_pad2d replication_pad1d
    replication_pad2d grid_sampler_2d grid_sampler
""".split())
_REDUCES = frozenset("mean sum amax amin max min std var norm linalg_vector_norm logsumexp prod".split())
_PRODUCTS = frozenset("bmm mm matmul baddbmm addmm".split())
_MAKES = frozenset("""
    zeros empty ones full zeros_like empty_like ones_like full_like new_zeros new_empty new_ones new_full empty_strided
    new_empty_strided
""".split())
# fmt: on


@contextmanager
def watch(labels: Labels) -> Iterator[None]:
    """Label what a module computes inside."""
    with Layers(labels), _Operations(labels):
        yield


class _NeedsValues(RuntimeError):
    """A computed index, on a device without values."""


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every operation that is not inside of a layer with weights."""

    def __init__(self, labels: Labels) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.labels = labels

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.labels.quiet:
            return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        given = tensors_in([list(args), kwargs])
        known = [(tensor, one) for tensor in given if (one := self.labels.get(tensor)) is not None]
        result = func(*args, **kwargs)
        if not known:
            if name in _MAKES and isinstance(result, Tensor) and result.is_floating_point():
                self.labels.put(result, torch.full(result.shape, NONE))  # parts of it may be written to
        elif name in _SAME:
            self._same(name, args, kwargs, known[0], tensors_in(result))
        elif name == "copy_":
            self._write(args[0], args[1])
        elif name in _MOVES:
            self._move(func, name, args, kwargs, tensors_in(result))
        elif name in _SPATIAL:
            self._pool(known[0][1], tensors_in(result))
        elif name in _REDUCES and not (name in ("max", "min") and len(known) > 1):
            self._reduce(known[0], args, kwargs, tensors_in(result))
        elif name in _PRODUCTS:
            self._multiply(name, args, result)
        elif torch.Tag.pointwise in func.tags or name in ("max", "min"):
            self._elementwise(name, given, known, result)
        elif name in _MAKES:
            self.labels.put(result, torch.full(result.shape, NONE))
        elif any(tensor.is_floating_point() for tensor in tensors_in(result)):
            self._unknown(name, given, tensors_in(result))
        return result

    def _unknown(self, name: str, given: list[Tensor], results: list[Tensor]) -> None:
        self.labels.unknown[name, self.labels.where] += 1
        self.labels.fix(*given)
        for tensor in results:
            self.labels.put(tensor, torch.full((1,) * tensor.dim(), FIXED))

    def _same(self, name: str, args: Any, kwargs: Any, first: tuple[Tensor, Tensor], results: list[Tensor]) -> None:
        """The labels stay where they are; a softmax over channels alone keeps them all."""
        labels = first[1]
        if "softmax" in name or name == "cumsum":
            dim = (args[1] if len(args) > 1 else kwargs["dim"]) % labels.dim()
            if varying(labels) == [dim]:
                self.labels.fix(first[0])
        for tensor in results:
            if tensor.shape == labels.shape:
                self.labels.put(tensor, labels)

    def _substitute(self, value: Any) -> Any:
        """Labels in the place of the data, also in lists; what has none is there always, or a single filling."""
        if isinstance(value, list | tuple):
            return type(value)(self._substitute(item) for item in value)
        if not isinstance(value, Tensor):
            return value
        labels = self.labels.get(value)
        if labels is not None:
            return labels
        if not value.is_floating_point():
            if value.is_meta:
                raise _NeedsValues("indices that are computed")
            return value
        return torch.full(value.shape, NONE if value.numel() == 1 else FIXED)

    def _move(self, func: Any, name: str, args: Any, kwargs: Any, results: list[Tensor]) -> None:
        """The same operation on labels, and what it needs so that all tensors stay boxes."""
        arguments = [self._substitute(value) for value in args]
        if name in ("view", "_unsafe_view", "reshape", "_reshape_alias"):
            moved = [arguments[0].reshape(results[0].shape)]
            self._keep_boxes(args[0].shape, moved[0])
        elif name == "constant_pad_nd":
            moved = [self._pad(arguments[0], args[1], results[0].shape)]
        elif name in ("cat", "stack"):
            moved = [self._join(func, list(arguments[0]), args, kwargs, results[0].shape)]
        elif name == "im2col":  # not for whole numbers: (B, C, H, W) to (B, C · k, positions)
            self._pool_to(arguments[0], 2)
            channels = arguments[0].flatten(2)[..., 0]
            moved = [channels.repeat_interleave(results[0].shape[-2] // channels.shape[-1], -1)[..., None]]
        else:
            options = {key: self._substitute(value) for key, value in kwargs.items() if key != "memory_format"}
            moved = tensors_in(func(*arguments, **options))
        if "split" in name and len(moved) > 1 and len({one.shape for one in moved}) == 1:
            for one in moved[1:]:
                self.labels.tie(one, moved[0])
        for tensor, one in zip(results, moved, strict=True):
            self.labels.put(tensor, one)

    def _join(self, func: Any, parts: list[Tensor], args: Any, kwargs: Any, shape: torch.Size) -> Tensor:
        """``cat`` or ``stack``; what is stacked comes and goes together."""
        dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % len(shape)
        stacked = func.overloadpacket.__name__ == "stack"
        parts = [one.unsqueeze(dim) if stacked else one for one in parts if stacked or one.dim() == len(shape)]
        for other in range(len(shape)):
            if other != dim and all(one.stride(other) == 0 for one in parts):
                parts = [first(one, other) for one in parts]
        joined = torch.cat(parts, dim).expand(shape)
        said = [first(one, dim) for one in parts if not one.shape[dim] and not one.stride(dim)]
        for one in said:  # a part of no length says which channels all have
            self.labels.tie(one, said[0])
            joined = torch.where(joined > NONE, joined, one)
        if stacked:
            self.labels.tie_along(joined, dim)
        return joined

    @staticmethod
    def _pad(labels: Tensor, margins: list[int], shape: torch.Size) -> Tensor:
        """No channel in the margins, where that makes a difference."""
        for place in range(len(margins) // 2):
            dim, margin = labels.dim() - 1 - place, margins[2 * place : 2 * place + 2]
            if labels.shape[dim] > 1 and labels.stride(dim) == 0:
                labels = labels.narrow(dim, 0, 1)
            elif margin != [0, 0]:
                labels = F.pad(labels, [0, 0] * place + list(margin), value=NONE)
        return labels.expand(shape)

    def _keep_boxes(self, before: torch.Size, after: Tensor) -> None:
        """Of the parts that a dimension is split into, only the last may shrink."""
        old, new = 0, 0
        while old < len(before) and new < after.dim():
            size, length, run = before[old], after.shape[new], [new]
            old, new = old + 1, new + 1
            while size != length:
                if size < length:
                    size, old = size * before[old], old + 1
                else:
                    length, run, new = length * after.shape[new], [*run, new], new + 1
            if len(run) > 1:
                along = [dim for dim in varying(after) if dim in run]
                for dim in along[:-1]:
                    self.labels.tie_along(after, dim)

    def _write(self, target: Tensor, source: Tensor) -> None:
        """``target[...] = source``: a view of a tensor that has labels is written to."""
        old, new = self._substitute(target), self._substitute(source).expand(target.shape)
        try:
            old.copy_(new)
        except RuntimeError:  # labels that are expanded
            self.labels.tie(old, new)
            self.labels.put(target, old)

    def _pool_to(self, labels: Tensor, dims: int) -> Tensor:
        """One label for all positions, (…, 1, 1)."""
        first = labels
        for dim in range(1, dims + 1):
            first = first.narrow(-dim, 0, 1)
        left, right = thin(*broadcast(labels, first))
        if bool((left != right).any()):
            self.labels.tie(labels, first)
        return first

    def _pool(self, labels: Tensor, results: list[Tensor]) -> None:
        first = self._pool_to(labels, max(1, labels.dim() - 2))
        for tensor in results:
            self.labels.put(tensor, first)

    def _reduce(self, first: tuple[Tensor, Tensor], args: Any, kwargs: Any, results: list[Tensor]) -> None:
        """A sum over channels alone mixes them; over branches side by side it adds channel to channel."""
        labels = first[1]
        dims = next((value for value in args[1:] if isinstance(value, int | list | tuple)), kwargs.get("dim"))
        dims = list(range(labels.dim())) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
        dims = sorted({dim % labels.dim() for dim in dims})
        along = varying(labels)
        if set(along) - set(dims):
            for dim in set(along) & set(dims):
                self.labels.tie_along(labels, dim)
            for dim in dims:
                labels = labels.narrow(dim, 0, 1)
        else:
            labels = labels[(slice(0, 1),) * labels.dim()]
            labels = torch.full(labels.shape, FIXED) if along else labels
        for tensor in results:
            kept = tensor.dim() == labels.dim()
            shape = [length for dim, length in enumerate(labels.shape) if kept or dim not in dims]
            self.labels.put(tensor, labels.reshape(shape))

    def _multiply(self, name: str, args: Any, result: Tensor) -> None:
        """Products of activations: what is summed over belongs together, or has no labels."""
        one, other = (args[1], args[2]) if name in ("baddbmm", "addmm") else (args[0], args[1])
        left, right = self.labels.get(one), self.labels.get(other)
        rows, inner = self._along(left, -2), self._along(left, -1)  # (…, rows, inner)
        outer, columns = self._along(right, -2), self._along(right, -1)  # (…, outer, columns)
        if left is not None and right is not None and not rows and not columns:
            x, y = left[..., :1, :], right[..., :, :1].transpose(-1, -2)
            self.labels.tie(x, y)
            self.labels.put(result, torch.full((1,) * result.dim(), NONE if inner or outer else FIXED))
        elif right is not None and not outer and not rows and not inner:
            self.labels.put(result, right[..., :1, :])
        elif left is not None and not inner and not outer and not columns:
            self.labels.put(result, left[..., :, :1])
        else:
            self._unknown(name, [one, other], [result])

    @staticmethod
    def _along(labels: Tensor | None, dim: int) -> bool:
        return labels is not None and labels.dim() + dim in varying(labels)

    def _elementwise(self, name: str, given: list[Tensor], known: list[tuple[Tensor, Tensor]], result: Any) -> None:
        """Labels that meet belong together, except those of a mask, one for all channels."""
        results = tensors_in(result)
        if not results:
            return
        shape = results[0].shape
        if name in ("add", "add_"):
            ids = {id(tensor) for tensor in given}
            self.labels.residual |= set([module for module, own in self.labels.stack if ids & set(own)][-1:])
        spread = []
        for tensor, labels in known:
            wide = labels.expand(shape)
            spread.append((set(varying(wide)), wide, [1] * (len(shape) - tensor.dim()) + list(tensor.shape)))
        spread.sort(key=lambda one: (-len(one[0]), one[2] != list(shape)))
        base, wide, _ = spread[0]
        for own, other, size in spread[1:]:
            if own - base and not own & base:  # an outer product: two kinds of channels in one tensor
                self.labels.tie(other, FIXED)
                self.labels.tie(wide, FIXED)
            elif own or not base or (all(size[dim] > 1 for dim in base) and bool((thin(other)[0] == FIXED).all())):
                left, right = thin(wide, other)
                both = (left > NONE) & (right > NONE)
                self.labels.tie(torch.where(both, left, right), torch.where(both, right, left))
                if not bool((left > NONE).all()):
                    wide = torch.where(wide > NONE, wide, other)
        if name.endswith("_"):
            self._overwrite(results[0], wide)
        else:
            self.labels.put(results[0], wide)

    def _overwrite(self, target: Tensor, labels: Tensor) -> None:
        """In place: a view of a tensor made of nothing has the labels of what was added."""
        old = self.labels.get(target)
        if old is not None and old.shape == labels.shape and bool((thin(old)[0] == NONE).any()):
            with suppress(RuntimeError):  # expanded labels: a tensor of its own
                old.copy_(labels)
        self.labels.put(target, labels)
