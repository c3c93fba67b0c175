"""Numbers that no right annotation file has: coordinates from 0 to 1, boxes as corners, joints outside of box and image.

Coordinates are x before y in pixels. Shape legend: P people, K joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError

_PERCENT = 100
_ONE_PIXEL = 1.5  # below this all coordinates of a file are shares of the image
_MARGIN = 0.02  # of the image's side, by which a box may leave it
_BOX_MARGIN = 0.25  # of the box's side, by which joints may leave it: boxes are drawn by hand
_FEWEST = 3  # people: of fewer nothing is concluded

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]


def share_of(number: int, people: int) -> str:
    """``12 of 340 people``, ``all 340 people``."""
    return f"all {people} people" if number == people else f"{number} of {people} people"


@dataclass(frozen=True)
class BoxFaults:
    """What is wrong with many boxes; see :func:`box_faults`."""

    shares: bool
    corners: bool
    leaving: int


def box_faults(boxes_P4: Floats, sizes_P2: Floats) -> BoxFaults:
    """Whether boxes are shares of the image or corners, and how many leave their image by much.

    Boxes from x1 y1 to x2 y2 are known by this: nearly all make sense as corners within the image, and taken for x, y,
    width, height a good part of them leaves it.

    Args:
        boxes_P4: x, y, width, height.
        sizes_P2: width and height of each one's image.
    """
    if not len(boxes_P4):
        return BoxFaults(False, False, 0)
    near, far = boxes_P4[:, :2], boxes_P4[:, :2] + boxes_P4[:, 2:]
    slack = 1 + _MARGIN * sizes_P2
    leaves = ((near < -slack) | (far > sizes_P2 + slack)).any(axis=1)
    much = ((near < -0.25 * sizes_P2) | (far > 1.25 * sizes_P2)).any(axis=1)
    as_corners = ((boxes_P4[:, 2:] > near) & (near >= -slack) & (boxes_P4[:, 2:] <= sizes_P2 + slack)).all(axis=1)
    many = len(boxes_P4) >= _FEWEST
    return BoxFaults(
        shares=many and bool((np.abs(boxes_P4) <= _ONE_PIXEL).all() and (boxes_P4 > 0).any()),
        corners=many and bool(as_corners.mean() >= 0.98 and leaves.mean() > 0.1),
        leaving=int(much.sum()),
    )


def check_people(keypoints_PK3: Floats, boxes_P4: Floats, sizes_P2: Floats, file: Path) -> tuple[str, ...]:
    """Look at the numbers of everybody with labelled joints.

    Args:
        keypoints_PK3: x, y, and a visibility above 0 where the joint is labelled.
        boxes_P4: x, y, width, height.
        sizes_P2: width and height of each one's image, as the file says.
        file: What messages name.

    Returns:
        What is unusual, one line each.

    Raises:
        UserError: The numbers mean something else in most people: training on them would be for nothing.
    """
    people = len(keypoints_PK3)
    if not people:
        return ()
    labelled_PK = keypoints_PK3[..., 2] > 0
    xy_PK2 = keypoints_PK3[..., :2]
    joints = xy_PK2[labelled_PK]
    if people >= _FEWEST and np.abs(joints).max() <= _ONE_PIXEL and sizes_P2.min() > 2 * _ONE_PIXEL:
        raise UserError(
            f"{file}: all labelled joints of all {people} people lie between {joints.min():.3g} and {joints.max():.3g}: "
            "they are shares of the image's width and height; multiply them by these, COCO's format has pixels"
        )
    width, height = sizes_P2.min(axis=0)
    if people >= 2 * _FEWEST and np.abs(joints).max() <= _PERCENT and min(width, height) > 3 * _PERCENT:
        raise UserError(
            f"{file}: all labelled joints of all {people} people lie between 0 and 100, on images of {width:g} x {height:g} "
            "and more: they are percent of the image's width and height; COCO's format has pixels"
        )
    boxes = box_faults(boxes_P4, sizes_P2)
    if boxes.shares:
        raise UserError(
            f"{file}: the boxes of all {people} people lie between 0 and 1: multiply 'bbox' by the image's width and "
            "height, COCO's format has pixels"
        )
    if boxes.corners:
        raise UserError(
            f"{file}: the boxes of the {people} people are corners (x1 y1 x2 y2): write x, y, width, height in 'bbox'"
        )
    counts = labelled_PK.sum(axis=1)
    outside = _outside(xy_PK2, np.zeros_like(sizes_P2), sizes_P2, _MARGIN * sizes_P2 + 1) & labelled_PK
    off_image = int((2 * outside.sum(axis=1) > counts).sum())
    margin = _BOX_MARGIN * np.abs(boxes_P4[:, 2:]) + 2
    off_box = _outside(xy_PK2, boxes_P4[:, :2], boxes_P4[:, :2] + boxes_P4[:, 2:], margin) & labelled_PK
    out_of_box = int((2 * off_box.sum(axis=1) > counts).sum())
    for number, what, remedy in (
        (
            off_image,
            "have most of their joints outside of the image",
            "annotate the images of this size, or scale them",
        ),
        (out_of_box, "have most of their joints outside of their box", "write x, y, width, height of the same image"),
        (boxes.leaving, "have a box that leaves the image by far", "write x, y, width, height in pixels"),
    ):
        if 2 * number > people and number >= _FEWEST:
            raise UserError(f"{file}: {share_of(number, people)} {what}: {remedy}")
    lines = []
    if outside.any():
        lines.append(
            f"{share_of(int(outside.any(axis=1).sum()), people)} have a labelled joint outside of the image "
            f"({int(outside.sum())} joints): it is trained and evaluated as it stands"
        )
    if out_of_box:
        lines.append(f"{share_of(out_of_box, people)} have most of their joints outside of their box")
    if boxes.leaving:
        lines.append(f"{share_of(boxes.leaving, people)} have a box that leaves the image by a quarter of its side")
    flat = int(((boxes_P4[:, 2:] <= 1).any(axis=1)).sum())
    if flat:
        lines.append(f"{share_of(flat, people)} have a box of at most one pixel's width or height")
    return tuple(lines)


def _outside(xy_PK2: Floats, near_P2: Floats, far_P2: Floats, margin_P2: Floats) -> Bools:
    """Which joints (P, K) lie outside of a rectangle for each person."""
    below = xy_PK2 < (near_P2 - margin_P2)[:, None]
    beyond = xy_PK2 > (far_P2 + margin_P2)[:, None]
    return np.asarray((below | beyond).any(axis=2))


def listed(names: Sequence[object], most: int = 5) -> str:
    """``0, 2 and 7``; of many the first ones, and how many."""
    shown = [str(name) for name in names[:most]]
    more = f" … ({len(names)} in all)" if len(names) > most else ""
    return (", ".join(shown[:-1]) + " and " + shown[-1] if len(shown) > 1 else "".join(shown)) + more
