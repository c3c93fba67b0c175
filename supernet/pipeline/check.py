"""What a run's data hold, looked at before anything is trained: everything that the program will read, and the metric on it.

Wrong data end a program here with one line, before its first step; what is passed over or unusual is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..pose.datasets.images import ImageError, check_size, orientation, read_image
from ..pose.datasets.plausibility import share_of
from ..pose.protocols import KeypointDataset
from .progress import Progress, say
from .run import Run

EVERYTHING = ("train", "search", "calibration", "test")
EVALUATED = ("search", "test")
SAMPLE = 64  # images of a part whose size is compared before training

Place = tuple[Path, tuple[int, int] | None]  # of an image: its file, and the size that its annotations are for


def check_data(run: Run, parts: Sequence[str] = EVERYTHING) -> None:
    """Read the parts of a run's data and build the metric on those that are evaluated; tell what is unusual.

    Of a sample of the images, sizes are compared with the annotations'; no pixels are decoded.

    Args:
        run: The run.
        parts: Of :data:`EVERYTHING`, what the program will need.

    Raises:
        UserError: Something could not be trained or evaluated on.
    """
    datasets = {part: getattr(run, part) for part in parts}
    for part in EVALUATED:
        if part in datasets:
            run.evaluator(datasets[part])
    for line in dict.fromkeys(line for dataset in datasets.values() for line in notes_of(dataset)):
        say(f"note: {line}")
    places = {part: places_of(dataset) for part, dataset in datasets.items() if part != "calibration"}  # is of "train"
    for line in shared_images(places.get("train", ()), places.get("test", ())):
        say(f"warning: {line}")
    for some in places.values():
        _check_sample(some)


def check_test_data(run: Run) -> None:
    """As :func:`check_data` for the reported split, of which a training has no need: what is wrong is told, no more."""
    try:
        check_data(run, ("test",))
    except UserError as error:
        say(f"warning: {error}; the training does not need it, evaluating will")


def notes_of(dataset: KeypointDataset[Any]) -> list[str]:
    """What was passed over or is unusual in a dataset's file, one line each."""
    return [f"{dataset.source.name}: {note}" for note in getattr(dataset, "notes", ())]


def places_of(dataset: KeypointDataset[Any]) -> list[Place]:
    """The images of a dataset, each once."""
    return list({sample.path: (sample.path, sample.size_wh) for sample in dataset}.values())


def shared_images(train: Sequence[Place], test: Sequence[Place]) -> list[str]:
    """A line where images to be evaluated on are trained on."""
    both = {path for path, _ in train} & {path for path, _ in test}
    if not both:
        return []
    return [f"{len(both)} images are trained on and evaluated on ({sorted(both)[0]}): scores on them say little"]


def _some(places: Sequence[Place]) -> list[Place]:
    """At most :data:`SAMPLE` of the images, evenly."""
    chosen = np.linspace(0, len(places) - 1, min(len(places), SAMPLE)).round().astype(int)
    return [places[index] for index in np.unique(chosen)]


def _check_sample(places: Sequence[Place]) -> None:
    chosen = _some(places)
    corrupt: list[str] = []
    turned = 0
    for path, size_wh in chosen:
        try:
            turned += size_wh is not None and check_size(path, size_wh)
        except ImageError as error:
            corrupt.append(str(error))
    if corrupt and len(corrupt) == len(chosen):
        raise UserError(f"none of {len(chosen)} images looked at can be read, the first: {corrupt[0]}")
    if corrupt:
        say(f"warning: {len(corrupt)} of {len(chosen)} images looked at cannot be read, the first: {corrupt[0]}")
    if turned:
        say(f"note: {turned} of {len(chosen)} images looked at are turned by their EXIF orientation, as annotated")


# ------------------------------------------------------------------------------------------------------ the whole check


@dataclass
class Findings:
    """What :func:`examine` finds: lines by how bad they are, and figures of each part."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    parts: dict[str, KeypointDataset[Any]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def lines(self) -> Iterator[tuple[str, str]]:
        """(``error``, ``warning`` or ``note``; text)."""
        for kind in ("error", "warning", "note"):
            yield from ((kind, line) for line in dict.fromkeys(getattr(self, f"{kind}s")))


def examine(run: Run, *, pixels: bool) -> Findings:
    """Read all data of a run as training and evaluating would, and every image.

    Args:
        run: The run.
        pixels: Decode every image; otherwise the heads of a sample are looked at.
    """
    found = Findings()
    data = run.cfg.DATASET
    aside = [part for part, images in (("search", data.SEARCH_IMAGES), ("final", data.FINAL_IMAGES)) if images > 0]
    for part in ("train", *aside, "test"):
        try:
            dataset = getattr(run.data, part)
            if dataset is None:
                continue
            if part != "train" and not (part == "test" and run.data.withheld):
                run.evaluator(dataset)
        except UserError as error:
            found.errors.append(str(error))
            continue
        found.parts[part] = dataset
        found.notes += notes_of(dataset)
        found.rows.append(_row(part, dataset))
    places = {part: places_of(dataset) for part, dataset in found.parts.items()}
    found.warnings += shared_images(places.get("train", ()), places.get("test", ()))
    if "train" in found.parts:
        found.warnings += _never_labelled(found.parts["train"])
    _look_at(list(dict(place for some in places.values() for place in some).items()), found, pixels=pixels)
    return found


def _row(part: str, dataset: KeypointDataset[Any]) -> dict[str, Any]:
    people = sum(len(image.keypoints_PK3) for image in dataset.images()) if dataset.has_annotations else 0
    return {"part": part, "file": str(dataset.source), "images": len(dataset.image_ids), "people": people}


def _never_labelled(dataset: KeypointDataset[Any]) -> list[str]:
    labelled_K = joint_counts(dataset)[0]
    never = [name for name, number in zip(dataset.skeleton.joints, labelled_K, strict=True) if not number]
    return (
        [f"{dataset.source.name}: nobody has a labelled {', '.join(never)}: a network cannot learn them"]
        if never
        else []
    )


def joint_counts(dataset: KeypointDataset[Any]) -> tuple[list[int], list[int]]:
    """Of each joint, on how many people it is labelled, and on how many of these it is hidden."""
    labelled_K = np.zeros(dataset.skeleton.num_joints, np.int64)
    hidden_K = labelled_K.copy()
    for image in dataset.images():
        labelled_K += (image.keypoints_PK3[..., 2] > 0).sum(axis=0)
        hidden_K += (image.keypoints_PK3[..., 2] == 1).sum(axis=0)
    return labelled_K.tolist(), hidden_K.tolist()


def _look_at(places: Sequence[Place], found: Findings, *, pixels: bool) -> None:
    """Read the images, or the heads of a sample; keep what is wrong, by kind."""
    if not pixels:
        places = _some(places)
    kinds: Counter[str] = Counter()
    first: dict[str, str] = {}
    with (
        Progress("reading images" if pixels else "looking at images", len(places)) as progress,
        ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool,
    ):
        for done, (kind, line) in enumerate(pool.map(lambda place: _state(place, pixels), places), start=1):
            progress.to(done)
            if kind:
                kinds[kind] += 1
                first.setdefault(kind, line)
    looked = len(places)
    for kind, number in kinds.items():
        many = f"{share_of(number, looked).replace('people', 'images')} {kind}"
        if kind == _TURNED:
            found.notes.append(many)
        elif kind == _MARKED:
            found.warnings.append(f"{many}: {first[kind]}")
        else:
            found.errors.append(f"{many}, the first: {first[kind]}")


_TURNED = "are turned by their EXIF orientation, as they were annotated"
_MARKED = "have an EXIF orientation that is not applied, since the stored size is the annotations'"
_UNREADABLE = "cannot be read"
_OTHER_SIZE = "have another size than their annotations"


def _state(place: Place, pixels: bool) -> tuple[str, str]:
    """What is to be said of an image: of which kind, and its own line; empty where all is right."""
    path, size_wh = place
    try:
        if pixels:
            read_image(path, size_wh)
        if size_wh is not None and check_size(path, size_wh):
            return _TURNED, ""
        if orientation(path) > 1:
            return _MARKED, f"{path}; look at it among the samples, or on its own"
    except ImageError as error:
        return _UNREADABLE, str(error)
    except UserError as error:
        return _OTHER_SIZE, str(error)
    return "", ""
