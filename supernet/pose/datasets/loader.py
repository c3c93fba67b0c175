"""Batches of samples, made by worker processes that survive images which cannot be read."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from supernet.errors import UserError

from .images import ImageError

IN_A_ROW = 20  # images that cannot be read one after another: then it is the folder that is lost


@dataclass(frozen=True)
class _Error:
    """An error's one line, on its way from a worker; as an exception it would arrive with a traceback in its text."""

    line: str


@dataclass(frozen=True)
class _Replacing(Dataset[Any]):
    """A sample, and what was wrong on the way to it: in place of an image that cannot be read, the next one is taken.

    It is the next one of the dataset, so that what a step trains on still follows from its number.
    """

    samples: Any
    images: int

    def __getitem__(self, request: tuple[Any, ...]) -> tuple[Any, list[str]]:
        position, *rest = request
        corrupt: list[str] = []
        for ahead in range(min(IN_A_ROW, self.images)):
            try:
                return self.samples[((position + ahead) % self.images, *rest)], corrupt
            except ImageError as error:
                corrupt.append(str(error))
            except UserError as error:
                return _Error(str(error)), []
        return _Error(
            f"{len(corrupt)} images one after another cannot be read, the first: {corrupt[0]} "
            "(or mount the folder again, if it was there before)"
        ), []


@dataclass(frozen=True)
class _Collate:
    """A batch of samples, with ``corrupt``: what was wrong with the images that it should have held."""

    collate: Callable[[Sequence[Any]], Mapping[str, Any]]

    def __call__(self, pairs: Sequence[tuple[Any, list[str]]]) -> Mapping[str, Any] | _Error:
        samples, notes = zip(*pairs, strict=True)
        for sample in samples:
            if isinstance(sample, _Error):
                return sample
        return {**self.collate(samples), "corrupt": list(dict.fromkeys(note for each in notes for note in each))}


def load(
    samples: Any,
    images: int,
    requests: Iterable[Sequence[tuple[Any, ...]]],
    collate: Callable[[Sequence[Any]], Mapping[str, Any]],
    *,
    workers: int,
    pin: bool,
) -> Iterator[Mapping[str, Any]]:
    """The batches of some requests, in their order.

    Args:
        samples: makes a sample of a request, whose first item is a position in the dataset.
        images: the length of the dataset.
        requests: those of each batch.
        collate: makes a batch of samples.
        workers: processes; 0 works in this one.
        pin: page-locked memory, for copies to a GPU.

    Yields:
        What ``collate`` made, and ``corrupt``: a line for each image in whose place another one was taken.

    Raises:
        UserError: so many images in a row cannot be read that the folder must be lost, or a sample has another fault.
    """
    batches = DataLoader(
        _Replacing(samples, images),
        batch_sampler=requests,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_Collate(collate),
        pin_memory=pin,
        worker_init_fn=begin_worker,
    )
    with _one_opencv_thread():
        made = iter(batches)
    for batch in made:
        if isinstance(batch, _Error):
            raise UserError(batch.line)
        yield batch


def killed_worker(error: BaseException) -> UserError | None:
    """What to say where a process that loads images was killed; None for another error.

    PyTorch raises a RuntimeError then, in whatever the main thread does at that moment.
    """
    if not isinstance(error, RuntimeError) or "DataLoader worker" not in str(error):
        return None
    what = " ".join(str(error).partition(";")[0].split()).rstrip(". ")
    return UserError(
        f"{what}: a process that loads images was killed, mostly for want of memory; set WORKERS lower, and give the same "
        "command again"
    )


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """While workers are forked, OpenCV has no threads: a fork of its waiting ones could never be ended in a worker."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def begin_worker(_: int) -> None:
    """What a worker begins with: the machine's cores belong to all of them, and Ctrl-C is for the program to act on."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
