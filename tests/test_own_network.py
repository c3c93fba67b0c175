"""The example of docs/your-own-network.md, and what the document says that errors say."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces import Space, choice
from supernet import NSGA2, CostModel, Supernet, audit, search_front, stages
from supernet.errors import UserError
from tests.paths import ROOT

EXAMPLE = ROOT / "examples" / "own_network.py"
DOCUMENT = (ROOT / "docs" / "your-own-network.md").read_text()


def test_the_example_is_short() -> None:
    docstring, _, code = EXAMPLE.read_text().partition("\n\n")
    assert docstring.startswith('"""') and len(code.splitlines()) <= 40


def test_the_example_in_miniature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It asserts itself that every extracted network computes what the supernet computed."""
    text = EXAMPLE.read_text()
    for whole, part in (('"steps": 80', '"steps": 2'), ("evaluate, 32)", "evaluate, 8)"), ("images(500", "images(50")):
        assert whole in text
        text = text.replace(whole, part)
    (tmp_path / "short.py").write_text(text)
    monkeypatch.setattr(sys, "path", [str(EXAMPLE.parent), *sys.path])
    runpy.run_path(str(tmp_path / "short.py"))
    lines = capsys.readouterr().out.splitlines()
    macs = [int(line.split(" MACs")[0].replace(",", "")) for line in lines]
    scores = [float(line.split("accuracy ")[1][:5]) for line in lines]
    assert macs == sorted(macs) and scores == sorted(scores) and lines


@pytest.mark.slow
def test_the_example() -> None:
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, timeout=120, check=True)
    assert float(done.stdout.splitlines()[-1].split("accuracy ")[1][:5]) > 0.9


# ------------------------------------------------------------------------------------------------------------------ errors


@dataclass(frozen=True)
class Arch:
    width: int = 8
    depth: int = 2
    kernel: int = 3
    input_hw: tuple[int, int] = (8, 8)


class Scale(nn.Module):
    """A module type with weights that nobody has a rule for."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor[:, None, None]


class Joined(nn.Module):
    """Two branches, concatenated, and a convolution that reads both."""

    def __init__(self, arch: Arch, sources: bool) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, arch.width, 1), nn.Conv2d(3, arch.width, 3, padding=1)
        self.join = nn.Conv2d(2 * arch.width, 4, 1)
        if sources:
            self.join.sources = (arch.width, arch.width)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        joined: Tensor = self.join(torch.cat([self.left(x), self.right(x)], 1))
        return joined


def _conv(arch: Arch, **options: Any) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, arch.width, arch.kernel, padding=arch.kernel // 2, **options))


def _flat(arch: Arch) -> nn.Sequential:
    """``arch.depth`` blocks and then a halving one, in a flat row of numbers."""
    blocks = [nn.Conv2d(3 if first else 8, 8, 3, padding=1) for first in [True, False][: arch.depth]]
    return nn.Sequential(*blocks, nn.Conv2d(8, 8, 3, stride=2, padding=1))


def _projected(arch: Arch) -> nn.Sequential:
    """Only narrow networks have a projection at the end."""
    return nn.Sequential(nn.Conv2d(3, arch.width, 1), *([nn.Conv2d(arch.width, 8, 1)] if arch.width < 8 else []))


WIDTHS, KERNELS = Space[Arch](Arch(width=choice(4, 8))), Space[Arch](Arch(kernel=choice(3, 5)))
WRONG: dict[str, tuple[Space[Arch], Callable[[Arch], nn.Module]]] = {
    "extra module": (WIDTHS, _projected),
    "flat names": (Space(Arch(depth=choice(1, 2))), _flat),
    "other type": (WIDTHS, lambda arch: nn.Sequential(nn.AvgPool2d(1) if arch.width < 8 else nn.Conv2d(3, 8, 1))),
    "no sources": (WIDTHS, lambda arch: Joined(arch, sources=False)),
    "unknown type": (WIDTHS, lambda arch: nn.Sequential(nn.Conv2d(3, arch.width, 1), Scale(arch.width))),
    "shrinking": (WIDTHS, lambda arch: nn.Sequential(nn.Conv2d(3, 16 - arch.width, 1))),
    "groups": (Space(Arch(width=choice(8, 16))), lambda arch: nn.Sequential(nn.Conv2d(8, arch.width, 1, groups=4))),
    "padding": (KERNELS, lambda arch: nn.Sequential(nn.Conv2d(3, 8, arch.kernel, padding=1))),
    "even kernel": (Space(Arch(kernel=choice(2, 3))), _conv),
    "bias": (WIDTHS, lambda arch: _conv(arch, bias=arch.width < 8)),
    "half sources": (WIDTHS, lambda arch: Joined(arch, sources=arch.width < 8)),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_document_shows_what_the_error_says(case: str) -> None:
    space, build = WRONG[case]
    with pytest.raises(UserError) as refused:
        audit(build, space, stages(space, [{"name": "all", "open": list(space.kinds), "steps": 1}]))
    assert f"\n    {refused.value}\n" in DOCUMENT, f"{case}: {refused.value}"
    assert "\n" not in str(refused.value)


def test_the_document_shows_the_other_errors() -> None:
    """An option that no stage opens, a choice that is not there, a space out of order, an architecture outside."""
    space, build = Space[Arch](Arch(width=choice(8, 16), kernel=choice(3, 5))), _conv
    said = []
    for opened in (["width"], ["stride"]):
        with pytest.raises(UserError) as refused:
            audit(build, space, stages(space, [{"name": "all", "open": opened, "steps": 1}]))
        said.append(str(refused.value))
    with pytest.raises(ValueError) as descending:
        choice(16, 8)
    said.append(str(descending.value))
    with pytest.raises(ValueError) as outside:
        Supernet(build, space).extract(Arch(width=12))
    said.append(str(outside.value))
    for line in said:
        assert f"\n    {line}\n" in DOCUMENT, line


def test_sources_make_a_concatenation_right() -> None:
    """A prefix of the whole would give the right branch's weights to the left one's channels."""
    for sources in (False, True):
        supernet = Supernet(lambda arch, sources=sources: Joined(arch, sources), WIDTHS).eval()
        small: Any = supernet.extract(Arch(width=4))
        stored: Any = supernet.network
        second = stored.join.weight[:, 8:12] if sources else stored.join.weight[:, 4:8]
        assert torch.equal(small.join.weight[:, 4:], second)


def test_a_front_without_a_journal() -> None:
    """Whole generations, no architecture that another one beats, the cheapest first, the costs by their names."""
    space = Space[Arch](Arch(width=choice(2, 4, 8), kernel=choice(1, 3, 5)))
    seen: list[Arch] = []

    def score(arch: Arch) -> float:
        seen.append(arch)
        return arch.width - arch.kernel

    found = search_front(NSGA2(space, CostModel(_conv, space), np.random.default_rng(0), population=4), score, 9)
    assert len(seen) == len(set(seen)) == 9
    assert [(arch.width, arch.kernel, score) for arch, _, score in found] == [(2, 1, 1), (4, 1, 3), (8, 1, 7)]
    assert [costs for _, costs, _ in found] == [{"macs": 64 * 3 * n, "params": 4 * n} for n in (2, 4, 8)]
