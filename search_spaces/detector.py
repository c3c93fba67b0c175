"""Detectors on HRNetV2p: what all of them share. A family is a file of its own: FCOS, Faster and Mask R-CNN, cascades.

A detector of one stage is an ordinary network of images. One of two stages reads its features within boxes, which depend on
what it found before: it stays a pure function of its inputs by *asking* for them. Its input is ``(images, look)``, and
``look(stage, outputs)`` returns the boxes of a stage from the outputs so far: decoded and suppressed proposals when testing,
assigned and sampled ones when training (``look`` then remembers their targets for the loss). Images alone are an input as well;
the boxes are then :class:`FixedBoxes`, which is what costs are counted with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from .hrnet import HRNet
from .hrnetv2p import HRFPN
from .published.detector_checkpoints import convert

#: Paper and checkpoints give 80 classes of COCO.
CLASSES = 80
#: Detections of an image that get a mask, the best ones.
MOST_MASKS = 100


class Look(Protocol):
    """Choose the boxes that a stage of a detector reads."""

    def __call__(self, stage: str, outputs: Mapping[str, Tensor]) -> Tensor:
        """Boxes (R, 5) in pixels of the input: the index of the image in the batch, then x0, y0, x1, y1.

        Args:
            stage: ``box.0`` for the first box head, ``box.1``, …, then ``mask.0`` … for the mask heads.
            outputs: everything that the network has computed so far, by the names of :meth:`DetectorNet.outputs`.

        The same tensor again, for a further stage, means that features of its boxes are read only once.
        """
        ...


class FixedBoxes:
    """A look of the same ``count`` boxes for each image, whatever the network says: spread over it, of all sizes.

    Mask heads get the first 100 of them, as they do of real detections.
    """

    def __init__(self, images: Tensor, count: int) -> None:
        batch, (height, width) = len(images), images.shape[-2:]
        place = {"dtype": images.dtype, "device": images.device}
        steps = torch.arange(count, **place) + 0.5  # type: ignore[call-overload]
        # three sequences that fill the unit interval evenly, each with another irrational step
        x, y, size = ((steps * irrational) % 1 for irrational in (0.7548776662, 0.5698402910, 0.6180339887))
        side = 2.0 ** (1 - 4 * size) / 2  # of the image: a 16th to all of it
        centre = torch.stack([x * width, y * height], 1)
        half = torch.stack([side * width, side * height], 1) / 2
        boxes = torch.cat([centre - half, centre + half], 1).repeat(batch, 1)
        index = torch.arange(batch, **place).repeat_interleave(count)  # type: ignore[call-overload]
        self.boxes = torch.cat([index[:, None], boxes], 1)
        first = self.boxes.view(batch, count, 5)[:, :MOST_MASKS]
        self.masks = self.boxes if count <= MOST_MASKS else first.reshape(-1, 5)

    def __call__(self, stage: str, outputs: Mapping[str, Tensor]) -> Tensor:
        """The boxes (batch · count, 5), or (batch · 100, 5) at most."""
        return self.masks if stage.startswith("mask") else self.boxes


#: Features, which the heads read, among the outputs by name.
INNER = ("neck.", "semantic_embedding")


class DetectorNet(nn.Module):
    """Backbone and pyramid of a detector; a subclass adds the heads, and runs them in :meth:`named_outputs`.

    Attributes:
        classes: number of classes, without the background.
        proposals: boxes per image of the second stage where there is no ``look``; 0 for a detector of one stage.
    """

    def __init__(self, backbone: HRNet, neck_width: int, neck_stride: int, classes: int, proposals: int) -> None:
        super().__init__()
        self.classes, self.proposals = classes, proposals
        self.backbone = backbone.network(multiscale=True)
        self.neck = HRFPN(self.backbone.widths, neck_width, neck_stride)

    def named_outputs(self, images: Tensor, look: Look) -> dict[str, Tensor]:
        """All outputs by name, with the features that are read by the heads; arguments as in the module's description."""
        raise NotImplementedError

    def outputs(self, images: Tensor, rois: Tensor | None = None) -> dict[str, Tensor]:
        """All outputs by name, with the same boxes for every stage.

        Args:
            images: (B, 3, H, W), H and W multiples of 32 from 64 on, normalised.
            rois: boxes of all stages in pixels, (R, 5) with the index of the image first, or (R, 4) for one image; rounded to
                float32, as every program of detection has them. None is for :class:`FixedBoxes`; a detector of one stage
                has no use for it.

        Raises:
            ValueError: when boxes of several images do not say which they belong to.
        """
        if rois is None:
            return self.named_outputs(images, FixedBoxes(images, self.proposals))
        if rois.shape[1] == 4:
            if len(images) > 1:
                raise ValueError(f"boxes of {len(images)} images need the image's index first: (R, 5), not (R, 4)")
            rois = torch.cat([rois.new_zeros(len(rois), 1), rois], 1)
        rois = rois.float()
        return self.named_outputs(images, lambda stage, outputs: rois)

    def forward(self, inputs: Tensor | tuple[Tensor, Look]) -> list[Tensor]:
        """Images, or images and look, to the outputs of the heads, in the order of :meth:`output_names`."""
        images, look = (inputs, None) if isinstance(inputs, Tensor) else inputs
        found = self.named_outputs(images, look or FixedBoxes(images, self.proposals))
        return [value for name, value in found.items() if not name.startswith(INNER)]

    def output_names(self) -> list[str]:
        """Names of what :meth:`forward` returns."""
        raise NotImplementedError

    def from_authors(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of mmdetection 1.x and of HRNet's authors, or of an old FCOS, in the names and the order of classes of here."""
        return convert(weights, self.classes)

    def _pyramid(self, images: Tensor) -> list[Tensor]:
        return cast("list[Tensor]", self.neck(self.backbone(images)))


def few_boxes(images: Tensor) -> tuple[Tensor, Look]:
    """Images (B, 3, H, W) as the input of a detector of two stages, with eight boxes each: quick, for checks."""
    return images, FixedBoxes(images, 8)


def numbered(name: str, tensors: list[Tensor]) -> dict[str, Tensor]:
    """Tensors under the names ``name.0``, ``name.1`` and so on."""
    return {f"{name}.{index}": tensor for index, tensor in enumerate(tensors)}
