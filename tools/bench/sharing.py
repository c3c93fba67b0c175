"""Is the extracted network the supernet's, and what does sharing cost? Prints differences, ratios and times of one run.

python tools/bench/sharing.py [--architectures 1000]
python tools/bench/sharing.py --family all --architectures 200
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from search_spaces import FAMILIES, litepose
from supernet import Supernet
from supernet.io import checkpoint


def exactness(families: list[str], count: int) -> None:
    """The largest difference between the supernet and the extracted network, over random architectures of each space."""
    for family, (name, space) in ((FAMILIES[f], item) for f in families for item in FAMILIES[f].SPACES.items()):
        side = max(64, getattr(family, "SMALLEST_INPUT", 0))
        size = (side, side) if "resolution" in space.kinds else space.smallest.input_hw
        inputs: Any = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
        inputs = getattr(family, "example_input", lambda images: images)(inputs)  # and a few boxes, for detectors
        supernet = Supernet(family.build, space).eval()
        generator = torch.Generator().manual_seed(1)
        for buffer in supernet.network.buffers():
            if buffer.dtype.is_floating_point:
                buffer.uniform_(0.5, 1.5, generator=generator)
        rng, worst = np.random.default_rng(0), 0.0
        with torch.inference_mode():
            for _ in range(count):
                arch = space.sample(rng)
                pairs = zip(supernet(inputs, arch), supernet.extract(arch)(inputs), strict=True)
                worst = max(worst, *(float((shared - own).abs().max()) for shared, own in pairs))
        label = f"{family.__name__.rsplit('.', 1)[-1]} {name}"
        print(f"{label:26} {count:,} random architectures, float32, eval: largest difference {worst}", flush=True)


def step_ratio(rounds: int) -> None:
    """Forward and backward of LitePose-XS out of the supernet against the same static network, paired, CPU time."""
    arch = litepose.published()["litepose-XS"]
    supernet = Supernet(litepose.build, litepose.SPACE).train()
    static = supernet.extract(arch).train()
    memory: Any = {"memory_format": torch.channels_last}
    supernet.to(**memory)
    static.to(**memory)
    images = torch.randn(4, 3, 256, 256).to(**memory)
    ratios, statics = [], []
    for index in range(rounds + 1):
        seconds = {}
        pair: list[tuple[str, nn.Module, Callable[[], Any]]] = [
            ("static", static, lambda: static(images)),
            ("supernet", supernet, lambda: supernet(images, arch)),
        ]
        for name, module, forward in pair if index % 2 else pair[::-1]:
            module.zero_grad()
            started = time.process_time()
            torch.stack([output.square().mean() for output in forward()]).sum().backward()
            seconds[name] = time.process_time() - started
        if index:  # the first round builds the network without weights
            ratios.append(seconds["supernet"] / seconds["static"])
            statics.append(seconds["static"])
    quartiles = statistics.quantiles(ratios, n=4)
    print(
        f"LitePose-XS, 256 px, batch 4, {rounds} pairs, {torch.get_num_threads()} thread: supernet / static step "
        f"{quartiles[1]:.3f} (quartiles {quartiles[0]:.3f} to {quartiles[2]:.3f}); static {statistics.median(statics):.3f} s"
    )


def transfer(rounds: int) -> None:
    """Cutting LitePose-L out of the supernet and saving it, without calibration."""
    arch = litepose.published()["litepose-L"]
    supernet = Supernet(litepose.build, litepose.SPACE).eval()
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            started = time.perf_counter()
            weights = checkpoint.packed(supernet.extract(arch).state_dict())
            checkpoint.save(Path(folder) / "weights.pt", {"state_dict": weights})
            times.append(1e3 * (time.perf_counter() - started))
    print(f"LitePose-L, slice, clone and save, {rounds} times: median {statistics.median(times):.0f} ms")


def main() -> None:
    """All three, or exactness for every family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="litepose", choices=["all", *FAMILIES], help="all: nothing is timed")
    parser.add_argument("--architectures", type=int, default=1000, help="random architectures of each space")
    parser.add_argument("--rounds", type=int, default=15, help="repetitions of each timing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.family == "all":
        exactness(list(FAMILIES), options.architectures)
        return
    step_ratio(options.rounds)
    transfer(options.rounds)
    exactness([options.family], options.architectures)


if __name__ == "__main__":
    main()
