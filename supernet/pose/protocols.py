"""What training, evaluation and reports ask of steps, datasets and metrics, whichever approach they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypeVar, overload

from .datasets.annotations import AnnotatedImage
from .keypoints import Skeleton

Approach = Literal["bottom-up", "top-down"]
Result = dict[str, Any]  # one person, as COCO's results format has it
Sample = TypeVar("Sample", covariant=True)


class PlannedStep(Protocol):
    """What a batch needs to know of a training step."""

    @property
    def number(self) -> int:
        """The step, which seeds the augmentation."""
        ...

    @property
    def images(self) -> Sequence[int]:
        """Positions in the dataset, of images or of people."""
        ...

    @property
    def offset(self) -> int:
        """Place of the first of them in the batch of all processes."""
        ...

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network input."""
        ...

    @property
    def architectures(self) -> Sequence[Any]:
        """What the step trains; all outputs have the same strides."""
        ...


class Evaluator(Protocol):
    """A metric on one dataset."""

    def evaluate(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The scores of results."""
        ...


class KeypointDataset(Protocol[Sample]):
    """Samples with annotated keypoints: images with everybody on them (bottom-up), or people one by one (top-down)."""

    @property
    def skeleton(self) -> Skeleton:
        """Of everybody."""
        ...

    @property
    def image_ids(self) -> tuple[int, ...]:
        """The images, also those without a person: results are evaluated on all of them."""
        ...

    @property
    def category_id(self) -> int:
        """What results say that a person is."""
        ...

    @property
    def has_annotations(self) -> bool:
        """Whether anybody is annotated at all; otherwise results cannot be evaluated."""
        ...

    @property
    def source(self) -> Path:
        """The file that the samples were read from."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Any:
        """The sample at a position, or a dataset of some of them."""
        ...

    def __iter__(self) -> Iterator[Sample]:
        """The samples in order."""
        ...

    def subset(self, image_ids: Iterable[int]) -> Self:
        """The samples on these images.

        Raises:
            UserError: an id is not in this dataset.
        """
        ...

    def annotated(self) -> Self:
        """The samples that can be trained on."""
        ...

    def split(self, parts: Mapping[str, int | float], seed: int) -> dict[str, Self]:
        """Disjoint random parts of the images: a number of images, or a share of them."""
        ...

    def images(self) -> Iterator[AnnotatedImage]:
        """The images of the samples in order, with the annotated people."""
        ...

    def ground_truth(self) -> dict[str, Any]:
        """The COCO-format annotations of these images.

        Raises:
            UserError: there are none.
        """
        ...
