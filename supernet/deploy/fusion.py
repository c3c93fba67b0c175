"""Fuse BatchNorm into the convolutions before it: the same network in fewer operations, for deployment.

In evaluation mode BatchNorm is a factor and a summand for each channel, which a convolution's weight and bias can take. It
folds into a sum of convolutions as well, as LitePose's transposed ones are, which ``torch.nn.utils.fusion`` and runtimes leave.
What feeds what is watched while the network runs once, so that any ``forward`` will do.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
_CONVOLUTIONS, _BATCHNORMS = Convolution.__args__, BatchNorm.__args__
_ADDITIONS = frozenset({Tensor.add, Tensor.__add__, torch.add})


def fuse_batchnorm(network: nn.Module, images: Tensor) -> nn.Module:
    """Fuse every BatchNorm that convolutions alone feed into them: a copy in evaluation mode, with ``nn.Identity`` there.

    A convolution keeps its BatchNorm where something else reads its output or its weights too, and so do layers that run
    more than once. Convolutions with tied weights take their BatchNorms each into weights of its own.

    Args:
        network: not changed.
        images: an input (B, 3, H, W) to run it with.
    """
    fused = copy.deepcopy(network).eval()
    watch = _Watch(fused)
    with torch.no_grad(), watch:
        watch.read(fused(images))
    watch.close()
    names: dict[nn.Module, list[str]] = {}
    for name, module in fused.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    for norm, tensor in watch.normalised.items():
        convolutions = watch.sources(tensor)
        if convolutions and watch.exclusive(norm) and norm.running_mean is not None:
            for index, convolution in enumerate(convolutions):
                _fold(norm, convolution, first=index == 0)
            for name in names[norm]:
                fused.set_submodule(name, nn.Identity())
    return fused


class _Watch(TorchFunctionMode):
    """What convolutions make, what is added, and how often each tensor is read, while the network runs once."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.normalised: dict[BatchNorm, Tensor] = {}
        self.runs: Counter[nn.Module] = Counter()
        self._made: dict[int, Convolution] = {}
        self._sums: dict[int, list[Tensor]] = {}
        self._readers: Counter[int] = Counter()
        self._kept: list[Any] = []  # so that no two tensors get one id
        self._holders: dict[int, list[nn.Module]] = {}
        for module in network.modules():
            for parameter in module.parameters(recurse=False):
                self._holders.setdefault(id(parameter), []).append(module)
        self._hooks = [module.register_forward_hook(self._ran) for module in network.modules()]

    def close(self) -> None:
        """Stop watching modules."""
        for hook in self._hooks:
            hook.remove()

    def read(self, values: Any) -> None:
        """Something reads these tensors."""
        self._readers.update(id(value) for value in tree_leaves(values) if isinstance(value, Tensor))

    def sources(self, tensor: Tensor) -> list[Convolution]:
        """The convolutions whose sum a tensor is, which nothing else reads; none where it is something else."""
        if self._readers[id(tensor)] != 1:
            return []
        if id(tensor) in self._made:
            convolution = self._made[id(tensor)]
            return [convolution] if self.exclusive(convolution) else []
        parts = [self.sources(part) for part in self._sums.get(id(tensor), [])]
        return sum(parts, []) if all(parts) else []

    def exclusive(self, module: nn.Module) -> bool:
        """Whether a module ran once, and nothing but it and the modules with tied parameters read its parameters."""
        return self.runs[module] == 1 and all(
            self._readers[id(parameter)] == sum(self.runs[holder] for holder in self._holders[id(parameter)])
            for parameter in module.parameters(recurse=False)
        )

    def _ran(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.runs[module] += 1
        if isinstance(module, _CONVOLUTIONS):
            self._made[id(output)] = module
        elif isinstance(module, _BATCHNORMS):
            self.normalised[module] = inputs[0]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(isinstance(value, Tensor) for value in tree_leaves(result)):  # not for a question such as x.shape
            self.read((args, kwargs))
            self._kept.append((args, kwargs, result))
        if func in _ADDITIONS and not kwargs and all(isinstance(part, Tensor) for part in args):
            if args[0].shape == args[1].shape:
                self._sums[id(result)] = list(args)
        return result


def _fold(norm: BatchNorm, convolution: Convolution, first: bool) -> None:
    """Scale a convolution as BatchNorm does, in float64; the first of a sum takes the summand, too."""
    assert norm.running_mean is not None and norm.running_var is not None
    weight, bias = convolution.weight, convolution.bias
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        scale = scale * norm.weight.double()
        shift = norm.bias.double() + shift * norm.weight.double()
    old_bias = torch.zeros_like(scale) if bias is None else bias.double()
    new_bias = old_bias * scale + (shift if first else 0)
    if convolution.transposed:  # (in, out of a group, …), the inputs of a group one after the other
        grouped = weight.double().reshape(convolution.groups, -1, *weight.shape[1:])
        new_weight = (grouped * _beside(scale.view(convolution.groups, 1, -1), grouped)).flatten(0, 1)
    else:
        new_weight = weight.double() * _beside(scale, weight)
    convolution.weight = nn.Parameter(new_weight.detach().to(weight))
    convolution.bias = nn.Parameter(new_bias.detach().to(weight)) if first or bias is not None else None


def _beside(scale: Tensor, weight: Tensor) -> Tensor:
    """Factors with as many dimensions as a weight."""
    return scale[(..., *[None] * (weight.dim() - scale.dim()))]
