"""Drawn things with other joints than people's: quadrilaterals (4 corners), hands (21 joints), four-legged animals (17).

Coordinates are x before y, y downwards, in units of about the size of the thing. Left and right are the thing's own, except
for the corners, which are those of the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from supernet.pose.keypoints import Skeleton

Vector = NDArray[np.float64]
_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")

CORNERS = Skeleton(
    name="parcel",
    joints=("top_left", "top_right", "bottom_right", "bottom_left"),
    limbs=((0, 1), (1, 2), (2, 3), (3, 0)),
)
HAND = Skeleton(
    name="hand",
    joints=("wrist", *(f"{finger}{joint}" for finger in _FINGERS for joint in (1, 2, 3, 4))),
    limbs=tuple((0 if joint == 0 else 4 * n + joint, 4 * n + joint + 1) for n in range(5) for joint in range(4)),
)
ANIMAL = Skeleton(
    name="animal",
    joints=(
        "left_eye", "right_eye", "nose", "neck", "root_of_tail", "left_shoulder", "left_elbow", "left_front_paw",
        "right_shoulder", "right_elbow", "right_front_paw", "left_hip", "left_knee", "left_back_paw", "right_hip",
        "right_knee", "right_back_paw",
    ),
    limbs=(
        (0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (3, 5), (5, 6), (6, 7), (3, 8), (8, 9), (9, 10), (4, 11), (11, 12),
        (12, 13), (4, 14), (14, 15), (15, 16),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A filled polygon, or with a width a line of round ends through its points.

    Attributes:
        points: (N, 2).
        shade: factor on the colour of the thing.
        width: of the line; 0 for a polygon.
    """

    points: Vector
    shade: float
    width: float = 0.0


@dataclass
class Drawing:
    """One thing.

    Attributes:
        joints: position of every joint by name.
        shapes: what is drawn, in this order.
        hidden: joints that the thing itself hides.
    """

    joints: dict[str, Vector]
    shapes: list[Shape]
    hidden: set[str] = field(default_factory=set)

    def moved(self, matrix: Vector, origin: Vector, scale: float) -> Drawing:
        """The same under a linear map, which is ``scale`` times a rotation or a reflection, and a shift."""
        joints = {name: matrix @ joint + origin for name, joint in self.joints.items()}
        shapes = [Shape(shape.points @ matrix.T + origin, shape.shade, shape.width * scale) for shape in self.shapes]
        return Drawing(joints, shapes, self.hidden)


def sample_corners(rng: np.random.Generator) -> Drawing:
    """A parcel: a quadrilateral with a dark band along its upper edge."""
    wide, high = rng.uniform(0.35, 0.5), rng.uniform(0.25, 0.5)
    corners = np.array([[-wide, -high], [wide, -high], [wide, high], [-wide, high]]) + rng.uniform(-0.07, 0.07, (4, 2))
    top_left, top_right, bottom_right, bottom_left = corners
    band = [top_left, top_right, 0.7 * top_right + 0.3 * bottom_right, 0.7 * top_left + 0.3 * bottom_left]
    return Drawing(dict(zip(CORNERS.joints, corners, strict=True)), [Shape(corners, 1.0), Shape(np.array(band), 0.5)])


def sample_hand(rng: np.random.Generator) -> Drawing:
    """A left or a right hand, its fingers spread, each in its own shade."""
    joints: dict[str, Vector] = {"wrist": np.array([0.0, 0.45])}
    fingers = []
    for finger, angle, base, length in zip(
        _FINGERS, (-48, -17, -3, 10, 24), (0.24, 0.46, 0.48, 0.45, 0.41), (0.42, 0.44, 0.48, 0.44, 0.34), strict=True
    ):
        point, bend = joints["wrist"] + base * _direction(angle), angle + rng.uniform(-6, 6)
        joints[f"{finger}1"] = point
        for joint, part in zip((2, 3, 4), (0.45, 0.3, 0.25), strict=True):
            point = point + part * length * rng.uniform(0.85, 1.1) * _direction(bend)
            bend += rng.uniform(-8, 8)
            joints[f"{finger}{joint}"] = point
        fingers.append(np.array([joints[f"{finger}{joint}"] for joint in (1, 2, 3, 4)]))
    palm = [[-0.1, 0.5], *(finger[0] for finger in fingers), [0.13, 0.5]]
    shapes = [Shape(np.array(palm), 0.8), Shape(np.array([joints["wrist"]]), 0.6, 0.12)]
    shapes += [Shape(finger, 1.0 - 0.09 * n, 0.095) for n, finger in enumerate(fingers)]
    shapes += [Shape(finger[-1:], 0.45, 0.06) for finger in fingers]
    drawing = Drawing(joints, shapes)
    return _mirrored(drawing) if rng.random() < 0.5 else drawing


def sample_animal(rng: np.random.Generator) -> Drawing:
    """An animal from its left side, facing left, or from its right side, facing right; the legs of the far side are darker."""
    side, far = ("left", "right") if rng.random() < 0.5 else ("right", "left")
    lift = rng.uniform(-0.12, 0.05)
    nose, neck, tail = np.array([-0.62, -0.2 + lift]), np.array([-0.36, -0.16 + lift / 2]), np.array([0.4, -0.12])
    eye = nose + [0.12, -0.09]
    joints = {f"{side}_eye": eye, f"{far}_eye": eye + [-0.015, -0.01], "nose": nose, "neck": neck, "root_of_tail": tail}
    shapes = []
    for leg, shift, shade in ((far, 0.07, 0.55), (side, 0.0, 0.85)):
        for names, top in (
            (("shoulder", "elbow", "front_paw"), [-0.27, 0.02]),
            (("hip", "knee", "back_paw"), [0.3, 0.0]),
        ):
            first = np.array(top) + [shift, 0.0]
            second = first + [rng.uniform(-0.08, 0.08), 0.2]
            third = second + [rng.uniform(-0.08, 0.08), 0.2]
            joints |= {f"{leg}_{name}": point for name, point in zip(names, (first, second, third), strict=True)}
            shapes.append(Shape(np.array([first, second, third]), shade, 0.085))
            shapes.append(Shape(third[None], shade * 0.6, 0.1))
    body = Shape(np.array([[-0.25, -0.05], [0.3, -0.04]]), 1.0, 0.3)
    head = [
        Shape(np.array([[-0.28, -0.08], neck, nose + [0.14, 0.0]]), 1.0, 0.16),
        Shape(np.array([nose, nose + [0.14, 0.0]]), 1.0, 0.1),
    ]
    marks = [Shape(nose[None], 0.35, 0.06), Shape(eye[None], 0.2, 0.045)]
    ending = Shape(np.array([tail, tail + [0.16, rng.uniform(-0.1, 0.2)]]), 0.7, 0.05)
    drawing = Drawing(
        joints, [ending, *shapes[:4], body, *head, *shapes[4:], *marks], {f"{far}_eye", f"{far}_shoulder", f"{far}_hip"}
    )
    return drawing if side == "left" else _mirrored(drawing)


#: What can be drawn: its skeleton, how one is drawn, and the largest rotation in degrees.
SUBJECTS: dict[str, tuple[Skeleton, Callable[[np.random.Generator], Drawing], float]] = {
    "corners": (CORNERS, sample_corners, 20.0),
    "hands": (HAND, sample_hand, 35.0),
    "animals": (ANIMAL, sample_animal, 12.0),
}


def _direction(degrees: float) -> Vector:
    """The unit vector so many degrees clockwise from upwards."""
    return np.array([np.sin(np.radians(degrees)), -np.cos(np.radians(degrees))])


def _mirrored(drawing: Drawing) -> Drawing:
    return drawing.moved(np.diag([-1.0, 1.0]), np.zeros(2), 1.0)
