"""A network that contains a whole search space: the weights of the largest architecture, run as any smaller one.

To run an architecture, its skeleton is built on the meta device by the family's own ``build`` and called on tensors that are
differentiable functions of the stored weights (:mod:`supernet.sharing.slicing`). Extracting it clones those same tensors into an
ordinary module, so that the extracted network computes exactly what the supernet computed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .meta import skeleton
from .protocols import SupportsSpace
from .slicing import Convolution, Part, plan

A = TypeVar("A")


class Supernet(nn.Module, Generic[A]):
    """Weights of ``space.largest``, shared by every architecture of the space.

    Args:
        build: from an architecture to its network, a plain ``nn.Module``.
        space: what may vary; presence and widths of modules have to grow with its options.
        kernel_transforms: learn, for every depthwise convolution, a linear map for each smaller kernel from the centre of
            the stored kernel (Once-for-All, Cai et al. 2020, §3.2). They begin as the identity and belong to the supernet,
            not to the extracted network.
        cached: how many skeletons are kept.

    Raises:
        SharingError: (on use) when an architecture is not a part of the largest network.
    """

    def __init__(
        self,
        build: Callable[[A], nn.Module],
        space: SupportsSpace[A],
        *,
        kernel_transforms: bool = False,
        cached: int = 64,
    ) -> None:
        super().__init__()
        self.build = build
        self.space = space
        self.network = build(space.largest)
        self.transforms = _kernel_transforms(build, space, self.network) if kernel_transforms else nn.ModuleDict()
        self._cached = cached
        self._skeletons: OrderedDict[A, tuple[nn.Module, dict[str, Part]]] = OrderedDict()

    def forward(self, images: Tensor, arch: A) -> Any:
        """Run ``arch`` on the shared weights.

        In training mode BatchNorm uses the batch's statistics; running statistics are written by the largest architecture
        alone, because a part of them would be the statistics of no network. Evaluate extracted, calibrated networks.
        """
        module, parts = self._skeleton(arch)
        module.train(self.training)
        scratch = self.training and arch != self.space.largest
        return functional_call(module, self._tensors(parts, scratch), (images,))

    def extract(self, arch: A) -> nn.Module:
        """``arch`` as an ordinary module with weights of its own, in this supernet's mode (train or eval).

        Raises:
            ArchitectureError: when ``arch`` is outside of the space.
        """
        self.space.encode(arch)  # raises with the place and the reason
        module = skeleton(self.build, arch)
        parts = plan(module, self.network)
        with torch.no_grad():
            tensors = {name: tensor.clone() for name, tensor in self._tensors(parts, False).items()}
        for name, own in module.named_modules():
            prefix = f"{name}." if name else ""
            for key, parameter in own._parameters.items():
                if parameter is not None:
                    own._parameters[key] = nn.Parameter(tensors[prefix + key], parameter.requires_grad)
            for key, buffer in own._buffers.items():
                if buffer is not None:
                    own._buffers[key] = tensors[prefix + key]
        return module.train(self.training)

    def _skeleton(self, arch: A) -> tuple[nn.Module, dict[str, Part]]:
        """The architecture's module without weights, and its part of the stored tensors; the last ones used are kept."""
        if arch in self._skeletons:
            self._skeletons.move_to_end(arch)
        else:
            module = skeleton(self.build, arch)
            self._skeletons[arch] = module, plan(module, self.network)
            while len(self._skeletons) > self._cached:
                self._skeletons.popitem(last=False)
        return self._skeletons[arch]

    def _tensors(self, parts: Mapping[str, Part], scratch: bool) -> dict[str, Tensor]:
        """The tensors of one architecture; ``scratch`` gives throw-away buffers."""
        stored = dict(self.network.named_parameters())
        tensors = {name: part.of(stored[part.key]) for name, part in parts.items() if part.key in stored}
        for name, transform in self.transforms.items():
            key, size = _weight_and_size(name)
            if key in tensors and tensors[key].shape[-1] == size:
                flat = tensors[key].flatten(1)
                tensors[key] = transform(flat).view_as(tensors[key])
        buffers = dict(self.network.named_buffers())
        for name, part in parts.items():
            if part.key in buffers:
                buffer = part.of(buffers[part.key])
                tensors[name] = buffer.clone() if scratch else buffer
        return tensors


def _weight_and_size(name: str) -> tuple[str, int]:
    module, size = name.rsplit("@", 1)
    return f"{module.replace('/', '.')}.weight", int(size)


def _kernel_transforms(build: Callable[[A], nn.Module], space: SupportsSpace[A], network: nn.Module) -> nn.ModuleDict:
    """One linear map per depthwise convolution and smaller kernel, the identity to begin with."""
    transforms = nn.ModuleDict()
    kernels = [position for position, gene in enumerate(space.genes) if gene.kind == "kernel"]
    smaller = max((len(space.genes[position].options) for position in kernels), default=1) - 1
    stored = dict(network.named_modules())
    for index in range(smaller):
        code = space.encode(space.largest)
        code[kernels] = [min(index, len(space.genes[position].options) - 1) for position in kernels]
        for name, module in skeleton(build, space.decode(code)).named_modules():
            if isinstance(module, Convolution) and module.groups == module.in_channels > 1:
                size = module.kernel_size[0]
                if 1 < size < stored[name].kernel_size[0]:
                    linear = nn.Linear(size ** len(module.kernel_size), size ** len(module.kernel_size))
                    nn.init.eye_(linear.weight)
                    nn.init.zeros_(linear.bias)
                    transforms[f"{name.replace('.', '/')}@{size}"] = linear
    return transforms
