"""One thread, no display, and GPU tests only where there is a GPU."""

from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

from supernet.search import predictor

torch.set_num_threads(1)  # the networks of the tests are too small to share, and sums then have one order


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A predictor that looks about less: what it has to keep does not depend on how far it looks."""
    monkeypatch.setattr(predictor, "INNER_POPULATION", 20)
    monkeypatch.setattr(predictor, "INNER_GENERATIONS", 3)
