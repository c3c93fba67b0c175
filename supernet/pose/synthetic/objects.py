"""Images of drawn things with exact joints, and their annotations in COCO's format.

As for drawn people: v = 2 seen, 1 hidden by another thing or by itself, 0 and x = y = 0 outside of the image; mask, area and box
are those of the pixels on which a thing is topmost. A thing of whose pixels less than 8 % are seen, or with fewer than two
joints in the image, stays without labelled joints; one of which nothing is seen is left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from supernet.pose.synthetic.background import sample_backdrop
from supernet.pose.synthetic.records import Record, category, mask_polygons, visible_box
from supernet.pose.synthetic.scene import MAX_PEOPLE
from supernet.pose.synthetic.subjects import SUBJECTS, Drawing

LAYOUT = "keypoints"  # folder of the dataset
_SPLITS = ("train2017", "val2017")
_OVERSIZE = 4
_LEAST_SEEN = 0.08


@dataclass(frozen=True)
class Thing:
    """What is true of one thing on an image: (x, y, v) of its joints in order, and the pixels on which it is topmost."""

    keypoints: list[tuple[int, int, int]]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Things:
    """One image, BGR (H, W, 3), and everything on it."""

    image: NDArray[np.uint8]
    things: list[Thing]


def sample_things(rng: np.random.Generator, subject: str, width: int, height: int, most: int) -> Things:
    """Draw one image with one to ``most`` things, fewer being likelier."""
    skeleton, sample, rotation = SUBJECTS[subject]
    backdrop = sample_backdrop(rng, width, height)
    weights = 1.0 / np.arange(1, most + 1) ** 0.8
    count = int(rng.choice(most, p=weights / weights.sum())) + 1
    large = cv2.resize(backdrop, None, fx=_OVERSIZE, fy=_OVERSIZE, interpolation=cv2.INTER_LINEAR)
    image, ids = np.ascontiguousarray(large, dtype=np.uint8), np.zeros(large.shape[:2], np.uint8)
    drawings: list[Drawing] = []
    areas, centres = [], np.empty((0, 2))
    for number in range(1, count + 1):
        size = min(width, height) * rng.uniform(0.45, 0.8) * (0.8 if count > 2 else 1.0)
        angle = np.radians(rng.uniform(-rotation, rotation))
        matrix = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        spots = rng.uniform(
            [0.35 * size] * 2, [max(width - 0.35 * size, 0.36 * size), max(height - 0.35 * size, 0.36 * size)], (8, 2)
        )
        nearest = [min((float(np.hypot(*(spot - centre))) for centre in centres), default=0.0) for spot in spots]
        centre = spots[int(np.argmax(nearest))]  # away from the others
        centres = np.vstack([centres, centre])
        drawing = sample(rng).moved(matrix, centre, size)
        _draw(drawing, image, ids, number, _colour(rng, backdrop.reshape(-1, 3).mean(axis=0)))
        areas.append(int((ids[::_OVERSIZE, ::_OVERSIZE] == number).sum()))
        drawings.append(drawing)
    owners = ids[::_OVERSIZE, ::_OVERSIZE]
    things = [
        _observed(drawing, skeleton.joints, owners, number, area)
        for number, (drawing, area) in enumerate(zip(drawings, areas, strict=True), start=1)
    ]
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return Things(small, [thing for thing in things if thing.mask.any()])


def _colour(rng: np.random.Generator, ground: NDArray[np.float64]) -> NDArray[np.float64]:
    """A bright colour that is not the ground's."""
    best = np.zeros(3)
    for _ in range(4):
        colour = rng.uniform(90, 255, 3)
        if np.abs(colour - ground).sum() > np.abs(best - ground).sum() or not best.any():
            best = colour
    return best


def _draw(
    drawing: Drawing, image: NDArray[np.uint8], ids: NDArray[np.uint8], number: int, colour: NDArray[np.float64]
) -> None:
    """Draw on an image of :data:`_OVERSIZE` times the size; ``ids`` tells whose each pixel is."""
    for shape in drawing.shapes:
        # a pixel centre x of the small image lies at _OVERSIZE * (x + 0.5) - 0.5 of the large one
        points = np.rint((shape.points + 0.5) * _OVERSIZE - 0.5).astype(np.int32)
        shade = tuple(float(channel) for channel in np.clip(colour * shape.shade, 0, 255))
        for canvas, value in ((image, shade), (ids, (float(number),))):
            if shape.width and len(points) == 1:
                cv2.circle(canvas, points[0].tolist(), round(shape.width * _OVERSIZE / 2), value, -1)
            elif shape.width:
                cv2.polylines(canvas, [points], False, value, max(1, round(shape.width * _OVERSIZE)))
            else:
                cv2.fillPoly(canvas, [points], value)


def _observed(drawing: Drawing, names: tuple[str, ...], owners: NDArray[np.uint8], number: int, area: int) -> Thing:
    height, width = owners.shape
    keypoints = []
    for name in names:
        x, y = np.rint(drawing.joints[name]).astype(int).tolist()
        if not (0 <= x < width and 0 <= y < height):
            keypoints.append((0, 0, 0))
            continue
        hidden = name in drawing.hidden or owners[y, x] not in (0, number)
        keypoints.append((x, y, 1 if hidden else 2))
    mask: NDArray[np.bool_] = owners == number
    labelled = mask.sum() >= _LEAST_SEEN * area and sum(v > 0 for _, _, v in keypoints) >= 2
    return Thing(keypoints if labelled else [(0, 0, 0)] * len(names), mask)


class ThingsWriter:
    """Gathers the records of one split while its images are written, then writes its annotation file.

    Args:
        root: folder of the dataset.
        split: 0 for training, 1 for evaluation.
        subject: of :data:`supernet.pose.synthetic.subjects.SUBJECTS`.
    """

    def __init__(self, root: Path, split: int, subject: str) -> None:
        self._file = root / LAYOUT / "annotations" / f"{_SPLITS[split]}.json"
        self._folder = root / LAYOUT / "images" / _SPLITS[split]
        self._skeleton = SUBJECTS[subject][0]
        self._images: list[Record] = []
        self._annotations: list[Record] = []
        for folder in (self._file.parent, self._folder):
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, scene: Things, image_id: int) -> None:
        """Write an image, and keep what is on it."""
        height, width = scene.image.shape[:2]
        name = f"{image_id:012d}.jpg"
        _, encoded = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        (self._folder / name).write_bytes(encoded.tobytes())
        self._images.append({"file_name": name, "id": image_id, "height": height, "width": width})
        for number, thing in enumerate(scene.things):
            self._annotations.append(
                {
                    "segmentation": mask_polygons(thing.mask),
                    "num_keypoints": sum(v > 0 for _, _, v in thing.keypoints),
                    "area": float(thing.mask.sum()),
                    "iscrowd": 0,
                    "keypoints": [value for triple in thing.keypoints for value in triple],
                    "image_id": image_id,
                    "bbox": visible_box(thing.mask),
                    "category_id": 1,
                    "id": image_id * (MAX_PEOPLE + 1) + number,
                }
            )

    def finish(self) -> None:
        """Write the annotation file."""
        content = {
            "images": self._images,
            "annotations": self._annotations,
            "categories": [category(self._skeleton, self._skeleton.name)],
        }
        self._file.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
