"""Heads of detectors: region proposals, boxes, masks, semantic segmentation, and FCOS; names as in mmdetection's checkpoints.

Legend: B images, C channels of the pyramid, N classes, R boxes, l a level of the pyramid, fine to coarse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .branches import Features
from .convolutions import named

ANCHORS = 3  # at each place of each level: three ratios of height and width
BOX_SIZE, MASK_SIZE = 7, 14  # bins per axis that boxes and masks are read from
SEMANTIC_CLASSES = 183  # things and stuff of COCO, and what is neither
SEMANTIC_LEVEL = 1  # the level whose size the semantic branch works at
GROUP = 8  # channels of a group of GroupNorm, whatever the width: 32 groups of 256 channels
PRIOR = 0.01  # confidence of every class that a training of FCOS begins with


def _filled(layer: nn.Module, std: float, bias: float = 0.0) -> nn.Module:
    """A layer with normally distributed weights."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)
    return layer


def _rectified(layer: nn.Module) -> nn.Module:
    """A convolution that ReLU or a sigmoid follows, with He et al.'s variance by outputs (ICCV 2015)."""
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.bias is not None
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def _convolutions(inputs: int, width: int, count: int) -> nn.ModuleList:
    """So many 3×3 convolutions with ReLU; one less is no layer of zeros."""
    convolutions = nn.ModuleList()
    for index in range(count):
        layer = nn.Conv2d(width if index else inputs, width, 3, 1, 1)
        _rectified(layer)
        convolutions.append(named(layer))
    convolutions.zero_is_identity = False  # type: ignore[assignment]
    return convolutions


class RPNHead(nn.Module):
    """Region proposals (Ren et al., "Faster R-CNN", NeurIPS 2015): objectness and box deltas of three anchors at each place.

    ``forward`` maps levels (B, C, h, w) to two lists: logits (B, 3, h, w) and deltas (B, 12, h, w), x y w h of anchor 0 first.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.rpn_conv = _filled(nn.Conv2d(inputs, width, 3, 1, 1), 0.01)
        self.rpn_cls = _filled(nn.Conv2d(width, ANCHORS, 1), 0.01)
        self.rpn_reg = _filled(nn.Conv2d(width, 4 * ANCHORS, 1), 0.01)

    def forward(self, features: Features) -> tuple[list[Tensor], list[Tensor]]:
        """See the class."""
        shared = [F.relu(self.rpn_conv(x)) for x in features]
        return [self.rpn_cls(x) for x in shared], [self.rpn_reg(x) for x in shared]


class BoxHead(nn.Module):
    """Class and box of each region: two hidden layers, and what reads them.

    ``forward`` maps (R, C, 7, 7) to class logits (R, N + 1), the background last, and deltas: (R, 4 N), x y w h of class 0
    first, or (R, 4) where they are the same for all classes.
    """

    def __init__(self, inputs: int, width: int, classes: int, *, class_agnostic: bool) -> None:
        super().__init__()
        self.fc_cls = _filled(nn.Linear(width, classes + 1), 0.01)
        self.fc_reg = _filled(nn.Linear(width, 4 if class_agnostic else 4 * classes), 0.001)
        self.shared_fcs = nn.ModuleList([nn.Linear(inputs * BOX_SIZE**2, width), nn.Linear(width, width)])
        for layer in self.shared_fcs:
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        x = x.flatten(1)
        for layer in self.shared_fcs:
            x = F.relu(layer(x))
        return self.fc_cls(x), self.fc_reg(x)


class MaskHead(nn.Module):
    """Masks of each region for every class (He et al., "Mask R-CNN", ICCV 2017): (R, C, 14, 14) to (R, N, 28, 28).

    Args:
        inputs: C.
        width: channels of its convolutions.
        convolutions: how many.
        classes: N.
        reads: width of the head before, whose features this one adds to its input through a 1×1 convolution with ReLU (Chen et
            al., "Hybrid Task Cascade", CVPR 2019, §3.2); 0 where there is none.
    """

    def __init__(self, inputs: int, width: int, convolutions: int, classes: int, *, reads: int = 0) -> None:
        super().__init__()
        self.convs = _convolutions(inputs, width, convolutions)
        self.upsample = _rectified(nn.ConvTranspose2d(width, width, 2, 2))
        self.conv_logits = _rectified(nn.Conv2d(width, classes, 1))
        if reads:
            layer = nn.Conv2d(reads, inputs, 1)
            _rectified(layer)
            self.conv_res = named(layer)

    def features(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """(R, C, 14, 14), and the features of the head before where it reads them, to features (R, width, 14, 14)."""
        if before is not None:
            x = x + F.relu(self.conv_res(before))
        for layer in self.convs:
            x = F.relu(layer(x))
        return x

    def logits(self, features: Tensor) -> Tensor:
        """Its features (R, width, 14, 14) to mask logits (R, N, 28, 28)."""
        logits: Tensor = self.conv_logits(F.relu(self.upsample(features)))
        return logits


class SemanticHead(nn.Module):
    """Semantic segmentation of things and stuff, whose features every box and mask reads ("Hybrid Task Cascade", §3.3).

    ``forward`` maps five levels to class logits (B, 183, h, w) and features (B, C, h, w), at the size of level 1.
    """

    def __init__(self, width: int, levels: int, convolutions: int = 4) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList()
        for _ in range(levels):
            lateral = nn.Conv2d(width, width, 1)
            _rectified(lateral)
            self.lateral_convs.append(named(lateral))
        self.convs = _convolutions(width, width, convolutions)
        embedding = nn.Conv2d(width, width, 1)
        _rectified(embedding)
        self.conv_embedding = named(embedding)
        self.conv_logits = _rectified(nn.Conv2d(width, SEMANTIC_CLASSES, 1))

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """See the class."""
        size = features[SEMANTIC_LEVEL].shape[-2:]
        x = F.relu(self.lateral_convs[SEMANTIC_LEVEL](features[SEMANTIC_LEVEL]))
        for level, (lateral, feature) in enumerate(zip(self.lateral_convs, features, strict=True)):
            if level != SEMANTIC_LEVEL:
                resized = F.interpolate(feature, size=size, mode="bilinear", align_corners=True)
                x = x + F.relu(lateral(resized))
        for layer in self.convs:
            x = F.relu(layer(x))
        return self.conv_logits(x), F.relu(self.conv_embedding(x))


class Scale(nn.Module):
    """One factor that is learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """X times the factor."""
        return x * self.scale


def _tower(inputs: int, width: int, count: int) -> nn.ModuleList:
    """So many 3×3 convolutions with GroupNorm and ReLU."""
    tower = nn.ModuleList()
    for index in range(count):
        layer = nn.Sequential()
        convolution = nn.Conv2d(width if index else inputs, width, 3, 1, 1, bias=False)
        _filled(convolution, 0.01)
        layer.add_module("conv", convolution)
        layer.add_module("gn", nn.GroupNorm(width // GROUP, width))
        layer.add_module("act", nn.ReLU(inplace=True))
        tower.append(layer)
    tower.zero_is_identity = False  # type: ignore[assignment]
    return tower


class FCOSHead(nn.Module):
    """Class, box and centre-ness at each place of each level, without anchors (Tian et al., "FCOS", ICCV 2019).

    ``forward`` maps levels (B, C, h, w) to three lists: class logits (B, N, h, w), distances to the left, upper, right and lower
    side of the box in pixels (B, 4, h, w), and centre-ness logits (B, 1, h, w).
    """

    def __init__(self, inputs: int, width: int, convolutions: int, classes: int, levels: int) -> None:
        super().__init__()
        self.cls_convs, self.reg_convs = _tower(inputs, width, convolutions), _tower(inputs, width, convolutions)
        self.conv_cls = _filled(nn.Conv2d(width, classes, 3, 1, 1), 0.01, -math.log((1 - PRIOR) / PRIOR))
        self.conv_reg = _filled(nn.Conv2d(width, 4, 3, 1, 1), 0.01)
        self.conv_centerness = _filled(nn.Conv2d(width, 1, 3, 1, 1), 0.01)
        self.scales = nn.ModuleList(Scale() for _ in range(levels))

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """See the class."""
        scores, distances, centerness = [], [], []
        for x, scale in zip(features, self.scales, strict=True):
            classes, boxes = x, x
            for layer in self.cls_convs:
                classes = layer(classes)
            for layer in self.reg_convs:
                boxes = layer(boxes)
            scores.append(self.conv_cls(classes))
            distances.append(scale(self.conv_reg(boxes)).exp())
            centerness.append(self.conv_centerness(classes))
        return scores, distances, centerness
