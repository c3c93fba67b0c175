"""MODEL.PRETRAINED for other joints: the body is kept, joints of the same name keep their rows, the others begin fresh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from search_spaces import hrnet, litepose
from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.pipeline.pretrained import load_pretrained
from supernet.pose.keypoints import COCO, Skeleton

CAT = Skeleton("cat", ("tail", "Left Eye", "nose", "right-eye"), ())
ARCHS = {
    "hrnet": (hrnet.build, replace(hrnet.SMALL.smallest, resolution=(64, 64))),
    "litepose": (litepose.build, litepose.SPACES["small"].smallest),
}


@pytest.fixture(params=list(ARCHS))
def build(request: pytest.FixtureRequest) -> Callable[[int], nn.Module]:
    of_family, arch = ARCHS[request.param]
    return lambda joints: of_family(arch, joints=joints).eval()


def write(folder: Path, network: nn.Module, joints: tuple[str, ...] | None) -> Path:
    """A file of weights, which describes itself where its joints are given."""
    content: dict[str, Any] = {"state_dict": network.state_dict()}
    if joints is not None:
        content["network"] = {"keypoints": {"joints": list(joints)}}
    checkpoint.save(folder / "weights.pt", content)
    return folder / "weights.pt"


def difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest, as a part of the largest value that is wanted: outputs of untrained networks are tiny."""
    return float((found - wanted).abs().max() / wanted.abs().max())


def outputs(network: nn.Module) -> list[torch.Tensor]:
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = network(images)
    return [found] if isinstance(found, torch.Tensor) else list(found)


@pytest.mark.parametrize("described", [True, False])
def test_joints_of_the_same_name_are_kept(
    tmp_path: Path, build: Callable[[int], nn.Module], described: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """From COCO's 17 to 4 of one's own; a file that does not describe itself is COCO's by its number."""
    theirs, ours = build(17), build(4)
    path, fresh = write(tmp_path, theirs, COCO.joints if described else None), outputs(ours)
    load_pretrained(ours, build, path, CAT)
    for found, own, begun in zip(outputs(ours), outputs(theirs), fresh, strict=True):
        for joint, source in ((1, 1), (2, 0), (3, 2)):
            assert difference(found[:, joint], own[:, source]) < 1e-4
        assert difference(found[:, 0], own[:, 0]) > 0.1 and found.shape == begun.shape
    assert capsys.readouterr().out == (
        f"{path}: the body is loaded, and the head of 17 joints made one of 4: 3 keep theirs by name, tail begin fresh\n"
    )


def test_equally_many_joints_with_other_names_are_moved(
    tmp_path: Path, build: Callable[[int], nn.Module], capsys: pytest.CaptureFixture[str]
) -> None:
    """The shapes alone would fit, and every joint be another one."""
    theirs, ours = build(4), build(4)
    path = write(tmp_path, theirs, ("nose", "left_eye", "right_eye", "mouth"))
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    load_pretrained(ours, build, path, CAT)
    found, own = outputs(ours), outputs(theirs)
    for joint, source in ((1, 1), (2, 0), (3, 2)):
        assert difference(found[0][:, joint], own[0][:, source]) < 1e-4
    heads = [
        name
        for name, tensor in before.items()
        if name.endswith("weight") and tensor.shape[0] in (4, 8) and "final" in name
    ]
    for name in heads:  # the tail's own row is that of the fresh network
        assert torch.equal(ours.state_dict()[name][0], before[name][0])
    assert heads and "tail begin fresh" in capsys.readouterr().out


def test_the_same_joints_are_loaded_as_they_are(
    tmp_path: Path, build: Callable[[int], nn.Module], capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, ours = build(4), build(4)
    load_pretrained(ours, build, write(tmp_path, theirs, ("Tail", "left_eye", "nose", "right_eye")), CAT)
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))
    assert capsys.readouterr().out == ""


def test_a_supernets_file_is_its_largest_networks(tmp_path: Path, build: Callable[[int], nn.Module]) -> None:
    theirs, ours = build(4), build(4)
    weights = {f"network.{name}": tensor for name, tensor in theirs.state_dict().items()}
    checkpoint.save(tmp_path / "supernet.pt", {"state_dict": weights})
    load_pretrained(ours, build, tmp_path / "supernet.pt", CAT)
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))


def test_nothing_in_common_and_neighbours(
    tmp_path: Path, build: Callable[[int], nn.Module], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, build(17), COCO.joints)
    load_pretrained(build(2), build, path, Skeleton("road", ("kerb", "lamp"), ()))
    assert "made one of 2: 0 keep theirs by name, all begin fresh" in capsys.readouterr().out
    load_pretrained(build(2), build, path, Skeleton("bust", ("neck", "nose"), ()))
    assert "1 keep theirs by name, neck begin with their neighbours'" in capsys.readouterr().out


def test_another_network_is_refused(tmp_path: Path) -> None:
    other = nn.Sequential(nn.Conv2d(3, 4, 1))
    path = write(tmp_path, other, None)
    of_family, arch = ARCHS["hrnet"]
    with pytest.raises(UserError, match="weights.pt: has no tensor of this network"):
        load_pretrained(of_family(arch, joints=4), lambda joints: of_family(arch, joints=joints), path, CAT)
