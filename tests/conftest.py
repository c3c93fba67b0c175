"""One thread, no display; tests that need a GPU or the real images are skipped, with the reason, where there are none."""

from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

from tests import toy_search
from tests.paths import ELSEWHERE, missing_images

torch.set_num_threads(1)  # the networks of the tests are too small to share, and sums then have one order


def pytest_configure() -> None:
    if os.environ.get(ELSEWHERE) and missing_images():  # a wrong name is not a wish to skip
        raise pytest.UsageError(f"{missing_images()}: correct the variable, or unset it")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if item.get_closest_marker("real_images") and missing_images():
        pytest.skip(missing_images())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A predictor that looks about less."""
    toy_search.quicken(monkeypatch)
