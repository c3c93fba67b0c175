"""Peak memory by hand, against what a run really holds, and tabulated for whole spaces; and of this process in a long run."""

from __future__ import annotations

import ctypes
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces import FAMILIES, Space, choice, repeat
from supernet.cli import search
from supernet.cost.cost_model import CostModel
from supernet.cost.peak_memory import activations, peak_memory
from supernet.pipeline.progress import Progress
from supernet.pipeline.train import train_supernet
from supernet.pipeline.training import new_supernet
from supernet.sharing.meta import meta_network
from tests.tiny_run import demo, small_demo


class Chain(nn.Module):
    """A convolution, a normalisation, an activation in place or not, views, and a skip connection to the end."""

    def __init__(self, inplace: bool, skip: bool) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.act, self.last, self.skip = nn.ReLU(inplace), nn.Conv2d(8, 4, 1), skip

    def forward(self, x: Tensor) -> Any:
        y = self.norm(self.conv(x))
        first, second = self.act(y).chunk(2, 1)
        z = self.last(torch.cat([second, first], 1))
        return (z, y) if self.skip else z


IMAGE, WIDE, NARROW = 4 * 3 * 32 * 32, 4 * 8 * 16 * 16, 4 * 4 * 16 * 16  # bytes


@pytest.mark.parametrize(
    ("inplace", "skip", "peak"),
    [
        (True, False, IMAGE + WIDE),  # the convolution; later two wide ones at most
        (False, False, IMAGE + WIDE),
        (True, True, IMAGE + WIDE),  # in place: what is skipped is what is chunked
        (False, True, 3 * WIDE),  # the concatenation, while what is skipped waits
    ],
)
def test_by_hand(inplace: bool, skip: bool, peak: int) -> None:
    network = Chain(inplace, skip)
    assert peak_memory(network, (1, 3, 32, 32)) == peak
    assert peak_memory(network, (2, 3, 32, 32)) == 2 * peak
    assert network.training and network.conv.weight.device.type == "cpu"


def test_every_tensor_has_a_name_and_a_life() -> None:
    found = activations(Chain(inplace=False, skip=True), (1, 3, 32, 32))
    assert found.at(next(iter(found.operators))) == {
        "input": (1, 3, 32, 32, 4),
        "conv.weight convolution.default 1 0": (1, 8, 16, 16, 4),
    }
    widest = max(found.bytes().items(), key=lambda item: item[1])
    assert widest == ("norm.weight cat.default 1", 3 * WIDE)
    assert not any("last.weight" in name for name in found.at("norm.weight cat.default 1"))


@dataclass(frozen=True)
class Arch:
    """Stages that are all kept for the end, with blocks that widen inside."""

    side: int
    widths: tuple[int, ...]
    expansions: tuple[int, ...]

    @property
    def input_hw(self) -> tuple[int, int]:
        return self.side, self.side


SPACE: Space[Arch] = Space(
    Arch(choice(16, 32), (choice(2, 4), choice(4, 8, 20), choice(8, 40)), repeat(choice(1, 2, 9), choice(1, 3)))
)


class Kept(nn.Module):
    def __init__(self, arch: Arch) -> None:
        super().__init__()
        ends = (3, *arch.widths)
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in zip(ends, ends[1:], strict=False))
        last = arch.widths[-1]
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(last, last * e, 1), nn.ReLU(), nn.Conv2d(last * e, last, 1))
            for e in arch.expansions
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        for block in self.up:
            x = x + block(x)
        return [*features, x]


@pytest.mark.parametrize(
    ("build", "space"),
    [(Kept, SPACE), (FAMILIES["litepose"].build, FAMILIES["litepose"].SPACES["small"])],
    ids=["kept", "litepose"],
)
def test_tables_equal_counting(build: Any, space: Space[Any]) -> None:
    model, codes = CostModel(build, space, checks=6), space.sample_codes(2000, np.random.default_rng(3))
    memory = model.memory(codes)
    ends = np.stack([space.encode(space.smallest), space.encode(space.largest)])
    for code, said in zip([*codes[:12], *ends], [*memory[:12].tolist(), *model.memory(ends).tolist()], strict=True):
        arch = space.decode(code)
        assert said == peak_memory(meta_network(build, arch), (1, 3, *arch.input_hw))


def test_the_whole_space_is_known_without_building_it() -> None:
    model = CostModel(Kept, SPACE, checks=8)
    memory = model.memory(SPACE.all_codes())
    counted = [
        peak_memory(meta_network(Kept, arch), (1, 3, *arch.input_hw)) for arch in map(SPACE.decode, SPACE.all_codes())
    ]
    assert memory.tolist() == counted and len(set(counted)) > 20


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that this process holds, every tenth time that a program says how far it is.

    The allocator first gives back what it keeps for later, a third of a gigabyte, which comes and goes with the sizes of
    the architectures and would hide what grows.
    """
    found: list[int] = []
    to, trim = Progress.to, getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)  # of glibc

    def measured(progress: Progress, done: int, **figures: float | str) -> None:
        if done % 10 == 0:
            trim(0)
            found.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())
        to(progress, done, **figures)

    monkeypatch.setattr(Progress, "to", measured)
    return found


def is_flat(sizes: list[int]) -> bool:
    """Within 5 % from end to end after the first tenth."""
    settled = sizes[len(sizes) // 10 :]
    print(f"{len(sizes)} moments: {min(settled) / 2**20:.1f} to {max(settled) / 2**20:.1f} MiB")
    return max(settled) <= 1.05 * min(settled)


@pytest.mark.slow
def test_a_search_does_not_grow(tmp_path: Path, sizes: list[int]) -> None:
    """Over 500 candidates of a space of millions."""
    run = small_demo(tmp_path, "SEARCH.EVALUATIONS", 500, "SEARCH.POPULATION", 20)
    source = tmp_path / "weights.pt"
    source.write_bytes(b"not read here")
    assert len(run.search) == 2
    sizes.clear()
    search.search(run, new_supernet(run).eval(), source)
    assert len(sizes) == 50 and is_flat(sizes)


@pytest.mark.slow
def test_a_training_does_not_grow(tmp_path: Path, sizes: list[int]) -> None:
    """Over 2,000 steps of the demo, with its checkpoints."""
    run = demo(tmp_path, "SUPERNET.STAGES", "[{name: all, open: ['*'], steps: 2000, lr: 0.005}]")
    assert len(run.train) == 800
    sizes.clear()
    train_supernet(run)
    assert len(sizes) == 200 and is_flat(sizes)
