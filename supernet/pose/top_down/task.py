"""Top-down pose estimation as a task: one person in a box, and suppression of people that repeat one another."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from supernet.errors import UserError

from ...training.random_streams import RandomStream
from ..datasets.image_cache import ImageCache
from ..datasets.images import read_image
from ..datasets.loader import load
from ..datasets.people import PersonInstance
from ..geometry import CROP_UNITS
from ..inputs import check_images
from ..protocols import KeypointDataset, PlannedStep, Result
from ..task import DetectedPerson, Image, Task
from .crop import crop_image, crop_region
from .decoding import DecodingSettings, decode, merge_mirrored
from .losses import PersonLoss
from .oks_nms import SuppressionSettings, oks_nms, rescored, soft_oks_nms
from .rtmpose_augmentation import RTMPoseAugmentation
from .samples import PersonAugmentation, TargetSettings, collate, person_sample
from .simcc import SimCCDecodingSettings, decode_simcc, merge_mirrored_vectors, one_person_vectors
from .simcc_loss import SimCCLoss
from .targets import PersonTargetSettings


@dataclass(frozen=True, kw_only=True)
class TopDownTask(Task[PersonInstance]):
    """People in boxes, and heatmaps or coordinate bins (SimCC) of one person: loss, targets and decoding are of one kind.

    Steps from ``last_from`` on draw ``last_augmentation``, where there is one. ``stride_of`` says of an architecture how
    many input pixels a cell of its heatmaps has, in place of the stride of ``targets``. Without ``suppression`` each person
    of a dataset is reported, in order.
    """

    approach = "top-down"
    unit = "people"

    loss: PersonLoss | SimCCLoss
    augmentation: PersonAugmentation | RTMPoseAugmentation
    last_augmentation: RTMPoseAugmentation | None = None
    last_from: int = sys.maxsize
    targets: TargetSettings
    decoding: DecodingSettings | SimCCDecodingSettings
    suppression: SuppressionSettings | None
    stride_of: Callable[[Any], int]

    def batches(
        self, dataset: KeypointDataset[PersonInstance], steps: Iterator[PlannedStep]
    ) -> Iterator[Mapping[str, Any]]:
        """The batch of each step, with targets and ``weights`` (B, K) of the joints; see :func:`.samples.collate`."""
        pin = self.device.type == "cuda"
        requests = _Requests(self, steps)
        return load(_Samples(self, dataset), len(dataset), requests, collate, workers=self.workers, pin=pin)

    def calibration_batches(
        self, dataset: KeypointDataset[PersonInstance], input_hw: tuple[int, int], batch: int
    ) -> Iterator[Tensor]:
        """Network inputs (B, 3, H, W) of a whole dataset at one size, without augmentation."""
        for first in range(0, len(dataset), batch):
            yield self.inputs(self._crops(dataset[first : first + batch], input_hw)[0])

    def without_augmentation(self) -> Self:
        """The same task with everybody as in testing, read by this process."""
        return replace(self, augmentation=PersonAugmentation.none(), last_augmentation=None, workers=0)

    def detect(
        self, network: nn.Module, part: KeypointDataset[PersonInstance], input_hw: tuple[int, int]
    ) -> list[list[float]]:
        """Joints of one batch of people: of each (x, y, score) * K in pixels of the image; see :meth:`.task.Task.detect`."""
        joints_BK3 = self._joints(network, *self._crops(part, input_hw))
        return [person.ravel().tolist() for person in joints_BK3]

    def results(
        self, dataset: KeypointDataset[PersonInstance], found: Sequence[Any], input_hw: tuple[int, int]
    ) -> list[Result]:
        """Who is reported of everybody that :meth:`detect` found in the dataset.

        People get the score of their box times that of their joints, and of those who repeat one another on an image the
        best stays. Without suppression there is one result for each person, in order, with the mean score of the joints.
        Results of annotated people say whose they are (``annotation_id``).
        """
        return [
            {
                "image_id": dataset[position].image_id,
                "category_id": dataset.category_id,
                "keypoints": list(found[position]),
                "score": score,
                **({} if dataset[position].detected else {"annotation_id": dataset[position].annotation_id}),
            }
            for position, score in self._reported(dataset, found, input_hw)
        ]

    def predict(
        self,
        network: nn.Module,
        images: Sequence[Image],
        input_hw: tuple[int, int],
        boxes: Sequence[Sequence[Sequence[float]]] | None = None,
        *,
        batch: int = 32,
    ) -> list[list[DetectedPerson]]:
        """The people in the boxes of images of any sizes; see :meth:`.task.Task.predict`."""
        check_images(images)
        people = _people_in_boxes(images, boxes, self.skeleton.num_joints)
        found: list[NDArray[np.float32]] = []
        for first in range(0, len(people), batch):
            some = people[first : first + batch]
            places = [crop_region(person, input_hw[1] / input_hw[0]) for person in some]
            crops = [
                crop_image(images[person.image_id], *place, input_hw)
                for person, place in zip(some, places, strict=True)
            ]
            found += list(self._joints(network, torch.from_numpy(np.stack(crops)), *_stacked(places)))
        detected: list[list[DetectedPerson]] = [[] for _ in images]
        for position, score in self._reported(people, [joints.ravel().tolist() for joints in found], input_hw):
            box = people[position].bbox
            assert box is not None
            detected[people[position].image_id].append(DetectedPerson(found[position], score, box))
        return detected

    @torch.inference_mode()
    def _joints(
        self, network: nn.Module, crops: Tensor, centers_B2: NDArray[np.float64], scales_B2: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Joints (B, K, 3) of uint8 RGB crops (B, H, W, 3), in pixels of their images."""
        network.eval()
        inputs = self.inputs(crops)
        if isinstance(self.decoding, SimCCDecodingSettings):
            return self._joints_of_bins(network, inputs, centers_B2, scales_B2, self.decoding)
        heatmaps = one_person(network(inputs)).float()
        if self.decoding.flip:
            mirrored = one_person(network(inputs.flip(3))).float()
            heatmaps = merge_mirrored(heatmaps, mirrored, self.skeleton.flip_index, self.decoding.shift)
        return decode(heatmaps.cpu().numpy(), centers_B2, scales_B2, self.decoding)

    def _joints_of_bins(
        self,
        network: nn.Module,
        inputs: Tensor,
        centers_B2: NDArray[np.float64],
        scales_B2: NDArray[np.float64],
        decoding: SimCCDecodingSettings,
    ) -> NDArray[np.float32]:
        """:meth:`_joints` of a network that classifies coordinates."""
        vectors = one_person_vectors(network(inputs))
        if decoding.flip:
            mirrored = one_person_vectors(network(inputs.flip(3)))
            vectors = merge_mirrored_vectors(vectors, mirrored, self.skeleton.flip_index, decoding.shift)
        x_BKX, y_BKY = (vector.float().cpu().numpy() for vector in vectors)
        return decode_simcc((x_BKX, y_BKY), centers_B2, scales_B2, decoding)

    def _reported(
        self,
        people: Sequence[PersonInstance] | KeypointDataset[PersonInstance],
        found: Sequence[Any],
        input_hw: tuple[int, int],
    ) -> Iterator[tuple[int, float]]:
        """Position and score of each person that is reported, image by image."""
        if self.suppression is None:
            for position, (_, joints) in enumerate(zip(people, found, strict=True)):
                yield position, float(np.mean(joints[2::3]))
            return
        joints_NK3 = np.array(found, np.float32).reshape(len(found), self.skeleton.num_joints, 3)
        box_scores = np.array([person.score for person in people], np.float64)
        scores = rescored(joints_NK3, box_scores, self.suppression.lowest_joint)
        aspect = input_hw[1] / input_hw[0]
        # the area is that of the crop, in float32, as in the official program
        scales_N2 = np.array([crop_region(person, aspect)[1] for person in people], np.float32).reshape(-1, 2)
        areas = np.prod(scales_N2 * CROP_UNITS, axis=1).astype(np.float64)
        sigmas = np.array(self.skeleton.oks_sigmas)
        suppress = soft_oks_nms if self.suppression.soft else oks_nms
        of_image: defaultdict[int, list[int]] = defaultdict(list)
        for position, person in enumerate(people):
            of_image[person.image_id].append(position)
        for positions in of_image.values():
            kept = suppress(joints_NK3[positions], scores[positions], areas[positions], sigmas, self.suppression.oks)
            yield from ((positions[index], float(scores[positions[index]])) for index in kept)

    def _crops(
        self, dataset: KeypointDataset[PersonInstance], input_hw: tuple[int, int]
    ) -> tuple[Tensor, NDArray[np.float64], NDArray[np.float64]]:
        """uint8 RGB crops (B, H, W, 3) of people, and where they lie: centres and scales (B, 2)."""
        places = [crop_region(person, input_hw[1] / input_hw[0]) for person in dataset]
        image = lru_cache(maxsize=2 * max(1, self.workers))(read_image)  # people of an image follow one another

        def crop(person: PersonInstance, place: tuple[Any, Any]) -> NDArray[np.uint8]:
            return crop_image(image(person.path, person.size_wh), *place, input_hw)

        with ThreadPoolExecutor(max(1, self.workers)) as threads:
            crops = list(threads.map(crop, dataset, places))
        return torch.from_numpy(np.stack(crops)), *_stacked(places)


def _stacked(places: Sequence[tuple[Any, Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres and scales (B, 2) of crops."""
    centers, scales = (np.array(values) for values in zip(*places, strict=True))
    return centers, scales


def _people_in_boxes(
    images: Sequence[Image], boxes: Sequence[Sequence[Sequence[float]]] | None, num_joints: int
) -> list[PersonInstance]:
    """Somebody unknown in each box, or on each whole image; ``image_id`` is the position of the image.

    Raises:
        UserError: there are boxes for another number of images, or one is not x, y, width, height and a score.
    """
    if boxes is None:
        boxes = [[(0.0, 0.0, float(image.shape[1]), float(image.shape[0]))] for image in images]
    if len(boxes) != len(images):
        raise UserError(
            f"boxes are for {len(boxes)} images, there are {len(images)}: give a list of boxes for each image"
        )
    nowhere_K3 = np.zeros((num_joints, 3), np.float32)
    people: list[PersonInstance] = []
    for number, rows in enumerate(boxes):
        for row in rows:
            values = [float(value) for value in row]
            if len(values) not in (4, 5) or not np.isfinite(values).all() or not (values[2] > 0 and values[3] > 0):
                raise UserError(
                    f"image {number} has the box {values}: give x, y, width and height above 0, and perhaps a score"
                )
            bbox, score = (values[0], values[1], values[2], values[3]), values[4] if len(values) > 4 else 1.0
            people.append(
                PersonInstance(
                    Path(f"image {number}"), number, len(people), bbox, None, None, nowhere_K3, score, bbox[2] * bbox[3]
                )
            )
    return people


def one_person(outputs: Tensor | Sequence[Tensor]) -> Tensor:
    """A network's output in eval mode, if it is one person's heatmaps (B, K, h, w).

    Raises:
        UserError: it is several outputs, as bottom-up networks have them, or bins of coordinates.
    """
    if isinstance(outputs, Tensor):
        return outputs
    if all(output.dim() == 3 for output in outputs):
        raise UserError("the network classifies coordinates: write MODEL.TARGET_TYPE simcc")
    raise UserError(
        "the network has several outputs, for many people at once; DATASET.DATASET is for one person in a box; "
        "write coco_kpt or crowd_pose_kpt, or choose another SPACE.FAMILY"
    )


class _Samples(Dataset[Any]):
    """Training samples by (position, input size, stride, seed)."""

    def __init__(self, task: TopDownTask, dataset: KeypointDataset[PersonInstance]) -> None:
        self.task, self.dataset = task, dataset
        self.read = read_image if task.workers else ImageCache()

    def __getitem__(self, request: tuple[int, tuple[int, int], int, tuple[int, ...]]) -> Any:
        position, input_hw, stride, seed = request
        person, task = self.dataset[position], self.task
        last = task.last_augmentation if seed[2] >= task.last_from else None  # a seed holds the number of its step
        return person_sample(
            self.read(person.path, person.size_wh),
            person,
            task.skeleton,
            input_hw,
            last or task.augmentation,
            replace(task.targets, stride=stride) if isinstance(task.targets, PersonTargetSettings) else task.targets,
            np.random.default_rng(seed),
        )


class _Requests:
    """The requests of each step, as a batch sampler."""

    def __init__(self, task: TopDownTask, steps: Iterator[PlannedStep]) -> None:
        self.task, self.steps = task, steps

    def __iter__(self) -> Iterator[list[tuple[int, tuple[int, int], int, tuple[int, ...]]]]:
        stride = 0
        for step in self.steps:
            stride = stride or self.task.stride_of(step.architectures[0])
            yield [
                (position, step.input_hw, stride, (self.task.seed, RandomStream.AUGMENTATION, step.number, index))
                for index, position in enumerate(step.images, step.offset)
            ]
