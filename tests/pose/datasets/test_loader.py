"""Data workers and images that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from supernet.errors import UserError
from supernet.pose.datasets.images import ImageError, read_image
from supernet.pose.datasets.loader import IN_A_ROW, load
from tests.clean_processes import run_clean


class Samples:
    """Numbers; those of ``broken`` are images that cannot be read, 99 has another fault."""

    def __init__(self, *corrupt: int) -> None:
        self.corrupt = corrupt

    def __getitem__(self, request: tuple[Any, ...]) -> tuple[int, str]:
        position, seed = request
        if position == 99:
            raise UserError("image 99 has no size")
        if position in self.corrupt:
            raise ImageError(f"image {position} cannot be read")
        return position, seed


def batches(samples: Samples, *requests: list[int], images: int = 100, workers: int = 0) -> list[Any]:
    """What is loaded, every request with a seed of its own."""
    made = [[(position, f"seed {position}") for position in request] for request in requests]
    collate = lambda pairs: {"samples": list(pairs)}  # noqa: E731
    return list(load(samples, images, made, collate, workers=workers, pin=False))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_next_image_stands_in(workers: int) -> None:
    """With the seed of the lost one; the broken ones are named once a batch."""
    first, second = batches(Samples(3, 4, 9), [1, 3, 3, 4], [9, 8], images=10, workers=workers)
    assert [position for position, _ in first["samples"]] == [1, 5, 5, 5]
    assert [seed for _, seed in first["samples"]] == ["seed 1", "seed 3", "seed 3", "seed 4"]
    assert first["corrupt"] == ["image 3 cannot be read", "image 4 cannot be read"]
    assert [position for position, _ in second["samples"]] == [0, 8]
    assert second["corrupt"] == ["image 9 cannot be read"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_lost_folder_is_one_line(workers: int) -> None:
    """Not a traceback of a worker."""
    with pytest.raises(UserError) as caught:
        batches(Samples(*range(100)), [7], workers=workers)
    assert str(caught.value).startswith(
        f"{IN_A_ROW} images one after another cannot be read, the first: image 7 cannot"
    )
    assert "mount the folder again" in str(caught.value)


def test_a_small_dataset_without_any_image() -> None:
    """Each is tried once."""
    with pytest.raises(UserError, match="^3 images one after another"):
        batches(Samples(0, 1, 2), [1], images=3)


@pytest.mark.parametrize("workers", [0, 1])
def test_other_faults_are_not_passed_over(workers: int) -> None:
    """They arrive as they are."""
    with pytest.raises(UserError, match="^image 99 has no size$"):
        batches(Samples(), [1, 99], workers=workers)


def test_what_read_image_refuses_is_a_corrupt_image(tmp_path: Path) -> None:
    """Missing, or no image."""
    (tmp_path / "a.jpg").write_bytes(b"no image")
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(ImageError, match=name):
            read_image(tmp_path / name)


class Threads:
    """How many OpenCV has where a sample is made."""

    def __getitem__(self, request: tuple[Any, ...]) -> int:
        return cv2.getNumThreads()


def _load_after_opencv() -> None:
    cv2.setNumThreads(4)
    for _ in range(20):  # its threads run, and wait
        cv2.GaussianBlur(np.zeros((1000, 1000, 3), np.float32), (31, 31), 5)
    (batch,) = load(Threads(), 1, [[(0,)]], lambda samples: {"threads": list(samples)}, workers=1, pin=False)
    assert batch["threads"] == [1]
    assert cv2.getNumThreads() == 4


def test_workers_start_where_opencv_has_threads() -> None:
    """Forked while they wait, they would stop a worker for ever; this process keeps as many as it had."""
    assert run_clean(_load_after_opencv, ()) == [0]
