"""Zero-cost proxies: what is said of a network before it is trained, as a baseline for a supernet's ranking."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def synflow(network: nn.Module, input_hw: tuple[int, int]) -> float:
    """SynFlow (Tanaka et al., "Pruning neural networks without any data", NeurIPS 2020), its logarithm.

    The sum over the parameters of |parameter × gradient| of a network whose parameters are all made positive and whose
    BatchNorm statistics stay fresh, shown an image of ones; in float64, as the products of many layers are large.

    Args:
        network: on the CPU, not changed; its output is a tensor or a list of tensors.
        input_hw: height and width of the input, pixels.
    """
    network = copy.deepcopy(network).double().eval()
    tensors = [parameter for parameter in network.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter in tensors:
            parameter.abs_()
    outputs: Tensor | list[Tensor] = network(torch.ones(1, 3, *input_hw, dtype=torch.float64))
    parts = [outputs] if isinstance(outputs, Tensor) else outputs
    total = torch.stack([part.sum() for part in parts]).sum()
    gradients = torch.autograd.grad(total, tensors, allow_unused=True)
    pairs = zip(tensors, gradients, strict=True)
    parts = [(tensor * grad).abs().sum() for tensor, grad in pairs if grad is not None]
    return torch.stack(parts).detach().sum().log().item()
