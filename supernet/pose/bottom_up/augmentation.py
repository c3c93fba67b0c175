"""Bottom-up augmentation: one affine map takes image, keypoints and masks to the network's input.

Coordinates are x before y; a map takes pixels of the image, (0, 0) the centre of the upper left pixel, to pixels of
the network input: x' = k (x - c_x) + W/2 without augmentation, as in bottom-up testing. At an output of stride s the
same map divided by s holds. Source: HigherHRNet (Cheng et al., CVPR 2020), its training transforms.
Shape legend: P people, K joints, H W rows and columns of the network input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from supernet.errors import UserError
from supernet.pose.geometry import CROP_UNITS, Matrix


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for each training image; every number means what it means in HigherHRNet's configuration.

    Attributes:
        max_rotation: Degrees, either way, about the crop's centre.
        min_scale: Smallest factor of the cropped region: 0.75 shows three quarters of a side, so people grow.
        max_scale: Largest factor: 1.5 shows half as much again, so people shrink and black borders appear.
        scale_type: The side of the image that fills the input before that: ``short`` cuts, ``long`` pads.
        max_translate: Shift of the crop along each axis, either way, in 1/200 of the crop's side: 40 is a fifth of the
            network input whatever its size (102 pixels at 512). HigherHRNet draws it as 40 x scale pixels, where scale
            is the crop's side / 200.
        flip_probability: Of mirroring.
        inside: A shift ends where the crop reaches the image's border; a crop larger than the image stays centred. So
            nothing black comes in, and people at the border are seen as often as others. Not in HigherHRNet.

    Raises:
        UserError: A range is empty or an option unknown.
    """

    max_rotation: float = 30.0
    min_scale: float = 0.75
    max_scale: float = 1.5
    scale_type: str = "short"
    max_translate: float = 40.0
    flip_probability: float = 0.5
    inside: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.scale_type not in ("short", "long"):
            raise UserError(f"DATASET.SCALE_TYPE is '{self.scale_type}': write short or long")
        if not 0 < self.min_scale <= self.max_scale:
            raise UserError(
                f"DATASET.MIN_SCALE {self.min_scale} and MAX_SCALE {self.max_scale} leave no scale: give 0 < MIN <= MAX"
            )
        if not 0 <= self.flip_probability <= 1:
            raise UserError(f"DATASET.FLIP is {self.flip_probability}: give a probability from 0 to 1")

    @classmethod
    def none(cls, scale_type: str = "short") -> Augmentation:
        """Nothing is drawn: the map of testing."""
        return cls(0.0, 1.0, 1.0, scale_type, 0.0, 0.0)


def sample_matrix(
    width: int, height: int, input_hw: tuple[int, int], augmentation: Augmentation, rng: np.random.Generator
) -> tuple[Matrix, bool]:
    """Draw the map from an image to the network input.

    Args:
        width: Of the image.
        height: Of the image.
        input_hw: Height and width of the network input. The image's short (or long) side fills the input along its
            own axis; with the sizes of testing, short side and long side rounded up to 64, that is the map of testing.
        augmentation: What may be drawn.
        rng: Always moved by five numbers.

    Returns:
        The map, float64 (2, 3), mirroring included, and whether it mirrors: left and right joints are then to be
        exchanged. A mirrored pixel x becomes W - 1 - x.
    """
    input_height, input_width = input_hw
    rotation, scale, shift_x, shift_y, flip = rng.random(5)
    fits_width = (width < height) == (augmentation.scale_type == "short")
    side, image_side = (input_width, width) if fits_width else (input_height, height)
    crop = image_side * (augmentation.min_scale + scale * (augmentation.max_scale - augmentation.min_scale))
    reach = 2 * augmentation.max_translate / CROP_UNITS * crop
    shifts = [(shift_x - 0.5) * reach, (shift_y - 0.5) * reach]
    if augmentation.inside:
        shown = (crop / side * input_width, crop / side * input_height)  # pixels of the image
        rooms = [max(0.0, (whole - part) / 2) for whole, part in zip((width, height), shown, strict=True)]
        shifts = [min(max(shift, -room), room) for shift, room in zip(shifts, rooms, strict=True)]
    centre = (int(width / 2 + 0.5) + shifts[0], int(height / 2 + 0.5) + shifts[1])  # rounded to a pixel, as in testing
    angle = math.radians((2 * rotation - 1) * augmentation.max_rotation)
    cos, sin = side / crop * math.cos(angle), side / crop * math.sin(angle)
    matrix = np.array(
        [
            [cos, -sin, input_width / 2 - cos * centre[0] + sin * centre[1]],
            [sin, cos, input_height / 2 - sin * centre[0] - cos * centre[1]],
        ]
    )
    flipped = bool(flip < augmentation.flip_probability)
    if flipped:
        matrix[0] *= -1
        matrix[0, 2] += input_width - 1
    return matrix, flipped
