"""Tied weights: one tensor under several names, because two modules hold it or one module stands in two places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


def first_names(network: nn.Module) -> dict[Tensor, str]:
    """The name of every parameter and buffer; of tied ones the first, as ``named_parameters`` gives it."""
    names: dict[Tensor, str] = {}
    for name, tensor in _registered(network):
        names.setdefault(tensor, name)
    return names


def places(network: nn.Module) -> dict[str, str]:
    """From every name under which a module holds a tensor to the first name of that tensor; each module once."""
    names = first_names(network)
    return {name: names[tensor] for name, tensor in _registered(network)}


def call_with(network: nn.Module, tensors: Mapping[str, Tensor], where: Mapping[str, str], images: Tensor) -> Any:
    """Call a network on other tensors than its own, which it has again afterwards.

    ``functional_call`` alone would leave them in a module that stands in two places.

    Args:
        network: any network that takes one tensor.
        tensors: by the first name of what each stands in for.
        where: :func:`places` of the network.
        images: its input.
    """
    return functional_call(
        network, {name: tensors[first] for name, first in where.items()}, (images,), tie_weights=False
    )


def fill(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors in the place of a network's own, by their first names; parameters stay parameters, what is tied stays tied."""
    names = first_names(network)
    parameters = {own: nn.Parameter(tensors[names[own]], own.requires_grad) for own in network.parameters()}
    for module in network.modules():
        for key, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[key] = parameters[parameter]
        for key, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[key] = tensors[names[buffer]]
        if isinstance(module, nn.RNNBase):  # keeps a list of its weights besides
            module._flat_weights = [getattr(module, name, None) for name in module._flat_weights_names]


def _registered(network: nn.Module) -> list[tuple[str, Tensor]]:
    return [
        (f"{prefix}.{name}" if prefix else name, tensor)
        for prefix, module in network.named_modules()
        for name, tensor in (*module._parameters.items(), *module._buffers.items())
        if tensor is not None
    ]
