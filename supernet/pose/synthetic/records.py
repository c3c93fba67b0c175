"""What annotation files say of a drawn person: the entries of COCO, CrowdPose and MPII, polygons of masks, the crowd index."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from supernet.pose.geometry import CROP_UNITS
from supernet.pose.keypoints import COCO, CROWDPOSE, MPII, Skeleton
from supernet.pose.synthetic.scene import MAX_PEOPLE, Person

Record = dict[str, Any]


def mask_polygons(mask: npt.NDArray[np.bool_]) -> list[list[float]]:
    """Outline a mask [H, W] so that COCO's rasteriser gives back exactly the same pixels, holes included.

    Returns one flat x, y list per connected piece, in corner coordinates (the first pixel spans 0 to 1). A hole is
    joined to its outline by a bridge walked twice, which the even-odd rule of the rasteriser cancels.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    cropped = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8)
    # Each pixel becomes a 3x3 block, so that the two sides of a pixel are different points of the traced border.
    blocks = np.repeat(np.repeat(cropped, 3, axis=0), 3, axis=1)
    contours, hierarchy = cv2.findContours(blocks, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    parents = hierarchy[0][:, 3].tolist()
    pieces: dict[int, list[float]] = {}
    for index in sorted(range(len(contours)), key=lambda i: parents[i] >= 0):  # outlines before holes
        points = (contours[index][:, 0, :] + 1) // 3 + [columns[0], rows[0]]
        points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
        straight = np.all(np.roll(points, -1, axis=0) - points == points - np.roll(points, 1, axis=0), axis=1)
        flat = points[~straight].ravel().tolist()
        if parents[index] < 0:
            pieces[index] = flat
        else:
            outline = pieces[parents[index]]
            outline += outline[:2] + flat + flat[:2] + outline[:2]
    return list(pieces.values())


def crowd_index(people: list[Record]) -> float:
    """CrowdPose's crowd index of one image's annotations, rounded to two decimals.

    The mean over people of (labelled joints of others inside my box) / (my own inside it); people without a joint of
    their own in their box do not count, and an image in which nobody counts has 0. Li et al., CVPR 2019, section 3.
    """
    ratios = []
    for mine in people:
        x, y, w, h = mine["bbox"]
        inside = []
        for other in people:
            px, py, v = np.array(other["keypoints"]).reshape(-1, 3).T
            inside.append(int(((v > 0) & (px >= x) & (px <= x + w) & (py >= y) & (py <= y + h)).sum()))
        own = next(count for count, other in zip(inside, people, strict=True) if other is mine)
        if own:
            ratios.append((sum(inside) - own) / own)
    return round(float(np.mean(ratios)), 2) if ratios else 0.0


def visible_box(mask: npt.NDArray[np.bool_]) -> list[float]:
    """x, y, width, height of the pixels of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [float(columns[0]), float(rows[0]), float(np.ptp(columns) + 1), float(np.ptp(rows) + 1)]


def coco_record(person: Person, image_id: int, number: int) -> Record:
    """COCO's entry of a person; ``number`` is the place on the image."""
    keypoints = person.keypoints(COCO)
    return {
        "segmentation": mask_polygons(person.mask),
        "num_keypoints": sum(v > 0 for _, _, v in keypoints),
        "area": float(person.mask.sum()),
        "iscrowd": 0,
        "keypoints": [value for triple in keypoints for value in triple],
        "image_id": image_id,
        "bbox": visible_box(person.mask),
        "category_id": 1,
        "id": image_id * (MAX_PEOPLE + 1) + number,
    }


def crowdpose_record(person: Person, image_id: int, number: int) -> Record:
    """CrowdPose's entry of a person, without segmentation and area."""
    # As in the official files: head and neck are only labelled or not, and do not count.
    keypoints = [(x, y, min(v, 1) if name in ("head", "neck") else v)
                 for name, (x, y, v) in zip(CROWDPOSE.joints, person.keypoints(CROWDPOSE), strict=True)]  # fmt: skip
    return {
        "num_keypoints": sum(v > 0 for _, _, v in keypoints[:12]),
        "iscrowd": 0,
        "keypoints": [value for triple in keypoints for value in triple],
        "image_id": image_id,
        "bbox": visible_box(person.mask),
        "category_id": 1,
        "id": image_id * (MAX_PEOPLE + 1) + number,
    }


def mpii_record(person: Person, file_name: str, width: int, height: int) -> Record:
    """Centre and scale such that the readers' usual crop (moved down by 15 x scale) is centred on the person."""
    x0, y0, x1, y1 = np.clip(person.box, 0, [width - 1, height - 1] * 2)
    scale = max(x1 - x0, y1 - y0) / CROP_UNITS
    keypoints = person.keypoints(MPII)
    return {
        "joints_vis": [int(v > 0) for _, _, v in keypoints],
        "joints": [[x + 1.0, y + 1.0] if v else [-1.0, -1.0] for x, y, v in keypoints],
        "image": file_name,
        "scale": round(float(scale), 6),
        "center": [round(float(x0 + x1) / 2 + 1, 1), round(float(y0 + y1) / 2 + 1 - 15 * scale, 1)],
    }


def category(skeleton: Skeleton, name: str = "person") -> Record:
    """The category of people, or of other things: joints and limbs, from 1."""
    return {"supercategory": name, "id": 1, "name": name, "keypoints": list(skeleton.joints),
            "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs]}  # fmt: skip
