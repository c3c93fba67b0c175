"""How long does a training step of LitePose take, with the weight gradients of its depthwise convolutions in strips and without?

Forward and backward of one network, by processor time, in pairs of each memory format; the gradients of both are compared.

python tools/bench/depthwise.py [--kernel 7] [--rounds 20]
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces import litepose, litepose_top_down
from supernet.cost.macs import count
from supernet.training.depthwise import StripwiseDepthwise


def cases(kernel: int) -> dict[str, tuple[nn.Module, int, tuple[int, int]]]:
    """Name → network, images of a step, size of the input."""
    space = litepose_top_down.SMALL.restrict({"kernel": [kernel]})
    arch = space.sample(np.random.default_rng(1))
    published = litepose.published()["litepose-XS"]
    return {
        f"top-down, kernel {kernel}": (litepose_top_down.build(arch, 14), 32, arch.input_hw),
        "litepose-XS (kernel 7)": (litepose.build(published), 8, (128, 128)),
    }


def step(network: nn.Module, images: Tensor, strips: bool) -> tuple[float, list[Tensor]]:
    """Seconds of processor time, and the gradients."""
    network.zero_grad()
    started = time.process_time()
    with StripwiseDepthwise() if strips else nullcontext():
        outputs = network(images)
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    torch.stack([output.square().mean() for output in outputs]).sum().backward()
    seconds = time.process_time() - started
    return seconds, [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


def main() -> None:
    """Print a line for each network and memory format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", type=int, default=7, choices=(3, 5, 7, 9))
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, (network, batch, size) in cases(options.kernel).items():
        macs = count(network, (1, 3, *size)).macs
        for layout in (torch.contiguous_format, torch.channels_last):
            network.to(memory_format=layout)  # type: ignore[call-overload]
            images = torch.randn(batch, 3, *size).contiguous(memory_format=layout)
            times: dict[bool, list[float]] = {False: [], True: []}
            gradients: dict[bool, Any] = {}
            for index in range(options.rounds + 1):
                for strips in (True, False) if index % 2 else (False, True):
                    seconds, gradients[strips] = step(network, images, strips)
                    times[strips].append(seconds)
            ratios = [old / new for old, new in zip(times[False][1:], times[True][1:], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            difference = max(
                float((a - b).abs().max() / a.abs().max().clamp_min(1e-30))
                for a, b in zip(gradients[False], gradients[True], strict=True)
            )
            print(
                f"{name}, {macs / 1e6:.1f} MMACs, batch {batch}, {str(layout).removeprefix('torch.')}: "
                f"{statistics.median(times[False]):.3f} s, in strips {statistics.median(times[True]):.3f} s, "
                f"{middle:.2f} x (quartiles {low:.2f} to {high:.2f}); largest difference of a gradient {difference:.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
