"""WideHRNet: its spaces, its squeeze-and-excitation, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search_spaces import ArchitectureError, widehrnet
from supernet.sharing.meta import meta_network
from supernet.sharing.slicing import slices_of


def test_published_lie_in_the_space() -> None:
    """With and without squeeze-and-excitation, 18 and 30; the short names are among them."""
    published = widehrnet.published()
    assert {"widehrnet-18", "widehrnet-18-se", "widehrnet-30", "widehrnet-30-se"} < set(published)
    for arch in published.values():
        assert widehrnet.SPACE.why_not(arch) is None
    assert widehrnet.SPACE.kinds == ("resolution", "widths", "branches", "depth", "expansion", "kernel", "squeeze")
    assert widehrnet.SPACE.largest.widths == widehrnet.published()["widehrnet-18"].widths


def test_squeezed_widths() -> None:
    """The published reduction of 4, rounded to 8: 24 of 80 channels, not 20."""
    network = meta_network(widehrnet.build, widehrnet.published()["widehrnet-18-se"])
    branches = network.get_submodule("backbone.stage2.0.layers.0.invertRes")
    assert [branch.block[2].fc1.out_channels for branch in branches] == [24, 40, 80, 160]


def test_squeezed_widths_grow() -> None:
    """With the expansion and with the share, on every branch of the space: a smaller block is a part of a larger one."""
    options = {gene.kind: gene.options for gene in widehrnet.SPACE.genes}
    for branch in range(4):
        widths = next(gene.options for gene in widehrnet.SPACE.genes if gene.path == f"widths[{branch}]")
        narrow = [skeleton_of(6, 0.5, width).block[2].fc1.out_channels for width in widths]
        assert narrow == sorted(narrow)
        width = widths[-1]
        table = [
            [
                0 if share == 0 else skeleton_of(expansion, share, width).block[2].fc1.out_channels
                for share in options["squeeze"]
            ]
            for expansion in options["expansion"]
        ]
        assert all(row == sorted(row) for row in table)
        assert all(list(column) == sorted(column) for column in zip(*table, strict=True))


def skeleton_of(expansion: int, squeeze: float, width: int) -> widehrnet.InvertedResidual:
    """The layers of one block on one branch."""
    block = meta_network(lambda block: widehrnet.WideBlock(block, [width]), widehrnet.Block(expansion, 3, squeeze))
    return block.invertRes[0]


def test_projection_behind_squeeze_and_excitation() -> None:
    """It has another name in the checkpoints without: there it is ``block.2``, here ``block.3``."""
    small, large = (
        meta_network(widehrnet.build, widehrnet.published()[name]) for name in ("widehrnet-18", "widehrnet-30-se")
    )
    block = "backbone.stage1.0.layers.1.invertRes.2.block"
    assert slices_of(small, large)[f"{block}.2.conv.weight"].key == f"{block}.3.conv.weight"


def test_wrong_json() -> None:
    """Refused with the place; the rules that both families share are tested with Lite-HRNet."""
    arch = widehrnet.published()["widehrnet-18"]
    block = replace(arch.stages[0].modules[0].blocks[0], expansion=0)
    wrong = replace(arch, stages=(widehrnet.Stage(2, (widehrnet.Module((block,)),)), *arch.stages[1:]))
    with pytest.raises(ArchitectureError, match="expansion is 0 in one of the blocks"):
        widehrnet.from_json(widehrnet.to_json(wrong))
    with pytest.raises(ArchitectureError, match="architecture lacks 'stages'; WideHRNet has resolution, stem, widths"):
        widehrnet.from_json({key: value for key, value in widehrnet.to_json(arch).items() if key != "stages"})


def test_files_of_before_branches_could_be_pruned() -> None:
    """All branches live."""
    arch = widehrnet.published()["widehrnet-18-se"]
    data = widehrnet.to_json(arch)
    for stage in data["stages"]:
        del stage["branches"]
    assert widehrnet.from_json(data) == arch
