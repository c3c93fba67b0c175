"""Weights for other joints."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import search_spaces
from search_spaces import litepose
from supernet import load_checkpoint
from supernet.errors import UserError
from supernet.pose.datasets.kinds import skeletons
from supernet.pose.joint_mapping import joint_sources, rehead
from supernet.pose.keypoints import COCO, CROWDPOSE, MPII, Skeleton
from tools import convert_checkpoint


def shapes(network: torch.nn.Module) -> dict[str, Any]:
    """By name."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def test_a_joint_is_made_of_itself_or_of_its_stand_ins() -> None:
    """By name, whatever the order; every dataset from every other."""
    sources = joint_sources(CROWDPOSE, COCO)
    assert sources[CROWDPOSE.joints.index("left_wrist")] == (COCO.joints.index("left_wrist"),)
    assert sources[CROWDPOSE.joints.index("neck")] == (
        COCO.joints.index("left_shoulder"),
        COCO.joints.index("right_shoulder"),
    )
    assert sources[CROWDPOSE.joints.index("head")] == (COCO.joints.index("nose"),)
    for target in skeletons().values():
        for source in skeletons().values():
            assert len(joint_sources(target, source)) == target.num_joints
        assert joint_sources(target, target) == tuple((index,) for index in range(target.num_joints))
    with pytest.raises(UserError, match="nothing in coco stands for the joint tail of cat"):
        joint_sources(Skeleton("cat", ("tail",), ()), COCO)


@pytest.mark.parametrize("target", [CROWDPOSE, MPII])
def test_common_joints_are_computed_as_before(target: Skeleton) -> None:
    """LitePose: heatmaps and tags of joints that both datasets have, exactly; a neck is between its shoulders."""
    arch = litepose.SMALL.smallest
    before, after = litepose.build(arch, COCO.num_joints).eval(), litepose.build(arch, target.num_joints).eval()
    load_checkpoint(after, rehead(before.state_dict(), shapes(before), shapes(after), COCO, target))
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        old, new = before(images), after(images)
    for index, sources in enumerate(joint_sources(target, COCO)):
        for output in (0, 1):
            expected = old[output][:, list(sources)].mean(1)
            assert torch.allclose(new[output][:, index], expected, atol=1e-6)
        tags = old[0][:, [COCO.num_joints + source for source in sources]].mean(1)
        assert torch.allclose(new[0][:, target.num_joints + index], tags, atol=1e-6)


@pytest.mark.parametrize("name", ["srpose_res50_coco_256x192", "higherhrnet_w32_512_coco", "efficienthrnet_H4_coco"])
def test_heads_that_read_or_embed_joints(name: str) -> None:
    """Embeddings a joint move with their joint; what reads the heatmaps keeps its other channels."""
    family, entry = search_spaces.find_published(name)
    before, after = family.build(entry.arch, 17), family.build(entry.arch, 14)
    weights = rehead(before.state_dict(), shapes(before), shapes(after), COCO, CROWDPOSE)
    assert {key: tuple(value.shape) for key, value in weights.items()} == shapes(after)
    wrist, old = CROWDPOSE.joints.index("left_wrist"), COCO.joints.index("left_wrist")
    own = before.state_dict()
    if name.startswith("srpose"):
        key = "keypoint_head.kp_encoder.0.0.weight"
        assert torch.equal(weights[key][16 * wrist : 16 * (wrist + 1)], own[key][16 * old : 16 * (old + 1)])
    else:
        key, width = "deconv_layers.0.0.0.weight", own["final_layers.0.weight"].shape[1]
        assert torch.equal(weights[key][:width], own[key][:width])
        assert torch.equal(weights[key][width + wrist], own[key][width + old])
        assert torch.equal(weights[key][width + 14 + wrist], own[key][width + 17 + old])


def test_every_network_knows_its_joints() -> None:
    """So that a checkpoint for others is refused with both numbers."""
    for name in search_spaces.list_published():
        family, entry = search_spaces.find_published(name)
        if entry.joints:
            with torch.device("meta"):
                assert family.build(entry.arch, entry.joints, **entry.options).joints == entry.joints
    network = search_spaces.published("hrnet_w32_coco_256x192_mmpose")
    with pytest.raises(UserError, match=r"is for 16 joints, this network has 17 \(keypoint_head.final_layer.weight\)"):
        arch = search_spaces.find_published("hrnet_w32_coco_256x192_mmpose")[1].arch
        load_checkpoint(network, search_spaces.FAMILIES["hrnet"].build(arch, 16).state_dict())


def test_the_convert_tool(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """From a stranger's layout to ours, for other joints; what fits nothing is one line."""
    network = search_spaces.published("litepose_XS_coco")
    torch.save(
        {"state_dict": {f"1.{key}": value for key, value in network.state_dict().items()}}, tmp_path / "theirs.pth"
    )
    given = [str(tmp_path / "theirs.pth"), "--out", str(tmp_path / "ours.pt"), "--joints", "crowdpose"]
    convert_checkpoint.main(["--network", "litepose_XS_coco", *given])
    assert "for 14 joints" in capsys.readouterr().out
    loaded = load_checkpoint(search_spaces.published("litepose_XS_crowdpose"), tmp_path / "ours.pt")
    assert not loaded.missing and not loaded.unexpected
    with pytest.raises(UserError, match="theirs.pth: is of another architecture"):
        convert_checkpoint.main(["--network", "hrnet_w32_coco_256x192_mmpose", *given])


@pytest.mark.parametrize("prefixes", [("backbone.", "keypoint_head."), ("backbone.", "head."), ("", "")])
def test_layouts_of_mmpose_and_of_hrnet(prefixes: tuple[str, str]) -> None:
    """One network's weights under the names of mmpose 0.x, 1.x and of the HRNet repository, into both of its layouts."""
    weights = search_spaces.published("hrnet_w32_coco_256x192_leoxiaobin").state_dict()
    named = {prefixes[key.startswith("final_layer")] + key: value for key, value in weights.items()}
    for name in ("hrnet_w32_coco_256x192_leoxiaobin", "hrnet_w32_coco_256x192_mmpose"):
        network = search_spaces.published(name)
        loaded = load_checkpoint(network, named)
        assert not loaded.missing and not loaded.unexpected
        for value, given in zip(network.state_dict().values(), weights.values(), strict=True):
            assert torch.equal(value, given)


def test_a_backbone_from_imagenet() -> None:
    """Its classifier is left out and the missing head is reported, when that is asked for; otherwise it is refused."""
    network = search_spaces.published("simple_res50_coco_256x192")
    trunk = {key.removeprefix("backbone."): value for key, value in network.state_dict().items() if "backbone" in key}
    trunk |= {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    loaded = load_checkpoint(network, trunk, strict=False)
    assert loaded.unexpected == ("fc.weight", "fc.bias")
    assert {key.split(".")[0] for key in loaded.missing} == {"keypoint_head"}
    with pytest.raises(UserError, match="another architecture: keypoint_head.deconv_layers.0.weight is missing"):
        load_checkpoint(network, trunk)
    with pytest.raises(UserError, match="has no tensor of this network"):
        load_checkpoint(network, {"linear.weight": torch.zeros(1)}, strict=False)
