"""A supernet's training step: mixed precision, channels-last and a fused optimiser against plain float32, on one GPU.

python tools/bench/gpu_step.py [--batch 32 64] [--steps 20]
python tools/bench/gpu_step.py --device cpu --size 64 --batch 2 --steps 1      # does it run?

The supernets have LitePose-S and WideHRNet-18-SE as their largest networks. A step is a sandwich of four architectures, which
learn from the largest one. Every way trains the same architectures on the same numbers; plain is float32 as PyTorch has
it by default (convolutions may use TF32), in contiguous memory, with an optimiser that is not fused.
"""

from __future__ import annotations

import argparse
import gc
import glob
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces import Space, litepose, widehrnet
from supernet import Supernet
from supernet.errors import UserError
from supernet.pose.bottom_up.losses import BottomUpLoss
from supernet.pose.top_down.losses import PersonLoss
from supernet.sharing.meta import meta_network
from supernet.training.sampling import Sampler
from supernet.training.schedule import Phase, Plan, Step
from supernet.training.trainer import Trainer

JOINTS, PEOPLE = 17, 30
WARM_UP = 3  # steps that are not timed


@dataclass(frozen=True)
class Way:
    """How a step is computed."""

    name: str
    precision: torch.dtype | None = None
    fast: bool = False  # channels-last and a fused optimiser


WAYS = (
    Way("float32"),
    Way("bfloat16, channels-last, fused", torch.bfloat16, True),
    Way("float16, channels-last, fused", torch.float16, True),
)


@dataclass(frozen=True)
class Case:
    """A supernet and its loss."""

    name: str
    family: ModuleType
    space: Space[Any]
    loss: BottomUpLoss | PersonLoss

    @property
    def build(self) -> Callable[[Any], nn.Module]:
        """From an architecture to its network."""
        return partial(self.family.build, joints=JOINTS)

    def trainer(self, way: Way, device: torch.device) -> Trainer[Any]:
        """Fresh weights and their optimiser."""
        torch.manual_seed(0)
        supernet = Supernet(self.build, self.space).to(device)
        if way.fast:
            supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.Adam(supernet.parameters(), fused=way.fast)
        return Trainer(
            supernet, supernet, self.loss, optimizer, dict, distillation="inplace", precision=way.precision
        )  # fmt: skip

    def batch(self, images: int, input_hw: tuple[int, int], way: Way, device: torch.device) -> dict[str, Any]:
        """Random images, and answers of the sizes that the network's outputs have."""
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(images, 3, *input_hw, generator=generator).to(device)
        if way.fast:
            inputs = inputs.to(memory_format=torch.channels_last)
        network = meta_network(self.build, self.space.largest).eval()
        outputs = network(torch.empty(images, 3, *input_hw, device="meta"))
        sizes = [output.shape[2:] for output in ([outputs] if isinstance(outputs, Tensor) else outputs)]
        heatmaps = [torch.rand(images, JOINTS, *size, generator=generator).to(device) for size in sizes]
        if isinstance(self.loss, PersonLoss):
            weights = torch.ones(images, JOINTS, device=device)
            return {"inputs": inputs, "heatmaps": heatmaps[-1], "weights": weights}
        places = torch.randint(sizes[0].numel(), (images, PEOPLE, JOINTS), generator=generator)
        joints = torch.stack([places, torch.ones_like(places)], dim=-1).to(device)
        masks = [torch.ones(images, *size, device=device) for size in sizes]
        return {"inputs": inputs, "heatmaps": heatmaps, "masks": masks, "joints": joints}


def case(name: str, family: ModuleType, space: Space[Any], variant: str, loss: BottomUpLoss | PersonLoss) -> Case:
    """A part of a space that has a published network as its largest, at that network's resolution."""
    arch = family.published()[variant]
    kept: dict[str, Any] = {
        glob.escape(gene.path): list(gene.options[: index + 1])
        for gene, index in zip(space.genes, space.encode(arch), strict=True)
        if index >= 0
    }
    part = space.restrict(kept)
    return Case(name, family, part.restrict({"resolution": 1}) if "resolution" in part.kinds else part, loss)


CASES = {
    "litepose": partial(case, "LitePose-S", litepose, litepose.WIDE, "litepose-S", BottomUpLoss(JOINTS)),
    "widehrnet": partial(
        case, "WideHRNet-18-SE", widehrnet, widehrnet.SPACE, "widehrnet_18_se_coco_256x192", PersonLoss()
    ),
}


@dataclass(frozen=True)
class Figures:
    """Of one way."""

    images_per_second: float
    memory_mib: float  # peak of the device's; 0 on a CPU
    loss: float  # of the last step


def measure(case: Case, way: Way, images: int, input_hw: tuple[int, int], steps: int, device: torch.device) -> Figures:
    """Run some steps; the median step counts.

    Raises:
        UserError: the device's memory is full.
    """
    cuda = device.type == "cuda"
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    trainer, batch = case.trainer(way, device), case.batch(images, input_hw, way, device)
    sampler = Sampler(case.space, "sandwich", 2)
    plan = Plan([Phase("bench", sampler, WARM_UP + steps, lambda _: 1e-3)], images, images, seed=0)
    clock: list[float] = []
    losses: list[float] = []

    def on_step(_: Step[Any], figures: dict[str, float]) -> bool:
        if cuda:
            torch.cuda.synchronize(device)
        clock.append(time.perf_counter())
        losses.append(figures["loss"])
        return True

    trainer.run(plan, repeat(batch), on_step)
    seconds = [after - before for before, after in zip(clock, clock[1:], strict=False)][WARM_UP - 1 :]
    peak = torch.cuda.max_memory_allocated(device) if cuda else 0
    return Figures(images / statistics.median(seconds), peak / 2**20, losses[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Every supernet, batch and way; the ratios are to the first way of the same supernet and batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", type=torch.device)
    parser.add_argument("--family", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--batch", nargs="+", default=[32, 64], type=int)
    parser.add_argument("--size", type=int, default=0, help="longer side of the input, pixels; 0 = the network's own")
    parser.add_argument("--steps", type=int, default=20, help="timed ones")
    options = parser.parse_args(arguments)
    device = options.device
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{where}, PyTorch {torch.__version__}, median of {options.steps} steps of 4 architectures")
    print("| supernet | input | batch | way | images/s | ratio | peak MiB | ratio | last loss |\n" + "|---" * 9 + "|")
    for made in (CASES[family]() for family in options.family):
        height, width = made.space.largest.input_hw
        scale = options.size / max(height, width) if options.size else 1
        input_hw = max(32, round(height * scale / 32) * 32), max(32, round(width * scale / 32) * 32)
        for images in options.batch:
            plain: Figures | None = None
            for way in WAYS:
                row = f"| {made.name} | {input_hw[1]} x {input_hw[0]} | {images} | {way.name} |"
                try:
                    figures = measure(made, way, images, input_hw, options.steps, device)
                except UserError:
                    print(f"{row} memory full | | | | |", flush=True)
                    continue
                plain = plain or (figures if way is WAYS[0] else None)
                speed = f"{figures.images_per_second / plain.images_per_second:.2f}" if plain else ""
                memory = f"{figures.memory_mib / plain.memory_mib:.2f}" if plain and plain.memory_mib else ""
                print(
                    f"{row} {figures.images_per_second:.1f} | {speed} | {figures.memory_mib:.0f} | {memory} | "
                    f"{figures.loss:.4f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
