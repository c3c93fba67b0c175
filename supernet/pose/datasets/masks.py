"""The parts of an image that annotation files draw round crowds and people: COCO's polygons and run lengths.

Run lengths count pixels column by column, outside and inside in turn; as text they are COCO's compressed form. They are
read here and not by pycocotools, which hands out unwritten memory where they do not fill their image.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from supernet.errors import UserError
from supernet.pose.datasets.annotations import Person

_FARTHEST = 100_000  # pixels; pycocotools ends the process where a polygon's corner is 1e9 away
_LARGEST_IMAGE = 2**28  # pixels
_NUMBERS = (int, float)


def complaint(segmentation: Any) -> str | None:
    """What is wrong with an annotation's segmentation; None where :func:`region` can draw it."""
    if segmentation is None or isinstance(segmentation, list):
        usable = all(
            isinstance(polygon, list) and all(type(n) in _NUMBERS and abs(n) <= _FARTHEST for n in polygon)
            for polygon in segmentation or ()
        )
        return None if usable else f"is not lists of numbers up to {_FARTHEST}"
    try:
        height, width = segmentation["size"]
        runs = _run_lengths(segmentation["counts"])
        usable = all(type(n) is int and n >= 0 for n in (height, width, *runs))
        usable = usable and height * width <= _LARGEST_IMAGE and sum(runs) == height * width
    except (TypeError, ValueError, KeyError):
        usable = False
    return None if usable else "is no run lengths that fill their size"


def region(people: Sequence[Person], image_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixels of an image (H, W) are these people's: their segmentations, or their boxes where they have none.

    Raises:
        UserError: A segmentation is for an image of another size.
    """
    height, width = image_hw
    covered = np.zeros(image_hw, np.bool_)
    polygons: list[Any] = []
    for person in people:
        shape = person.segmentation
        if isinstance(shape, list):
            shape = [polygon for polygon in shape if len(polygon) >= 6]  # fewer than three corners have no inside
        if not shape:
            x, y, box_width, box_height = person.bbox
            left, top = max(0, math.floor(x)), max(0, math.floor(y))
            covered[top : max(0, math.ceil(y + box_height)), left : max(0, math.ceil(x + box_width))] = True
        elif isinstance(shape, list):
            polygons += coco_mask.frPyObjects(shape, height, width)
        elif list(shape["size"]) != [height, width]:
            raise UserError(
                f"a segmentation of size {shape['size']} lies on an image of size {[height, width]} (height, width): "
                "use the images that the annotation file was made for"
            )
        else:
            runs = _run_lengths(shape["counts"])
            covered |= np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T
    if polygons:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools 2.0.11 under numpy 2, harmless
            covered |= coco_mask.decode(coco_mask.merge(polygons)).view(np.bool_)
    return covered


def _run_lengths(counts: Any) -> list[int]:
    """The numbers of a list, or of COCO's text: five bits a character, low ones first, differences from the third on."""
    if isinstance(counts, list):
        return counts
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - 48
        value |= (code & 31) << shift
        shift += 5
        if code & 32:  # more of this number follows
            continue
        if code & 16:  # negative
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
