"""Checkpoints of ours and of others, and files that are none."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from search_spaces import litepose
from supernet.errors import UserError
from supernet.io import checkpoint

XS = litepose.published()["litepose-XS"]


@pytest.mark.parametrize("prefix", ["", "module.", "1.", "module.1."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_layouts(tmp_path: Path, prefix: str, wrapper: str | None) -> None:
    """Prefixes and wrappers of other training programs; old files without num_batches_tracked."""
    source, target = litepose.build(litepose.SMALL.smallest), litepose.build(litepose.SMALL.smallest)
    weights = {prefix + k: v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}
    checkpoint.save(tmp_path / "w.pt", {wrapper: weights, "epoch": 3} if wrapper else weights)
    loaded = checkpoint.load_checkpoint(target, tmp_path / "w.pt")
    assert loaded == checkpoint.Loaded((), ())
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, target.state_dict()[name])


def test_another_architecture_is_refused_and_nothing_is_changed() -> None:
    """By shape, and by name."""
    network = litepose.build(litepose.SMALL.smallest)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(UserError, match=r"another architecture: first.2.weight is \(16, 32, 1, 1\) there.*superconfig"):
        checkpoint.load_checkpoint(litepose.build(litepose.SPACE.largest), litepose.build(XS).state_dict())
    with pytest.raises(UserError, match="another architecture: .* is (missing|not part)"):
        checkpoint.load_checkpoint(network, {"weight": torch.zeros(2)})
    with pytest.raises(UserError, match=r"MODEL.NUM_JOINTS"):
        checkpoint.load_checkpoint(network, litepose.build(litepose.SMALL.smallest, joints=17).state_dict())
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in before.items())


def test_missing_head_is_reported_when_asked_for() -> None:
    """A pretrained trunk."""
    network = litepose.build(litepose.SMALL.smallest)
    trunk = {k: v for k, v in network.state_dict().items() if not k.startswith("final")}
    loaded = checkpoint.load_checkpoint(network, trunk | {"fc.weight": torch.zeros(1)}, strict=False)
    assert loaded.unexpected == ("fc.weight",)
    assert {key.split(".")[0] for key in loaded.missing} == {"final_refined", "final_raw"}


class Malicious:
    """Would write a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_files_that_are_none(tmp_path: Path) -> None:
    """One line each, and nothing is executed."""
    with pytest.raises(UserError, match="no such checkpoint"):
        checkpoint.read(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").write_bytes(b"")
    checkpoint.save(tmp_path / "good.pt", {"a": torch.zeros(1000)})
    (tmp_path / "cut.pt").write_bytes((tmp_path / "good.pt").read_bytes()[:-200])
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Malicious(tmp_path / "executed")))
    torch.save({"state_dict": Malicious(tmp_path / "executed")}, tmp_path / "evil.pt")
    for name in ("text.pt", "empty.pt", "cut.pt", "evil.pkl", "evil.pt"):
        with pytest.raises(UserError) as caught:
            checkpoint.read(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()
    with pytest.raises(UserError, match="holds no weights"):
        checkpoint.state_dict_of({"epoch": 3}, "x.pt")


def test_packed_weights_are_the_same(tmp_path: Path) -> None:
    """Names, order, types and values; the strides are those of the default memory format."""
    network = litepose.build(litepose.SMALL.smallest).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = network.state_dict()
    checkpoint.save(tmp_path / "w.pt", {"state_dict": checkpoint.packed(weights)})
    read = checkpoint.state_dict_of(checkpoint.read(tmp_path / "w.pt"), "w.pt")
    assert list(read) == list(weights)
    assert all(torch.equal(read[name], weights[name]) and read[name].is_contiguous() for name in weights)
    assert len({tensor.untyped_storage().data_ptr() for tensor in read.values()}) == 2
