"""Benchmark the latency of networks on this machine, under any runtime."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..cost.latency import Place
from ..sharing.probes import image_batch
from ..sharing.protocols import SupportsSpace
from .runtimes import runner

A = TypeVar("A")
_WARM_UP = 3  # calls that are not timed
_MS = 1e3


def place_of(device: torch.device, runtime: str, threads: int, batch: int) -> Place:
    """Describe this machine as the place of a measurement."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return Place(str(device), runtime, threads, batch, name)


def latency_ms(call: Callable[[Tensor], Any], images: Tensor, threads: int, repeats: int = 20) -> float:
    """Measure the latency of one call: median of ``repeats`` after a warm-up, milliseconds, the device's work included.

    On one CPU thread it is that thread's own time, so that other programs disturb less; else it is what a clock shows.
    """
    clock = time.thread_time if threads == 1 and not images.is_cuda else time.perf_counter
    seconds = []
    for _ in range(_WARM_UP + repeats):
        start = clock()
        call(images)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        seconds.append(clock() - start)
    return _MS * statistics.median(seconds[_WARM_UP:])


def measure(
    build: Callable[[A], nn.Module], space: SupportsSpace[A], code: Sequence[int], place: Place, repeats: int = 20
) -> float:
    """Measure the latency of one architecture with random weights: median of ``repeats``, milliseconds.

    Raises:
        UserError: the runtime cannot run here.
    """
    arch = space.decode(np.array(code, dtype=np.int16))
    _, *shape = image_batch(arch)
    images = torch.zeros(place.batch, *shape, device=place.device)
    network = build(arch).to(place.device)
    return latency_ms(runner(network, images, place.runtime, place.threads), images, place.threads, repeats)


def _processor() -> str:
    """The processor's name where the system tells it, and its number of cores."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} cores"
