"""Build networks on PyTorch's meta device: without weights and without initialising any, to be called on other tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from .labels import tensors_in
from .tied_weights import fill, first_names

A = TypeVar("A")
_FILLING = (torch.Tensor.zero_, torch.Tensor.fill_, torch.Tensor.uniform_, torch.Tensor.normal_)
_INITIALISERS = frozenset(
    [function for name, function in vars(nn.init).items() if name.endswith("_") and not name.startswith("_")]
) | frozenset(_FILLING)


class _NoWeights(TorchFunctionMode):
    """Tensors are created on the meta device and not initialised."""

    def __init__(self) -> None:
        super().__init__()
        self.factories = _device_constructors()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _INITIALISERS:
            return args[0] if args else kwargs["tensor"]
        if func in self.factories and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


@contextmanager
def no_weights() -> Iterator[None]:
    """Within this context tensors are created on the meta device and not initialised."""
    with torch.inference_mode(False), _NoWeights(), torch.no_grad():
        yield


def meta_network(build: Callable[[A], nn.Module], arch: A) -> nn.Module:
    """Build the network of an architecture on the meta device, about twice as fast as with initialised weights.

    A constructor that computes with tensors, or keeps some that are no parameters or buffers, needs values: its network is built
    with them, and only its parameters and buffers are moved to the meta device.
    """
    try:
        with no_weights():
            network = build(arch)
    except (RuntimeError, TypeError):  # such as for torch.linspace(…).item()
        return without_weights(build, arch)
    return without_weights(build, arch) if keeps_tensors(network) else network


def keeps_tensors(network: nn.Module) -> bool:
    """Whether modules have plain attributes on the meta device, which would never have values."""
    for module in network.modules():
        if type(module).__module__.startswith("torch.nn."):
            continue
        for value in vars(module).values():
            if isinstance(value, Tensor | list | tuple) and any(tensor.is_meta for tensor in tensors_in(value)):
                return True
    return False


def without_weights(build: Callable[[A], nn.Module], arch: A) -> nn.Module:
    """Build a network with values, and then move its parameters and buffers to the meta device."""
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]), torch.no_grad():
        network = build(arch)
        fill(network, {name: tensor.to("meta") for tensor, name in first_names(network).items()})
    return network
