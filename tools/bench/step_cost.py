"""What an architecture that was never seen before costs a single-path training step, beside the computation itself.

python tools/bench/step_cost.py [--seen 300] [--rounds 40] [--batch 0]
python tools/bench/step_cost.py --sandwich --rounds 10

Every round takes a new architecture twice, in alternating order: with its network built and its slices found in full, and as a
supernet does it, with layers copied and slices kept. Printed are medians of processor time on one thread, and the median of
the ratios of the pairs; the mean has the garbage collector in it, which runs in some rounds. Of all pairs it is checked that
the slices are the same ones.

A sandwich (largest, smallest and two random architectures of ResNet's published space, 4 images of 64 × 48) runs with
gradients that autograd makes of slices, and with gradients that are added in place; they are checked to be equal to the
last bit.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from search_spaces import FAMILIES
from supernet import Supernet
from supernet.sharing import gradients
from supernet.sharing.meta import meta_network
from supernet.sharing.meta_networks import MetaNetworkBuilder
from supernet.sharing.slicing import slices_of
from supernet.sharing.tied_weights import places

CASES = (
    ("litepose_top_down", "small"),
    ("litepose", "small"),
    ("hrnet", "small"),
    ("widehrnet", "small"),
    ("widehrnet", "published"),
)
KEPT = 64  # networks that are kept as a supernet keeps them


class InFull:
    """The step of a supernet that builds the network and finds its slices anew."""

    def __init__(self, supernet: Supernet[Any]) -> None:
        self.supernet = supernet

    def prepare(self, arch: Any) -> Any:
        """Network without weights, slices, places."""
        module = meta_network(self.supernet.build, arch)
        return module.train(), slices_of(module, self.supernet.network), places(module)

    def forward(self, prepared: Any, images: Tensor) -> Any:
        """Outputs of the network on the sliced tensors."""
        module, slices, where = prepared
        stored = dict(self.supernet.network.named_parameters())
        tensors = {name: part.of(stored[part.key]) for name, part in slices.items() if part.key in stored}
        buffers = dict(self.supernet.network.named_buffers())
        tensors |= {name: part.of(buffers[part.key]).clone() for name, part in slices.items() if part.key in buffers}
        return functional_call(module, {name: tensors[first] for name, first in where.items()}, (images,))


class Kept:
    """The step of a supernet as it is."""

    def __init__(self, supernet: Supernet[Any]) -> None:
        self.make = MetaNetworkBuilder(supernet.build, supernet.network)

    def prepare(self, arch: Any) -> Any:
        """Network without weights, and its slices."""
        meta = self.make(arch)
        meta.module.train()
        return meta

    def forward(self, prepared: Any, images: Tensor) -> Any:
        """Outputs of the network on the sliced tensors."""
        return prepared(prepared.parameters() | prepared.buffers(scratch=True), images)


def _timed(call: Callable[[], Any], into: list[float]) -> Any:
    started = time.process_time()
    result = call()
    into.append(1e3 * (time.process_time() - started))
    return result


def measure(family: str, name: str, options: argparse.Namespace) -> None:
    """One space: print a line for each part of the step."""
    module = FAMILIES[family]
    space, rng = module.SPACES[name], np.random.default_rng(0)
    supernet = Supernet(module.build, space).train()
    ways: dict[str, Any] = {"in full": InFull(supernet), "kept": Kept(supernet)}
    for _ in range(options.seen):
        ways["kept"].make(space.sample(rng))
    parts = ("network and slices", "forward", "backward") if options.batch else ("network and slices",)
    times: dict[tuple[str, str], list[float]] = {(way, part): [] for way in ways for part in parts}
    alive: dict[str, deque[Any]] = {way: deque(maxlen=KEPT) for way in ways}
    for index in range(options.rounds):
        arch, found = space.sample(rng), {}
        images = torch.randn(options.batch or 1, 3, *arch.input_hw)
        for way in list(ways)[:: 1 if index % 2 else -1]:
            prepared = _timed(lambda way=way, arch=arch: ways[way].prepare(arch), times[way, parts[0]])  # type: ignore[misc]
            alive[way].append(prepared)
            found[way] = prepared[1] if way == "in full" else prepared.slices
            if options.batch:
                supernet.zero_grad()
                run = ways[way].forward
                outputs = _timed(lambda p=prepared, x=images, run=run: run(p, x), times[way, parts[1]])  # type: ignore[misc]
                loss = torch.stack([output.square().mean() for output in outputs]).sum()
                _timed(loss.backward, times[way, parts[2]])
        if found["in full"].keys() != found["kept"].keys() or any(
            part.key != found["kept"][key].key or repr(part.index) != repr(found["kept"][key].index)
            for key, part in found["in full"].items()
        ):
            raise SystemExit(f"{family} {name}: other slices for {arch}")
    for part in parts:
        full, kept = (np.array(times[way, part]) for way in ways)
        print(
            f"{family} {name}: {part}: {np.median(full):.1f} ms → {np.median(kept):.1f} ms, ratio {np.median(full / kept):.2f} "
            f"(means {full.mean():.1f} → {kept.mean():.1f} ms)",
            flush=True,
        )


def sandwich(rounds: int) -> None:
    """Forward and backward passes of one step, with either kind of gradients."""
    family, rng = FAMILIES["resnet"], np.random.default_rng(0)
    space = family.SPACES["published"]
    supernet = Supernet(family.build, space).train()
    parameters, large = list(supernet.parameters()), gradients.LARGE
    archs = [space.largest, space.smallest, space.sample(rng), space.sample(rng)]
    images = torch.randn(4, 3, 64, 48)
    times: dict[int, list[float]] = {sys.maxsize: [], large: []}

    def passes() -> None:
        for arch in archs:
            supernet(images, arch).square().mean().backward()

    for index in range(rounds):
        found = []
        for gradients.LARGE in list(times)[:: 1 if index % 2 else -1]:
            supernet.zero_grad()
            _timed(passes, times[gradients.LARGE])
            found.append([parameter.grad for parameter in parameters])
        if any((a is None) != (b is None) or not (a is None or torch.equal(a, b)) for a, b in zip(*found, strict=True)):
            raise SystemExit("other gradients")
    gradients.LARGE = large
    plain, added = (np.array(values) for values in times.values())
    print(
        f"resnet published, sandwich of 4: {np.median(plain):.0f} ms → {np.median(added):.0f} ms, "
        f"ratio {np.median(plain / added):.2f}, gradients equal"
    )


def main() -> None:
    """All spaces, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", nargs=2, metavar=("FAMILY", "SPACE"), help="by default the five of the documents")
    parser.add_argument("--seen", type=int, default=300, help="architectures before the first round")
    parser.add_argument("--rounds", type=int, default=40, help="pairs")
    parser.add_argument("--batch", type=int, default=0, help="images of a step; 0: nothing is computed")
    parser.add_argument("--sandwich", action="store_true", help="the gradients of a whole step instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.sandwich:
        sandwich(options.rounds)
        return
    for family, name in [options.space] if options.space else CASES:
        measure(family, name, options)


if __name__ == "__main__":
    main()
