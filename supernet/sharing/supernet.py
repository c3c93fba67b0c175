"""The weight-sharing supernet: the weights of a search space's largest network, run or extracted as any smaller one.

To run an architecture, its network is built on the meta device by the family's own ``build`` and called on tensors that are
differentiable functions of the stored weights (:mod:`supernet.sharing.slicing`). Extracting it clones those same tensors into an
ordinary module, so that the extracted network computes exactly what the supernet computed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from .declarations import check_weights
from .meta import meta_network
from .meta_networks import MetaNetwork, MetaNetworkBuilder
from .protocols import SupportsSpace
from .rules import Convolution
from .separate_weights import shared_network
from .slicing import slices_of
from .tied_weights import fill

A = TypeVar("A")


class Supernet(nn.Module, Generic[A]):
    """Supernet: the weights of ``space.largest``, shared by every architecture of the space.

    Args:
        build: from an architecture to its network, a plain ``nn.Module``.
        space: what may vary; presence and widths of modules have to grow with its options.
        kernel_transforms: learn, for every depthwise convolution, a linear map for each smaller kernel from the centre of
            the stored kernel (Once-for-All, Cai et al. 2020, §3.2). They begin as the identity and belong to the supernet,
            not to the extracted network.
        cached: how many networks without weights are kept.
        network: the largest network, where it is there already.

    Raises:
        SharingError: (on use) when an architecture is not a part of the largest network.
    """

    def __init__(
        self,
        build: Callable[[A], nn.Module],
        space: SupportsSpace[A],
        *,
        kernel_transforms: bool = False,
        cached: int = 16,
        network: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.build = build
        self.space = space
        self.network = shared_network(build, space) if network is None else network
        check_weights(self.network)
        self.transforms = _kernel_transforms(build, space, self.network) if kernel_transforms else nn.ModuleDict()
        self._cached = cached
        self._builder: MetaNetworkBuilder[A] | None = None
        self._meta_networks: OrderedDict[A, MetaNetwork] = OrderedDict()

    @classmethod
    def from_module(
        cls,
        model: nn.Module,
        example_inputs: Tensor,
        *,
        include: Sequence[str] = ("*",),
        exclude: Sequence[str] = (),
        fractions: Sequence[float] = (0.5, 0.75, 1.0),
        divisor: int = 8,
        kernels: Sequence[int] = (3, 5, 7),
        importance: str | None = None,
        log: Callable[[str], object] | None = print,
    ) -> Supernet[Any]:
        """Make a supernet of any module in hand, trained or not: its weights are those of the largest network.

        What varies is found by running a copy of it on labels: widths, the kernels of depthwise convolutions, and residual
        blocks that may be left out. The architectures are :class:`~supernet.sharing.from_module.ModuleArch`.

        Args:
            model: any module that takes one tensor; it is copied.
            example_inputs: a batch that it takes, such as images (B, 3, H, W).
            include: patterns of names of modules; channels vary if all modules that they touch are included.
            exclude: patterns of names of modules that stay as they are.
            fractions: the widths, and the least depths, of what the module has.
            divisor: of all smaller widths.
            kernels: sizes of smaller kernels.
            importance: ``"l1"`` sorts channels first, those whose readers have the largest L1 norm to the front, which leaves
                the function as it is; None keeps their order.
            log: is told what varies, and what stays as it is with the reason; None says nothing.

        Raises:
            UserError: when the module cannot be copied or run, or nothing in it may vary.
        """
        from .from_module import Elastic

        found = Elastic(
            model, example_inputs, include=include, exclude=exclude, fractions=fractions, divisor=divisor, kernels=kernels,
            importance=importance,
        )  # fmt: skip
        if log is not None:
            log(str(found))
        supernet: Supernet[Any] = Supernet(found.build, found.space, network=found.module)
        return supernet.train(model.training)

    def forward(self, images: Tensor, arch: A) -> Any:
        """Run an architecture on the shared weights.

        In training mode BatchNorm uses the batch's statistics; running statistics are written by the largest architecture
        alone, because a part of them would be the statistics of no network. Evaluate extracted, calibrated networks.

        Raises:
            ArchitectureError: when ``arch`` is outside of the space.
        """
        meta = self._meta_network(arch)
        meta.module.train(self.training)
        scratch = self.training and arch != self.space.largest
        tensors = self._transformed(meta.parameters()) | meta.buffers(scratch)
        return meta(tensors, images)

    def extract(self, arch: A) -> nn.Module:
        """Extract an architecture as an ordinary module with weights of its own, in this supernet's mode (train or eval).

        Raises:
            ArchitectureError: when ``arch`` is outside of the space.
        """
        self.space.encode(arch)  # raises with the place and the reason
        module = meta_network(self.build, arch)
        slices = slices_of(module, self.network)
        stored = dict(self.network.named_parameters())
        buffers = dict(self.network.named_buffers())
        with torch.no_grad():
            tensors = self._transformed(
                {n: part.of(stored[part.key]) for n, part in slices.items() if part.key in stored}
            )
            tensors |= {n: part.of(buffers[part.key]) for n, part in slices.items() if part.key in buffers}
            fill(module, {name: tensor.clone() for name, tensor in tensors.items()})
        for part in module.modules():
            part.__dict__.pop("slices", None)  # it is a network of its own now
        return module.train(self.training)

    @torch.no_grad()
    def insert(self, arch: A, network: nn.Module) -> None:
        """Replace the weights and statistics that an architecture shares by those of its network: the inverse of :meth:`extract`.

        What other architectures share with it changes with them; everything else stays.

        Raises:
            ArchitectureError: when ``arch`` is outside of the space.
        """
        self.space.encode(arch)
        stored, own = self.network.state_dict(), network.state_dict()
        for name, part in slices_of(network, self.network).items():
            part.put(stored[part.key], own[name])

    def _meta_network(self, arch: A) -> MetaNetwork:
        """The architecture's network without weights, and its slices of the stored tensors; the last ones used are kept."""
        if self._builder is None or self._builder.network is not self.network:
            self._builder = MetaNetworkBuilder(self.build, self.network)
            self._meta_networks.clear()
        if arch in self._meta_networks:
            self._meta_networks.move_to_end(arch)
        else:
            self.space.encode(arch)  # raises with the place and the reason
            self._meta_networks[arch] = self._builder(arch)
            while len(self._meta_networks) > self._cached:
                self._meta_networks.popitem(last=False)
        return self._meta_networks[arch]

    def _transformed(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """An architecture's parameters by their first names, with the transforms of its kernels."""
        for name, transform in self.transforms.items():
            key, size = _weight_and_size(name)
            if key in tensors and tensors[key].shape[-1] == size:
                flat = tensors[key].flatten(1)
                tensors[key] = transform(flat).view_as(tensors[key])
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
        small = meta_network(build, space.decode(code))
        weights = dict(small.named_parameters())  # without the other names of tied ones
        for name, module in small.named_modules():
            depthwise = isinstance(module, Convolution) and module.groups == module.in_channels > 1
            if depthwise and f"{name}.weight" in weights:
                size = module.kernel_size[0]
                if 1 < size < stored[name].kernel_size[0]:
                    linear = nn.Linear(size ** len(module.kernel_size), size ** len(module.kernel_size))
                    nn.init.eye_(linear.weight)
                    nn.init.zeros_(linear.bias)
                    transforms[f"{name.replace('.', '/')}@{size}"] = linear
    return transforms
