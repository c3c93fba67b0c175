"""One image of drawn people, and what is true of every person in it: joints, visibility, mask, boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from supernet.pose.keypoints import COCO, Skeleton
from supernet.pose.synthetic.background import sample_backdrop
from supernet.pose.synthetic.figure import PARTS, Figure, sample_figure
from supernet.pose.synthetic.figure_drawing import draw_figure, sample_look

Mask = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1
_OVERSIZE = 2  # people are drawn larger by this factor, then shrunk
MAX_PEOPLE = 255 // len(PARTS)  # what the one-byte map of owners can tell apart


@dataclass(frozen=True)
class Person:
    """One person of a scene; ``joints`` are whole-pixel (x, y, v) of every joint name, boxes are x0, y0, x1, y1."""

    figure: Figure
    joints: dict[str, tuple[int, int, int]]
    mask: Mask
    own_area: int
    box: Box
    head_box: Box

    @property
    def labelled(self) -> bool:
        """Whether enough is seen of the person for the joints to be labelled: 8 % of the pixels, three joints."""
        in_frame = sum(self.joints[name][2] > 0 for name in COCO.joints)
        return in_frame >= 3 and int(self.mask.sum()) >= 0.08 * self.own_area

    def keypoints(self, skeleton: Skeleton) -> list[tuple[int, int, int]]:
        """(x, y, v) in the skeleton's order; all zero for a person that is not labelled."""
        return [self.joints[name] if self.labelled else (0, 0, 0) for name in skeleton.joints]


@dataclass(frozen=True)
class Scene:
    """An image, BGR [H, W, 3], and the people of whom something is seen, far to near."""

    image: npt.NDArray[np.uint8]
    people: list[Person]


def _place(
    rng: np.random.Generator,
    size: tuple[float, float],
    frame: tuple[float, float],
    taken: list[Box],
    tolerated: float,
) -> tuple[float, float]:
    """Top left corner of a box: mostly inside the frame, mostly not upon the boxes that are taken."""
    (w, h), (width, height) = size, frame
    best, least = (0.0, 0.0), np.inf
    for _ in range(10):
        beyond = 0.35 * w if rng.random() < 0.15 else 0.0
        low, high = -beyond, width - w + beyond
        x = rng.uniform(low, high) if low < high else (width - w) / 2
        if h > 0.96 * height:
            y = rng.uniform(0, 0.04) * height if rng.random() < 0.8 else height * 0.98 - h
        else:
            y = height - h * rng.uniform(0.55, 0.9) if rng.random() < 0.1 else (height - h) * rng.uniform(0.2, 1)
        overlap = max((max(0.0, min(x + w, x1) - max(x, x0)) * max(0.0, min(y + h, y1) - max(y, y0))
                       / min(w * h, (x1 - x0) * (y1 - y0)) for x0, y0, x1, y1 in taken), default=0.0)  # fmt: skip
        if overlap < least:
            best, least = (x, y), overlap
        if overlap <= tolerated:
            break
    return best


def sample_scene(rng: np.random.Generator, width: int, height: int, max_people: int) -> Scene:
    """Draw one image with one to ``max_people`` people, fewer being likelier."""
    weights = 1.0 / np.arange(1, max_people + 1) ** 0.8
    # One image in ten is a crowd: everyone in a part of the image, so that all three crowd classes occur.
    crowd = max_people > 2 and rng.random() < 0.1
    count = max_people if crowd else int(rng.choice(max_people, p=weights / weights.sum())) + 1
    across = 0.55 * width if crowd else float(width)
    left = rng.uniform(0, width - across)
    backdrop = sample_backdrop(rng, width, height)
    blue, green, red = backdrop.reshape(-1, 3).mean(axis=0)
    placed: list[tuple[float, Figure, npt.NDArray[np.float64]]] = []
    boxes: list[Box] = []
    for _ in range(count):
        figure = sample_figure(rng, sample_look(rng, (float(blue), float(green), float(red))))
        small = rng.random() < 0.12
        scale = height * (rng.uniform(0.3, 0.45) if small else rng.uniform(0.47, 1.14 - 0.1 * min(count - 1, 4)))
        x0, y0, x1, y1 = (side * scale for side in figure.box())
        tolerated = 0.6 if crowd or rng.random() < 0.25 else 0.25
        x, y = _place(rng, (x1 - x0, y1 - y0), (across, height), [(a - left, b, c - left, d) for a, b, c, d in boxes],
                      tolerated)  # fmt: skip
        x += left
        boxes.append((x, y, x + x1 - x0, y + y1 - y0))
        placed.append((scale, figure, np.array([x - x0, y - y0])))
    placed.sort(key=lambda item: item[0])  # the larger, the nearer

    large = cv2.resize(backdrop, None, fx=_OVERSIZE, fy=_OVERSIZE, interpolation=cv2.INTER_LINEAR)
    image, ids = np.ascontiguousarray(large, dtype=np.uint8), np.zeros(large.shape[:2], np.uint8)
    areas: list[int] = []
    for index, (scale, figure, origin) in enumerate(placed):
        first_id = 1 + index * len(PARTS)
        # a pixel centre x of the small image lies at _OVERSIZE * (x + 0.5) - 0.5 of the large one
        draw_figure(figure, image, ids, scale * _OVERSIZE, (origin + 0.5) * _OVERSIZE - 0.5, first_id)
        areas.append(int((ids[::_OVERSIZE, ::_OVERSIZE] >= first_id).sum()))
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    owners = ids[::_OVERSIZE, ::_OVERSIZE]
    people = [_observe(figure, scale, origin, owners, index, areas[index])
              for index, (scale, figure, origin) in enumerate(placed)]  # fmt: skip
    return Scene(image, [person for person in people if person.mask.any()])


def _observe(
    figure: Figure, scale: float, origin: npt.NDArray[np.float64], owners: npt.NDArray[np.uint8], index: int, area: int
) -> Person:
    height, width = owners.shape
    first_id = 1 + index * len(PARTS)
    joints: dict[str, tuple[int, int, int]] = {}
    for name, position in figure.joints.items():
        x, y = np.rint(position[:2] * scale + origin).astype(int).tolist()
        if not (0 <= x < width and 0 <= y < height):
            joints[name] = (0, 0, 0)
            continue
        part = int(owners[y, x]) - first_id
        seen = 0 <= part < len(PARTS) and not figure.hidden_by_itself(name, PARTS[part])
        joints[name] = (x, y, 2 if seen else 1)
    mask = (owners >= first_id) & (owners < first_id + len(PARTS))

    def frame(box: Box) -> Box:
        x0, y0, x1, y1 = (np.array(box).reshape(2, 2) * scale + origin).ravel().tolist()
        return x0, y0, x1, y1

    return Person(figure, joints, mask, area, frame(figure.box()), frame(figure.head_box()))
