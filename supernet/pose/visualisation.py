"""Poses on images, and many images on one sheet.

Colours are RGB. Left and right are the person's own: left limbs are warm, right limbs cool, the middle green.
Keypoints are x before y in pixels, (0, 0) the centre of the upper left pixel. Shape legend: P people, K joints.
"""

from __future__ import annotations

import colorsys
import math
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from supernet.errors import UserError
from supernet.pose.keypoints import Skeleton

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

HUES = {"left": 0.07, "right": 0.58, "middle": 0.34}  # orange, blue, green: told apart also when red and green are not
SHADES = ((1.0, 1.0), (0.55, 1.0), (1.0, 0.72), (0.75, 0.88), (0.4, 0.85), (0.9, 0.58))  # saturation, value: by person
OUTLINE: Colour = (20, 20, 20)  # keeps a limb visible on a ground of its own colour
FRACTION_BITS = 4  # OpenCV draws anti-aliased lines at sixteenths of a pixel
PAPER = 255


def draw_poses(
    image_rgb: Image,
    keypoints_PK3: NDArray[np.floating],
    skeleton: Skeleton,
    *,
    threshold: float = 0.05,
    scale: float = 1,
) -> Image:
    """Draw people's limbs and joints on a copy of an image.

    Args:
        image_rgb: (H, W, 3).
        keypoints_PK3: (P, K, 3): x, y in pixels of ``image_rgb`` and a score (or visibility); P may be 0.
        skeleton: the joints' order and the limbs.
        threshold: joints with a score not above it, and their limbs, are left out; so are joints that are not finite.
        scale: enlarges the image before drawing, so that small people can be read.

    Returns:
        (round(H * scale), round(W * scale), 3).

    Raises:
        UserError: the image is not (H, W, 3) uint8, or the joints are not the skeleton's.
    """
    _check_image(image_rgb)
    keypoints = np.asarray(keypoints_PK3, dtype=np.float64)
    if keypoints.size and keypoints.shape[1:] != (skeleton.num_joints, 3):
        raise UserError(
            f"keypoints have shape {keypoints.shape}, skeleton {skeleton.name!r} needs (people, {skeleton.num_joints}, "
            "3): give x, y, score of every joint"
        )
    height, width = (max(1, round(side * scale)) for side in image_rgb.shape[:2])
    if (height, width) == image_rgb.shape[:2]:
        canvas = image_rgb.copy()
    else:
        canvas = np.asarray(cv2.resize(image_rgb, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    thickness = max(1, round(math.sqrt(height * width) / 190))
    for number, person_K3 in enumerate(keypoints):
        shade = SHADES[number % len(SHADES)]
        # Pixel centres stay pixel centres when the image grows.
        points = (person_K3[:, :2] + 0.5) * scale - 0.5
        # A network that is not trained yet may find points far outside, which OpenCV's integers cannot hold.
        drawable = np.isfinite(person_K3).all(axis=1) & (np.abs(points) < 1e5).all(axis=1)
        drawable &= person_K3[:, 2] > threshold
        limbs = [(start, end) for start, end in skeleton.limbs if drawable[start] and drawable[end]]
        for outline in (True, False):
            wider = 2 if outline else 0
            for start, end in limbs:
                colour = OUTLINE if outline else _colour(_side(skeleton, start, end), shade)
                ends = (_fixed(points[start]), _fixed(points[end]))
                cv2.line(canvas, *ends, colour, thickness + wider, cv2.LINE_AA, FRACTION_BITS)
            for joint in map(int, np.flatnonzero(drawable)):
                colour = OUTLINE if outline else _colour(_side(skeleton, joint, joint), shade)
                radius = (thickness + wider / 2) * 2**FRACTION_BITS
                cv2.circle(canvas, _fixed(points[joint]), round(radius), colour, -1, cv2.LINE_AA, FRACTION_BITS)
    return canvas


def contact_sheet(images: Sequence[Image], columns: int, cell: int, captions: Sequence[str] | None = None) -> Image:
    """Put images on one white sheet, row by row, each shrunk or grown to fit its square cell.

    Args:
        images: (H, W, 3) each, of any sizes.
        columns: cells in a row.
        cell: side of a cell in pixels.
        captions: one short line under each image (cut where it does not fit); OpenCV's font has ASCII only.

    Raises:
        UserError: no image, a size below 1, another number of captions, or an image that is not (H, W, 3) uint8.
    """
    if not images:
        raise UserError("a contact sheet needs an image: images is empty")
    if columns < 1 or cell < 1:
        raise UserError(
            f"a contact sheet of {columns} columns of {cell} pixels is not possible: give 1 or more of each"
        )
    if captions is not None and len(captions) != len(images):
        raise UserError(f"{len(captions)} captions for {len(images)} images: give one for each")
    text_size = max(0.35, cell / 600)
    (_, text_height), text_depth = cv2.getTextSize("Ag", cv2.FONT_HERSHEY_SIMPLEX, text_size, 1)
    band = text_height + text_depth + 4 if captions is not None else 0
    rows = math.ceil(len(images) / columns)
    sheet = np.full((rows * (cell + band), columns * cell, 3), PAPER, dtype=np.uint8)
    for number, image in enumerate(images):
        _check_image(image)
        top, left = number // columns * (cell + band), number % columns * cell
        shrink = cell / max(image.shape[:2])
        height, width = (min(cell, max(1, round(side * shrink))) for side in image.shape[:2])
        way = cv2.INTER_AREA if shrink < 1 else cv2.INTER_LINEAR
        y, x = top + (cell - height) // 2, left + (cell - width) // 2
        sheet[y : y + height, x : x + width] = cv2.resize(image, (width, height), interpolation=way)
        if captions is not None:
            strip = sheet[top + cell : top + cell + band, left : left + cell].copy()  # text cannot leave its cell
            origin = (3, text_height + 2)
            cv2.putText(strip, captions[number], origin, cv2.FONT_HERSHEY_SIMPLEX, text_size, OUTLINE, 1, cv2.LINE_AA)
            sheet[top + cell : top + cell + band, left : left + cell] = strip
    return sheet


def save_image(path: Path, image_rgb: Image) -> None:
    """Write an image in the format that the name's ending says (.png, .jpg, ...), whole or not at all.

    Raises:
        UserError: the ending is unknown, the folder is missing or cannot be written, or it is no (H, W, 3) uint8.
    """
    _check_image(image_rgb)
    try:
        known, encoded = cv2.imencode(path.suffix, cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))
    except cv2.error:
        known = False
    if not known:
        raise UserError(f"{path}: no image format ends in {path.suffix!r}: name it .png or .jpg")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(encoded.tobytes())
        unfinished.replace(path)
    except OSError as error:
        raise UserError(f"{path}: the image cannot be written ({error.strerror}): give a folder that can") from None
    finally:
        if unfinished.exists():
            unfinished.unlink()


def _check_image(image: Image) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise UserError(f"an image of {image.dtype} with shape {image.shape} cannot be used: give (H, W, 3) uint8 RGB")


def _side(skeleton: Skeleton, start: int, end: int) -> str:
    """The side of a limb: that of its joints, if they are not of both sides.

    A limb from the middle to one side (neck to shoulder) belongs to that side.
    """
    sides = {skeleton.sides[joint] for joint in (start, end)} - {"middle"}
    return sides.pop() if len(sides) == 1 else "middle"


def _colour(side: str, shade: tuple[float, float]) -> Colour:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(HUES[side], *shade))
    return red, green, blue


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    """A point in OpenCV's fixed-point coordinates."""
    x, y = np.rint(point * 2**FRACTION_BITS)
    return int(x), int(y)
