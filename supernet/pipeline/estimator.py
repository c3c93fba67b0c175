"""PoseEstimator: people on images, from Python, by one file of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..pose.datasets.images import read_upright
from ..pose.keypoints import Skeleton
from ..pose.task import DetectedPerson
from .run import Run
from .shipped import weights_of
from .training import place
from .weights import network_of, run_of_weights

Image = str | PathLike[str] | NDArray[np.uint8]
Boxes = Sequence[Sequence[float]]


class PoseEstimator:
    """Finds people on images.

    A bottom-up network finds everybody by itself. A top-down network is shown boxes, or without any the whole image as one.

    Args:
        weights: a file that describes itself: ``weights.pt`` of train.py, weight_transfer.py or search.py, or an ONNX file of
            tools/export.py; a name of :func:`.shipped.shipped`; or None for the largest network that comes with the package.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        settings: configuration keys to change, such as ``{"TEST.FLIP_TEST": True}``.

    Attributes:
        network: in evaluation mode, on the device.
        skeleton: names of the joints, limbs, flip pairs.
        approach: ``top-down`` or ``bottom-up``.

    Raises:
        UserError: there is no such file, or it does not say which network it holds.
    """

    def __init__(
        self,
        weights: str | PathLike[str] | None = None,
        *,
        device: str = "auto",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        path = weights_of(None if weights is None else fspath(weights))
        given = {"DEVICE": device, **(settings or {}), "TEST.MODEL_FILE": str(path)}
        self._open(run_of_weights(path, [str(word) for pair in given.items() for word in pair]))

    @classmethod
    def of_run(cls, run: Run, superconfig: str | None = None) -> PoseEstimator:
        """The estimator of a run's TEST.MODEL_FILE; ``superconfig`` for weights that do not describe themselves."""
        estimator = cls.__new__(cls)
        estimator._open(run, superconfig)
        return estimator

    def _open(self, run: Run, superconfig: str | None = None) -> None:
        self.run = run
        self.network, arch = network_of(run, superconfig)
        place(self.network, run)
        self._task, self.input_hw = run.task, arch.input_hw

    @property
    def skeleton(self) -> Skeleton:
        """Names of the joints, limbs, flip pairs."""
        return self.run.skeleton

    @property
    def approach(self) -> str:
        """``top-down`` or ``bottom-up``."""
        return self._task.approach

    @overload
    def predict(  # type: ignore[overload-overlap]  # a text is a sequence of texts
        self, images: Image, boxes: Boxes | None = None, *, batch: int = 32
    ) -> list[DetectedPerson]: ...
    @overload
    def predict(
        self, images: Sequence[Image], boxes: Sequence[Boxes] | None = None, *, batch: int = 32
    ) -> list[list[DetectedPerson]]: ...
    def predict(self, images: Any, boxes: Any = None, *, batch: int = 32) -> Any:
        """People on one image, or on each of several.

        Args:
            images: a path, or uint8 RGB pixels (H, W, 3); or a list of these. A file is turned by its camera's orientation mark.
            boxes: rows of x, y, width, height and perhaps a score, in pixels of the image; for several images a list of them.
            batch: images, or boxes, that go through the network at once.

        Returns:
            People with ``keypoints`` (K, 3): x, y in pixels of the upright image, (0, 0) the centre of the upper left one, and
            confidence; ``score``; and ``box``: x, y, width, height. For several images a list of such lists.

        Raises:
            UserError: an image cannot be read, or boxes are given to a bottom-up network.
        """
        if isinstance(images, str | PathLike | np.ndarray):
            return self.predict([images], None if boxes is None else [boxes], batch=batch)[0]
        if boxes is not None and self.approach == "bottom-up":
            raise UserError(f"{self.run.cfg.TEST.MODEL_FILE}: is bottom-up and finds people by itself; give no boxes")
        pixels = [image if isinstance(image, np.ndarray) else read_upright(Path(image)) for image in images]
        return self._task.predict(self.network, pixels, self.input_hw, boxes, batch=batch)
