"""Networks as diagrams."""

from __future__ import annotations

from torch import nn

from supernet.cli.command import run_program as run_program
from supernet.cost.macs import operations
from supernet.report import Network
from supernet.report.diagram import KERNELS, UP, draw_diagrams


def test_a_network_is_drawn_as_it_is() -> None:
    """A row for each resolution, boxes by kernel and width; a layer on a single position is not drawn."""
    squeeze = nn.Sequential(nn.Conv2d(8, 8, (32, 16)), nn.Conv2d(8, 8, 1))
    small = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 4, 5, 1, 2), nn.ConvTranspose2d(4, 4, 4, 2, 1))
    wide = nn.Conv2d(3, 16, 1)
    shape = (1, 3, 32, 16)
    diagrams = draw_diagrams(
        {name: Network(operations(net, shape), 512) for name, net in (("small", small), ("wide", wide))}
    )
    diagram = diagrams["small"]
    assert [label for label, _ in diagram.rows] == ["1/1", "1/2"]
    assert [box.colour for box in diagram.boxes] == [UP, KERNELS[3], KERNELS[5]]
    up, first, second = diagram.boxes
    assert (first.height, second.height, diagrams["wide"].boxes[0].height) == (40, 20, 80)
    assert first.title == "0: 3 × 3, 8 channels at 1/2" and up.title == "2: 4 × 4, 4 channels at 1/1"
    assert second.x > first.x + first.width and diagram.width >= second.x + second.width
    assert draw_diagrams({"squeeze": Network(operations(squeeze, (1, 8, 32, 16)), 512)})["squeeze"].boxes == ()
