"""Files from strangers, damaged at random: each is read, or refused in one line; nothing hangs, nothing is executed.

The damage is drawn from seeds, so a failure names its case: ``damage("superconfig hrnet", 17)`` makes it again.
"""

from __future__ import annotations

import copy
import io
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from search_spaces import FAMILIES
from supernet.config.loading import load_config
from supernet.errors import UserError
from supernet.io.checkpoint import load_checkpoint
from supernet.pipeline.run import architecture_of
from supernet.pose.bottom_up.targets import make_masks
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.mpii import mpii_people
from supernet.pose.keypoints import COCO
from tests.paths import ROOT

LONGEST = 10.0  # seconds for one file; most take milliseconds
ODD = (
    None, True, -1, 0, 1, 2.5, 1e308, float("inf"), float("nan"), 10**30, "", "x", "1e3", "a\nb", "\0", "\ud800",
    "../../etc/passwd", "/etc/passwd", "x.zip@/../y", "[1, 2", "1_0if", "'\\d'", "__import__('os').abort()", [], {}, [[]],
    [None], [1, 2, 3, 4], {"type": "x"}, {"size": [2, 2], "counts": "x"}, ["x"] * 6, [[0, 0, 1e9, 1, "x", 2]],
)  # fmt: skip


class Aborts:
    """Would end the process where a checkpoint is read as code."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return os.abort, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Aborts:
        return self


def rng_of(name: str, case: int) -> np.random.Generator:
    return np.random.default_rng((zlib.crc32(name.encode()), case))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a tree of lists and mappings, with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def spoil(value: Any, rng: np.random.Generator, odd: tuple[Any, ...]) -> Any:
    """A copy in which up to three entries are replaced, removed, renamed, doubled or buried."""
    value = copy.deepcopy(value)
    for _ in range(rng.integers(1, 4)):
        found = list(places(value))
        if not found:
            return odd[rng.integers(len(odd))]
        holder, key = found[rng.integers(len(found))]
        match rng.integers(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[f"{key}x"] = holder.pop(key)
            case 1 | 2 if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            case 3:
                for _ in range(rng.integers(1, 60)):
                    holder[key] = [holder[key]]
            case _:
                holder[key] = copy.deepcopy(odd[rng.integers(len(odd))])
    return value


def spoil_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """A copy that is cut, or in which some bytes are others, missing, or twice there."""
    if rng.random() < 0.2:
        return data[: rng.integers(len(data))]
    content = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        at = int(rng.integers(len(content)))
        length = int(rng.integers(1, 5))
        new = (
            content[at : at + length] * 2,
            b"",
            rng.bytes(length),
            bytes(rng.choice(list(b"[]{}:,-&*!'\"#\n 9"), length)),
        )
        content[at : at + length] = new[rng.integers(len(new))]
    return bytes(content)


def check(name: str, case: int, read: Callable[[], object]) -> bool:
    """Whether the file was read; fails on anything but success, or an error of one line, in time."""
    started = time.process_time()
    try:
        read()
    except UserError as error:
        assert "\n" not in str(error), f"{name} {case}: {error}"
        return False
    except Exception as error:
        raise AssertionError(f"{name} {case}: {type(error).__name__}: {error}") from error
    finally:
        assert time.process_time() - started < LONGEST, f"{name} {case}"
    return True


CONFIGS = sorted((ROOT / "experiments").rglob("*.yaml"))


def spoil_config(case: int, folder: Path) -> Callable[[], object]:
    rng, path = rng_of("config", case), folder / "x.yaml"
    text = CONFIGS[case % len(CONFIGS)].read_bytes()
    if case % 2:
        path.write_bytes(spoil_bytes(text, rng))
    else:
        path.write_text(yaml.safe_dump(spoil(yaml.safe_load(text), rng, ODD)))
    return lambda: load_config(path)


def spoil_superconfig(case: int, folder: Path) -> Callable[[], object]:
    rng, path = rng_of("superconfig", case), folder / "x.json"
    family = list(FAMILIES.values())[case % len(FAMILIES)]
    known = list(family.published().values()) or [family.SPACE.smallest]
    data = json.loads(json.dumps(family.to_json(known[rng.integers(len(known))])))
    path.write_bytes(spoiled_json(data, rng))
    return lambda: architecture_of(family, str(path))


def spoiled_json(data: Any, rng: np.random.Generator) -> bytes:
    if rng.random() < 0.3:
        return spoil_bytes(json.dumps(data).encode(), rng)
    return json.dumps(spoil(data, rng, ODD)).encode()


def spoil_annotations(case: int, folder: Path) -> Callable[[], object]:
    rng, path = rng_of("annotations", case), folder / "x.json"
    if case % 3 == 0:
        entry = {"image": "a.jpg", "center": [5, 6], "scale": 1.5, "joints": [[2, 3]] * 16, "joints_vis": [1] * 16}
        path.write_bytes(spoiled_json([entry, {**entry, "image": "b.jpg"}], rng))
        return lambda: list(mpii_people(path, folder))
    person = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [9, 9, 2] * 17, "num_keypoints": 17, "iscrowd": 0,
              "bbox": [1, 1, 9, 9], "area": 81.0, "segmentation": [[1, 1, 9, 1, 9, 9]]}  # fmt: skip
    runs = {"size": [24, 32], "counts": [100, 20, 648]}
    data = {
        "images": [{"id": id, "file_name": f"{id}.jpg", "width": 32, "height": 24} for id in (1, 2)],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.joints), "skeleton": [[1, 2]]}],
        "annotations": [
            person,
            {**person, "id": 2, "image_id": 2, "keypoints": [0] * 51, "num_keypoints": 0},
            {**person, "id": 3, "image_id": 2, "iscrowd": 1, "segmentation": runs},
        ],
    }
    path.write_bytes(spoiled_json(data, rng))

    def read() -> None:
        dataset = PoseDataset(path, folder, COCO)
        for image in dataset:
            make_masks(image.people, (24, 32), np.eye(3)[:2], (32, 32), (4, 2))
        if dataset.has_annotations:
            dataset.annotated().ground_truth()

    return read


def spoil_checkpoint(case: int, folder: Path) -> Callable[[], object]:
    rng, path = rng_of("checkpoint", case), folder / "x.pt"
    weights = dict(network().state_dict())
    content: Any = {"state_dict": weights, "epoch": 3, "arch": {"widths": [4, 8]}}
    zipped = bool(rng.random() < 0.7)
    if case % 2:
        odd = (*ODD, Aborts(), torch.zeros(3), torch.zeros(4, 3, 1, 1, dtype=torch.complex64), torch.zeros(1).expand(9))
        content = spoil(content, rng, odd)
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    data = buffer.getvalue()
    path.write_bytes(data if case % 2 else spoil_bytes(data, rng))
    return lambda: load_checkpoint(network(), path, strict=bool(case % 4 < 2))


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


KINDS = {  # cases of the default suite, and of the long form
    "config": (spoil_config, 40, 460),
    "superconfig": (spoil_superconfig, 110, 590),
    "annotations": (spoil_annotations, 90, 510),
    "checkpoint": (spoil_checkpoint, 60, 440),
}


def run(kind: str, cases: range, folder: Path) -> None:
    spoiled, _, _ = KINDS[kind]
    results = {check(kind, case, spoiled(case, folder)) for case in cases}
    assert results == {True, False}  # some damage is harmless, and most is found


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    run(kind, range(KINDS[kind][1]), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files_are_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    run(kind, range(KINDS[kind][1], sum(KINDS[kind][1:])), tmp_path)
