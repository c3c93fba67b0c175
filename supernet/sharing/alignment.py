"""Check by computing that smaller networks are parts of the largest: zero what they do not use, and the outputs agree."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from .declarations import SharingError
from .labels import tensors_in
from .meta import meta_network
from .probes import RestrictableSpace, image_batch, probes
from .separate_weights import shared_network
from .slicing import canonical_modules, slices_of
from .tied_weights import fill, first_names

A = TypeVar("A")


def check_alignment(
    build: Callable[[A], nn.Module],
    space: RestrictableSpace[A],
    input_shape: Callable[[A], tuple[int, ...]] = image_batch,
    *,
    unaligned: Sequence[str] = (),
    architectures: Sequence[A] | None = None,
    network: nn.Module | None = None,
    tolerance: float = 1e-10,
    seed: int = 0,
) -> float:
    """Check that the largest network, with all that a smaller one does not use set to zero, computes that smaller one.

    Both have the same random weights and run in float64 in evaluation mode. A mean, variance or root mean square over channels,
    and the default scale of attention, are taken over the channels that are used. Layers that the smaller network lacks are
    taken out of containers that say ``zero_is_identity = False``: behind a post-norm, say, zeros are not the identity.

    Args:
        build: from an architecture to its network.
        space: the space.
        input_shape: from an architecture to the shape of its input, batch first.
        unaligned: kinds of choices, or patterns of their paths, of which this cannot be; they stay at their largest option.
        architectures: which ones; by default the deepest of the smallest layers, the smallest network and a random one.
        network: the largest network, whose weights are taken in place of random ones; it is copied.
        tolerance: allowed difference, relative to the largest value of each output.
        seed: of weights and images.

    Returns:
        The largest relative difference found.

    Raises:
        SharingError: when outputs differ by more, with the architecture.
    """
    found = 0.0
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stored = _randomised((shared_network(build, space) if network is None else copy.deepcopy(network)).double())
        state = {name: tensor.clone() for tensor, name in first_names(stored).items()}
        for arch in probes(space, unaligned) if architectures is None else architectures:
            small = meta_network(build, arch).double()
            slices = slices_of(small, stored)
            fill(small, {name: part.of(state[part.key]).clone() for name, part in slices.items()})
            big = shared_network(build, space).double()
            used = {name: torch.zeros_like(tensor, dtype=torch.bool) for name, tensor in state.items()}
            for part in slices.values():
                part.mark(used[part.key])
            fill(big, {name: _zeroed(name, tensor, used[name]) for name, tensor in state.items()})
            leave_out(big, small)
            images = torch.randn(input_shape(arch), dtype=torch.float64)
            with _UsedChannels():
                whole = tensors_in(big.eval()(images))
            for one, other in zip(whole, tensors_in(small.eval()(images)), strict=True):
                difference = float((one - other).abs().max() / other.abs().max().clamp_min(1e-30))
                if not difference <= tolerance:
                    raise SharingError(
                        f"outputs of {arch} differ by {difference:.1e} from the largest network with all else at zero; "
                        "a part of it meets other weights there, or it normalises over channels by itself"
                    )
                found = max(found, difference)
    return found


def _randomised(network: nn.Module) -> nn.Module:
    """Affine parameters and running statistics of no special value, so that a wrong slice shows."""
    for tensor, name in first_names(network).items():
        if tensor.is_floating_point() and tensor.dim() == 1:
            low, high = (0.5, 1.5) if name.endswith(("weight", "running_var")) else (-0.2, 0.2)
            tensor.uniform_(low, high)
    return network


def _zeroed(name: str, tensor: Tensor, used: Tensor) -> Tensor:
    """A tensor without what is not used; a variance of zero would divide by eps."""
    keep = name.endswith("running_var") or not tensor.is_floating_point()
    return tensor.clone() if keep else tensor * used


def leave_out(big: nn.Module, small: nn.Module) -> bool:
    """Take out layers that the smaller network lacks, where zeros would not make them the identity; whether there were any."""
    found = False
    for name, _, module in canonical_modules(small):
        if type(module) is nn.Identity and type(big.get_submodule(name)) is not nn.Identity:
            parent, _, key = name.rpartition(".")
            big.get_submodule(parent)._modules[key] = nn.Identity()
            found = True
        elif not getattr(module, "zero_is_identity", True):
            renamed: dict[str, str] = getattr(module, "canonical", {})
            container = big.get_submodule(name)
            names = [renamed.get(key, key) for key, _ in module.named_children()]
            found |= names != list(container._modules)
            container._modules = {key: container.get_submodule(key) for key in names}
    return found


class _UsedChannels(TorchFunctionMode):
    """Normalises over the channels that are used: those that are not are zero everywhere."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _NORMS:
            given = {**dict(zip(_NORMS[func], args, strict=False)), **kwargs}
            x, weight = given["input"], given.get("weight")
            used = _used(weight if weight is not None else x)
            if len(given["normalized_shape"]) == 1 and not bool(used.all()):
                inside = {kind: given[kind][used] for kind in ("weight", "bias") if given.get(kind) is not None}
                part = func(
                    x[..., used], (int(used.sum()),), **inside, **({"eps": given["eps"]} if "eps" in given else {})
                )
                return torch.zeros_like(x).index_copy_(-1, used.nonzero()[:, 0], part)
        if func is F.group_norm and (args[1] if len(args) > 1 else kwargs["num_groups"]) == 1:
            x, names = (args[0] if args else kwargs["input"]), ("input", "num_groups", "weight", "bias", "eps")
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            used = _used(x.movedim(1, -1))
            inside = {kind: given[kind][used] for kind in ("weight", "bias") if given.get(kind) is not None}
            part = func(x[:, used], 1, **inside, eps=given.get("eps", 1e-5))
            return torch.zeros_like(x).index_copy_(1, used.nonzero()[:, 0], part)
        if func is F.scaled_dot_product_attention and kwargs.get("scale") is None and len(args) < 7:
            kwargs["scale"] = int(_used(args[0] if args else kwargs["query"]).sum()) ** -0.5
        if func is F.multi_head_attention_forward:
            args = _scaled(args, kwargs)
        return func(*args, **kwargs)


_NORMS: dict[Any, tuple[str, ...]] = {F.layer_norm: ("input", "normalized_shape", "weight", "bias", "eps")}
if hasattr(F, "rms_norm"):
    _NORMS[F.rms_norm] = ("input", "normalized_shape", "weight", "eps")


def _used(x: Tensor) -> Tensor:
    """Which entries of the last dimension are not zero everywhere: (n,)."""
    used: Tensor = (x != 0).reshape(-1, x.shape[-1]).any(0)
    return used


def _scaled(args: Any, kwargs: dict[str, Any]) -> Any:
    """Arguments of ``F.multi_head_attention_forward`` whose queries make up for a scale by the width of all lanes."""
    names = "query key value embed_dim num_heads in_proj_weight in_proj_bias bias_k bias_v add_zero_attn dropout out_proj_weight"
    given = dict(zip(names.split(), args, strict=False))
    width, heads = given["embed_dim"], given["num_heads"]
    lanes = width // heads
    used = int(_used(given["out_proj_weight"]).view(heads, lanes).sum(1).max())
    factor = (lanes / used) ** 0.5
    changed = dict(given)
    if given["in_proj_weight"] is not None:
        changed["in_proj_weight"] = torch.cat(
            [given["in_proj_weight"][:width] * factor, given["in_proj_weight"][width:]]
        )
    else:
        kwargs["q_proj_weight"] = kwargs["q_proj_weight"] * factor
    if given["in_proj_bias"] is not None:
        changed["in_proj_bias"] = torch.cat([given["in_proj_bias"][:width] * factor, given["in_proj_bias"][width:]])
    return (*changed.values(), *args[len(given) :])
