"""LitePose against the golden records, its published files and its published space."""

from __future__ import annotations

import json

import pytest
import torch

from search_spaces import ArchitectureError, litepose
from supernet.checkpoint import load_checkpoint
from supernet.counting import count
from tests import reference
from tests.paths import SHARED

RECORDS = ("litepose_XS_crowdpose", "litepose_S_crowdpose", "litepose_M_coco")


@pytest.mark.parametrize("name", RECORDS)
def test_golden_record(name: str) -> None:
    """Key layout, parameters and MACs exact; outputs within 1e-6 of max |out| in float64, through the checkpoint import."""
    golden = reference.record(name)
    arch = litepose.from_json(golden["config"]["arch"])
    network = litepose.build(arch, golden["config"]["num_joints"]).eval()
    assert [[key, list(value.shape)] for key, value in network.state_dict().items()] == golden["keys"]
    cost = count(network, tuple(golden["input_shape"]))
    assert (cost.params, cost.macs) == (golden["params"]["total"], golden["macs"]["ours"]["total"])
    prefixed = {f"1.{key}": value for key, value in reference.weights(golden).items()}  # as its fp16 trainings write it
    load_checkpoint(network, {"state_dict": prefixed})
    with torch.inference_mode():
        outputs = network.double()(reference.image(golden))
    assert reference.worst(outputs, golden) < 1e-6


@pytest.mark.parametrize("name", sorted(litepose.published()))
def test_published_files(name: str) -> None:
    """Read and written as published, and inside of both large spaces."""
    file = name.replace("litepose-", "litepose-search-") if "prune" not in name else name
    original = json.loads((SHARED / "reference" / "architectures" / f"{file}.json").read_text())
    arch = litepose.published()[name]
    assert litepose.to_json(arch) == original
    assert litepose.SPACE.why_not(arch) is None
    assert litepose.WIDE.why_not(arch) is None


def test_published_space_has_the_papers_size() -> None:
    """245,760 networks, and the published search never leaves widths and resolution."""
    assert litepose.SPACE.size == 245_760
    assert litepose.SPACE.kinds == ("resolution", "input_width", "width", "deconv_width")
    assert set(litepose.WIDE.kinds) - set(litepose.SPACE.kinds) == {"kernel", "expansion", "depth"}


def test_only_the_first_blocks_count() -> None:
    """A superconfig may list more blocks than ``num_blocks`` says."""
    golden = reference.record("litepose_supernet_modified_XS")
    arch = litepose.from_json(golden["config"]["arch"])
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
