"""SRPose: what its heads return, which backbones they go with, and which files are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from search_spaces import ArchitectureError, Space, srpose
from search_spaces.layers.heads import BottomUpSRHead, SRHead
from search_spaces.layers.super_resolution import SRPoseHead
from supernet import Supernet
from supernet.cost.macs import count
from supernet.sharing.slicing import slices_of

SMALL = srpose.SMALL.largest


def replaced(name: str, path: str, value: Any) -> Any:
    """The JSON of a published architecture with one value exchanged."""
    data = srpose.to_json(srpose.published()[name])
    *parents, last = path.split(".")
    place = data
    for parent in parents:
        place = place[parent]
    place[last] = value
    return data


@pytest.mark.parametrize(
    ("name", "space"),
    [
        ("srpose_hrnet_w32_coco_256x192", srpose.SPACE),
        ("srpose_hrnet_w32_coco_256x192", srpose.SPACE.restrict({"backbone.*": 1})),
        ("srpose_res50_coco_256x192", srpose.SPACES["res50"]),
        ("srpose_hrformer_small_coco_256x192", srpose.SPACES["hrformer_small"]),
    ],
)
def test_published_points_are_in_the_spaces(name: str, space: Space[Any]) -> None:
    """The head of the paper on elastic and on fixed backbones."""
    assert space.why_not(srpose.published()[name]) is None


def test_files_that_say_which_levels_are_supervised() -> None:
    """As they were written before an embedding of 0 said so."""
    arch = srpose.published()["srpose_hrnet_w32_coco_256x192"]
    data = replaced("srpose_hrnet_w32_coco_256x192", "head.supervised", [True] * 4)
    assert srpose.from_json(data) == arch
    data["head"]["supervised"] = [False, True, False, True]
    assert srpose.from_json(data).head == replace(arch.head, embedding=(0, 8, 0, 4))


def test_supervision_changes_training_alone() -> None:
    """Another number of outputs and of parameters; the same output, multiply-accumulates and all."""
    supernet = Supernet(srpose.build, srpose.SMALL).eval()
    full = SMALL
    bare = replace(full, head=replace(full.head, embedding=(0, 0, 0, 2)))
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(supernet(images, full), supernet(images, bare))
        assert [len(supernet.train()(images.repeat(2, 1, 1, 1), arch)) for arch in (full, bare)] == [5, 2]
    many, few = (count(supernet.extract(arch), (1, 3, 96, 64)) for arch in (full, bare))
    assert many.macs == few.macs and many.params > few.params


@pytest.mark.parametrize("name", sorted(srpose.published()))
def test_published_json_round_trip(name: str) -> None:
    """Also for the backbones and heads that no space has."""
    arch = srpose.published()[name]
    assert srpose.from_json(srpose.to_json(arch)) == arch


@pytest.mark.parametrize(
    ("name", "params_m"),
    [
        ("sr_res50_coco_256x192", 34.10),
        ("sr_hrnet_w32_coco_256x192", 28.63),
        ("sr_transpose_r_a4_coco_256x192", 6.09),
        ("srpose_transpose_r_a4_coco_256x192", 5.48),
    ],
)
def test_networks_without_a_configuration_have_the_published_parameters(name: str, params_m: float) -> None:
    """To the published digits; the SRPose head is published without what only training needs."""
    arch = srpose.published()[name]
    with torch.device("meta"):
        network = srpose.build(arch)
    parameters = dict(network.named_parameters())
    if isinstance(arch.head, SRPoseHead):
        parameters = {key: p for key, p in parameters.items() if "kp_encoder.0" not in key and "converge.0" not in key}
    assert round(sum(p.numel() for p in parameters.values()) / 1e6, 2) == params_m


def test_training_shows_every_supervised_level() -> None:
    """The coarsest view, then a heatmap per level; in evaluation only the last, and nothing else is computed for it."""
    network = srpose.build(SMALL, joints=3).eval()
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    output = network(images)
    network.keypoint_head.training = True
    shown = network(images)
    assert [tuple(maps.shape[1:]) for maps in shown] == [(3, 2, 3), (3, 8, 12), (3, 16, 24), (3, 16, 24), (3, 32, 48)]
    assert torch.equal(shown[-1], output)
    called = count(network, (1, 3, 64, 96)).per_layer
    assert "keypoint_head.converge.3.conv" in called and "keypoint_head.converge.2.conv" not in called


def test_a_level_without_supervision_has_no_heatmap() -> None:
    """And no parameters for one."""
    head = SRPoseHead((8, 4), (0, 2), (2, 4), (1,)).network((6, 12), joints=3)
    maps = head([torch.zeros(1, 6, 8, 8), torch.zeros(1, 12, 4, 4)])
    assert [tuple(m.shape[1:]) for m in maps] == [(3, 4, 4), (3, 32, 32)]
    assert not any(name.startswith(("kp_encoder.0", "converge.0")) for name in head.state_dict())
    assert head.state_dict()["converge.1.conv.weight"].shape[-2:] == (9, 9)


def test_super_resolution_heads_differ_by_their_tags_only() -> None:
    """Heatmaps first; each tag fills the square of its pixel."""
    features = [torch.randn(1, 6, 4, 4, generator=torch.Generator().manual_seed(0))]
    plain, tagged = SRHead((8,), 2, 4).network((6,), 3).eval(), BottomUpSRHead((8,), 2, 4).network((6,), 3).eval()
    plain.load_state_dict({k: v for k, v in tagged.state_dict().items() if not k.startswith("tag_head")})
    (maps,) = tagged(features)
    assert maps.shape == (1, 6, 32, 32)
    assert torch.equal(maps[:, :3], plain(features))
    assert torch.equal(maps[:, 3:, ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3), maps[:, 3:])


def test_embeddings_are_shared_joint_by_joint() -> None:
    """The leading channels of each joint, not of all joints together."""
    small, big = (SRPoseHead((8, 4), (e, e), (2, 2), (1,)).network((6, 12), 3) for e in (2, 5))
    parts = slices_of(small, big)
    assert parts["kp_encoder.0.0.weight"].index[0].tolist() == [0, 1, 5, 6, 10, 11]
    assert parts["kp_encoder.0.0.bias"].index[0].tolist() == [0, 1, 5, 6, 10, 11]
    weight = big.state_dict()["converge.0.conv.weight"]
    assert torch.equal(parts["converge.0.conv.weight"].of(weight), weight[:, :2])


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("head.width", [256, 128], "head.width has 2 entries; a backbone of 4 levels needs 4"),
        ("head.blocks", [2, 2, 2, 2], "head.blocks has 4 entries; a backbone of 4 levels needs 3"),
        ("head.embedding", [16, 8, 4, 0], "head.embedding ends with 0, it has to be at least 1: the finest level"),
        ("head.upscale", [8, 0, 2, 4], "head.upscale is .* it has to be at least 1"),
        ("head.supervised", [True], "head.supervised is .* it has to have an entry for each of head.embedding"),
        ("backbone.type", "VGG", "backbone is of type 'VGG', it has to be one of ResNet, HRNet, HRFormer, TransPose"),
        ("backbone.width", 0, "backbone.width is 0"),
        ("resolution", [250, 192], "250"),
    ],
)
def test_wrong_file(path: str, value: Any, message: str) -> None:
    """One line that names the entry."""
    with pytest.raises(ArchitectureError, match=message):
        srpose.from_json(replaced("srpose_hrnet_w32_coco_256x192", path, value))


@pytest.mark.parametrize(
    ("name", "path", "value", "message"),
    [
        ("srpose_res50_coco_256x192", "backbone.stem", 0, "backbone.stem"),
        ("srpose_hrformer_small_coco_256x192", "backbone.heads", [3, 2, 4, 8], "heads"),
        ("sr_transpose_r_a4_coco_256x192", "resolution", [384, 288], "backbone.grid"),
    ],
)
def test_a_backbone_is_checked_by_its_own_family(name: str, path: str, value: Any, message: str) -> None:
    """Which knows its numbers."""
    with pytest.raises(ArchitectureError, match=message):
        srpose.from_json(replaced(name, path, value))
