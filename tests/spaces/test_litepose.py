"""LitePose against the golden records, its published files and its published space."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from search_spaces import ArchitectureError, litepose
from supernet import load_checkpoint
from supernet.errors import UserError
from tests import reference
from tests.paths import ROOT

FILES = sorted(path.stem for path in (ROOT / "search_spaces" / "published").glob("*.json"))


@pytest.mark.parametrize("name", FILES)
def test_published_files(name: str) -> None:
    """Read and written as published, and inside of both large spaces."""
    file = name.replace("litepose-", "litepose-search-") if "prune" not in name else name
    original = reference.load_json(f"architectures/{file}")
    arch = litepose.published()[name]
    assert litepose.to_json(arch) == original
    assert litepose.SPACE.why_not(arch) is None
    assert litepose.WIDE.why_not(arch) is None


def test_published_space_has_the_papers_size() -> None:
    """245,760 networks, and the published search never leaves widths and resolution."""
    assert litepose.SPACE.size == 245_760
    assert litepose.SPACE.kinds == ("resolution", "input_width", "width", "deconv_width")
    assert set(litepose.WIDE.kinds) - set(litepose.SPACE.kinds) == {"kernel", "expansion", "depth"}


def test_the_authors_supernet_is_cut_by_leading_channels_and_kernel_maps() -> None:
    """A part outside of it is named; re-organising changes the function, as theirs does."""
    golden = reference.record("litepose_supernet_modified_XS")
    weights = reference.weights(golden)
    with pytest.raises(
        UserError, match=r"first.2.weight \(32, 32, 1, 1\) is not a part of the supernet's \(24, 32, 1, 1\)"
    ):
        load_checkpoint(litepose.build(replace(litepose.SPACE.smallest, input_width=32)), weights)
    largest, images = litepose.SPACE.largest, torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = []
    for reorganize in (False, True):
        network = litepose.build(largest, reorganize=reorganize).eval()
        load_checkpoint(network, weights)
        with torch.inference_mode():
            found.append(network(images)[0])
    assert not torch.allclose(found[0], found[1])


def test_only_the_first_blocks_count() -> None:
    """A superconfig may list more blocks than ``num_blocks`` says."""
    golden = reference.record("litepose_supernet_modified_XS")
    arch = litepose.from_json(golden["config"]["arch"])
    assert arch == litepose.PUBLISHED["litepose_supernet_modified_XS"].arch
    assert [len(stage.blocks) for stage in arch.stages] == [6, 6, 10, 8]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"img_size": "large"}, "img_size is 'large'"),
        ({"backbone_setting": []}, "has 4 stages and 3 deconvolutions"),
        ({"deconv_setting": None}, "not a LitePose superconfig"),
        (
            {"backbone_setting": [{"num_blocks": 9, "stride": 2, "channel": 8, "block_setting": [[6, 7]]}]},
            "num_blocks is 9",
        ),
    ],
)
def test_wrong_superconfig(change: dict[str, object], message: str) -> None:
    """One line that names the entry."""
    data = litepose.to_json(litepose.published()["litepose-XS"]) | change
    with pytest.raises(ArchitectureError, match=message):
        litepose.from_json(data)


def test_missing_key() -> None:
    """Names the key."""
    with pytest.raises(ArchitectureError, match="lacks 'img_size'"):
        litepose.from_json({"backbone_setting": []})
