"""What a module may declare about its channels, and what of it is refused because nothing would read it."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from ..errors import UserError

DECLARATIONS = ("sources", "targets")


class SharingError(UserError):
    """A smaller network is not a part of the largest one; names the module and the reason."""


def check_declarations(module: nn.Module, read: Collection[str]) -> None:
    """Refuse what a module declares and its rule would not read, and weights that are not there yet.

    Args:
        module: any module.
        read: the declarations that its rule reads.

    Raises:
        SharingError: with the reason.
    """
    if _is_lazy(module):
        raise SharingError(f"{type(module).__name__} has no weights before it has run; write the number of its inputs")
    for name in DECLARATIONS:
        declared = getattr(module, name, None)
        widths = isinstance(declared, list | tuple) and all(isinstance(width, int) for width in declared)
        if widths and (is_computed(module) or name not in read):
            raise SharingError(
                f"nothing reads {name} of {_kind(module)}; declare them of a layer with weights that has parts"
            )


def check_weights(network: nn.Module) -> None:
    """Refuse a network of which some module has no weights yet.

    Raises:
        SharingError: naming the module.
    """
    for name, module in network.named_modules():
        if _is_lazy(module):
            kind = type(module).__name__
            raise SharingError(
                f"module {name}: {kind} has no weights before it has run; run the network once on an example"
            )


def _is_lazy(module: nn.Module) -> bool:
    tensors = (*module._parameters.values(), *module._buffers.values())
    return any(tensor is not None and is_lazy(tensor) for tensor in tensors)


def is_computed(module: nn.Module) -> bool:
    """Whether a layer's weight is computed from other tensors: a parametrisation, weight_norm, spectral_norm, pruning."""
    own = module._parameters
    return parametrize.is_parametrized(module) or "weight_g" in own or "weight_orig" in own


def _kind(module: nn.Module) -> str:
    return type(module).__name__ + (" whose weight is computed" if is_computed(module) else "")


def type_before_parametrizations(module: nn.Module) -> type[nn.Module]:
    """The type of a module, also of one that a parametrisation gave a type of its own."""
    kind: type[nn.Module] = parametrize.type_before_parametrizations(module)
    return kind
