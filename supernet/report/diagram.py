"""Diagram of a network: a row for every resolution, a box for every layer, in the order of execution.

It is read from the operations of a forward pass, so that any network can be drawn, and a branch that an architecture does
not have has no boxes in its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log2

from ..cost.macs import Operation
from .plots import BLUE, GREEN, GREY, ORANGE, RED

KERNELS = {1: "#C3CAD3", 3: "#56B4E9", 5: BLUE, 7: ORANGE, 9: RED}
UP = GREEN  # a transposed convolution
TALLEST = 80  # height in pixels of the layer with the most channels on a page
LABEL, GAP = 40, 3  # pixels before the first box, and between boxes
SMALLEST_GRID = 4  # positions; layers on fewer, such as those of squeeze-and-excitation, are not drawn


@dataclass(frozen=True)
class Box:
    """One layer: position in pixels from the upper left corner, size, colour, and title (shown by a tooltip)."""

    x: int
    y: int
    width: int
    height: int
    colour: str
    title: str


@dataclass(frozen=True)
class Diagram:
    """Boxes of a network, rows as (label, y of the base line), and the size of the diagram, all in pixels."""

    boxes: tuple[Box, ...]
    rows: tuple[tuple[str, int], ...]
    width: int
    height: int


@dataclass(frozen=True)
class Network:
    """What a diagram is drawn from: the operations of one forward pass, and the input's pixels (height times width)."""

    operations: Sequence[Operation]
    pixels: int


def draw_diagrams(networks: Mapping[str, Network]) -> dict[str, Diagram]:
    """Diagrams of networks by name, all to one scale."""
    layers = {name: list(_layers(network)) for name, network in networks.items()}
    most = max((channels for rows in layers.values() for _, channels, *_ in rows), default=1)
    return {name: _diagram(rows, most) for name, rows in layers.items()}


def legend() -> list[tuple[str, str]]:
    """Legend of the diagrams: colours and what they mean."""
    kernels = [(colour, f"{kernel} × {kernel}") for kernel, colour in KERNELS.items()]
    return [*kernels, (UP, "upsampling"), (GREY, "other")]


def _layers(network: Network) -> Iterable[tuple[int, int, int, bool, str]]:
    """Of every layer: octave of the resolution (0 is the input's), channels, kernel, whether it upsamples, name."""
    for operation in network.operations:
        if operation.kind not in ("conv", "deconv", "linear"):
            continue
        up = operation.kind == "deconv"
        channels = operation.weight[1] if up else operation.weight[0]
        positions = operation.outputs // channels
        if positions >= SMALLEST_GRID:
            octave = max(0, round(log2(network.pixels / positions) / 2))
            kernel = operation.weight[-1] if len(operation.weight) == 4 else 1
            yield octave, channels, kernel, up, operation.layer


def _diagram(layers: Sequence[tuple[int, int, int, bool, str]], most: int) -> Diagram:
    boxes: list[Box] = []
    rows: list[tuple[str, int]] = []
    bottom, width = 0, 0
    for octave in sorted({octave for octave, *_ in layers}):
        row = [layer for layer in layers if layer[0] == octave]
        heights = [max(3, round(TALLEST * channels / most)) for _, channels, *_ in row]
        bottom += max(*heights, 10) + 12
        rows.append((f"1/{2**octave}", bottom))
        x = LABEL
        for (_, channels, kernel, up, name), height in zip(row, heights, strict=True):
            colour = UP if up else KERNELS.get(kernel, GREY)
            title = f"{name}: {kernel} × {kernel}, {channels} channels at 1/{2**octave}"
            boxes.append(Box(x, bottom - height, 3 * kernel + 3, height, colour, title))
            x += 3 * kernel + 3 + GAP
        width = max(width, x)
    return Diagram(tuple(boxes), tuple(rows), width, bottom + 6)
