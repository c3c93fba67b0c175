"""Samples of a run's training data as pictures: as annotated, mirrored, and as augmentation hands them to the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..pose.datasets.annotations import AnnotatedImage, PoseImage
from ..pose.datasets.coco_format import PoseDataset
from ..pose.datasets.images import read_image
from ..pose.datasets.masks import region
from ..pose.datasets.people import PersonInstance
from ..pose.protocols import KeypointDataset
from ..pose.sample_drawing import DrawnSample, draw_sample, mirrored
from ..pose.top_down.simcc import simcc_peaks
from ..report.check_page import SamplePictures
from ..report.interactive import evenly
from .models import superconfig_of
from .run import Run

AUGMENTED = 2  # of each sample
SIDE, SMALL = 380, 200  # pixels of the longer side
Batch = Mapping[str, Any]


@dataclass(frozen=True)
class _Step:
    """A training step of some samples."""

    number: int
    images: Sequence[int]
    input_hw: tuple[int, int]
    architectures: Sequence[Any]
    offset: int = 0


def sample_pictures(run: Run, dataset: KeypointDataset[Any], most: int) -> list[SamplePictures]:
    """At most so many samples, evenly from what is trained on.

    Args:
        run: Whose augmentation, input size and targets are shown.
        dataset: What is trained on.
        most: Samples.
    """
    chosen = [int(index) for index in evenly(len(dataset), most)]
    annotated = {image.id: image for image in dataset.images()} if run.data.approach == "top-down" else {}
    batches = _augmented(run, dataset, chosen)
    skeleton, result = run.skeleton, []
    for row, position in enumerate(chosen):
        sample = dataset[position]
        drawn, title = _drawn(sample, annotated, dataset, skeleton.num_joints)
        inputs = [draw_sample(_input(batch, row), skeleton, SMALL, names=False) for batch in batches]
        flipped = draw_sample(mirrored(drawn, skeleton), skeleton, SMALL, names=False)
        result.append(SamplePictures(title, [draw_sample(drawn, skeleton, SIDE, names=True), flipped, *inputs]))
    return result


def _drawn(
    sample: PoseImage | PersonInstance, annotated: Mapping[int, AnnotatedImage], dataset: Any, joints: int
) -> tuple[DrawnSample, str]:
    """An image with everybody on it, what is ignored, and the boxes: of everybody, or of the one person who is shown."""
    pixels = read_image(sample.path, sample.size_wh)
    if isinstance(sample, PersonInstance):
        keypoints_PK3 = annotated[sample.image_id].keypoints_PK3
        boxes = [sample.bbox] if sample.bbox is not None else []
        images = dataset.annotated_images
        everybody = _image_of(images, sample.image_id).people if images is not None else ()
        same = [bool((person == sample.keypoints_K3).all()) for person in keypoints_PK3]
        named = same.index(True) if any(same) else None
        title = f"{sample.path.name}, annotation {sample.annotation_id}"
    else:
        everybody, named = sample.people, None
        shown = [person for person in everybody if not person.ignored]
        keypoints_PK3 = np.array([person.keypoints_K3 for person in shown], np.float32).reshape(-1, joints, 3)
        boxes = [person.bbox for person in shown]
        title = f"{sample.path.name}, {len(shown)} people"
    ignored = [person for person in everybody if person.ignored]
    mask = region(ignored, (pixels.shape[0], pixels.shape[1])) if ignored else None
    return DrawnSample(pixels, keypoints_PK3, boxes, mask, named), title


def _image_of(images: PoseDataset, image_id: int) -> PoseImage:
    return images.subset([image_id])[0]


def _augmented(run: Run, dataset: KeypointDataset[Any], chosen: Sequence[int]) -> list[Batch]:
    """Training batches of the chosen samples, each with other random numbers."""
    superconfig = superconfig_of(run.cfg, None)
    arch = run.space.largest if superconfig is None else run.architecture(superconfig)
    task: Any = replace(run.task, workers=0)
    steps = (_Step(number, chosen, arch.input_hw, [arch]) for number in range(AUGMENTED))
    return list(task.batches(dataset, steps))


def _input(batch: Batch, row: int) -> DrawnSample:
    """A network input with the joints where its targets have them, and what is masked."""
    image = batch["images"][row].numpy()
    if "weights" in batch:
        weights_K = batch["weights"][row].numpy()
        if "simcc_x" in batch:
            xy_K2 = simcc_peaks((batch["simcc_x"][row, None].numpy(), batch["simcc_y"][row, None].numpy()))[0][0]
            return DrawnSample(image, np.column_stack([xy_K2, weights_K > 0]).astype(np.float32)[None])
        return DrawnSample(image, _peaks(batch["heatmaps"][row].numpy(), weights_K, image)[None])
    heatmaps, masks, joints = batch["heatmaps"][0][row], batch["masks"][0][row], batch["joints"][row]
    height, width = heatmaps.shape[1:]
    places, stride = joints[..., 0].numpy() % (height * width), image.shape[0] / height
    x, y = places % width * stride, places // width * stride
    people = np.stack([x, y, joints[..., 1].numpy()], axis=-1).astype(np.float32)
    size = (image.shape[1], image.shape[0])
    ignored = cv2.resize(masks.numpy(), size, interpolation=cv2.INTER_NEAREST) == 0
    return DrawnSample(image, people[people[..., 2].any(axis=1)], ignored_HW=ignored)


def _peaks(heatmaps_Khw: NDArray[np.float32], weights_K: NDArray[np.float32], image: NDArray[np.uint8]) -> Any:
    """Where the Gaussians of one person's targets stand, in pixels of the network input: (K, 3)."""
    height, width = heatmaps_Khw.shape[1:]
    highest = heatmaps_Khw.reshape(len(heatmaps_Khw), -1).argmax(axis=1)
    stride = image.shape[0] / height
    found = (heatmaps_Khw.reshape(len(heatmaps_Khw), -1).max(axis=1) > 0) & (weights_K > 0)
    return np.stack([highest % width * stride, highest // width * stride, found], axis=1).astype(np.float32)
