"""CrowdPose's crowd index, for files that do not have it.

Source: CrowdPose (Li et al., CVPR 2019): the mean over an image's people of the joints of others in a person's box, divided by
that person's own joints, at most 1. Official files round it to two decimals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def with_crowd_index(ground_truth: Mapping[str, Any]) -> dict[str, Any]:
    """A ground truth in which every image has a ``crowdIndex``: its own, or what boxes and joints give."""
    if all(image.get("crowdIndex") is not None for image in ground_truth["images"]):
        return dict(ground_truth)
    of_image: dict[int, list[Mapping[str, Any]]] = {}
    for person in ground_truth["annotations"]:
        if person["num_keypoints"] and not person.get("iscrowd"):
            of_image.setdefault(person["image_id"], []).append(person)
    images = [
        image
        if image.get("crowdIndex") is not None
        else {**image, "crowdIndex": crowd_index(of_image.get(image["id"], ()))}
        for image in ground_truth["images"]
    ]
    return {**ground_truth, "images": images}


def crowd_index(people: Sequence[Mapping[str, Any]]) -> float:
    """The crowd index, 0 to 1, of the annotated people of one image; 0 where nobody is."""
    if not people:
        return 0.0
    joints_PK3 = np.array([person["keypoints"] for person in people], np.float64).reshape(len(people), -1, 3)
    boxes = np.array([person["bbox"] for person in people], np.float64)
    near, far = boxes[:, None, None, :2], (boxes[:, :2] + boxes[:, 2:])[:, None, None]
    labelled_PK = joints_PK3[..., 2] > 0
    inside = ((joints_PK3[None, ..., :2] >= near) & (joints_PK3[None, ..., :2] <= far)).all(axis=-1)
    counts = (inside & labelled_PK[None]).sum(axis=2)  # [i, j]: joints of person j in the box of person i
    others = counts.sum(axis=1) - np.diag(counts)
    return float(np.minimum(1.0, others / np.maximum(1, labelled_PK.sum(axis=1))).mean())
