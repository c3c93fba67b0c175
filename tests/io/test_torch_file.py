"""Checkpoints of other programs: their tensors are read, nothing of theirs is run."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces import litepose
from supernet.errors import UserError
from supernet.io import checkpoint
from tests.io.test_checkpoint import Malicious

LEGACY = {"_use_new_zipfile_serialization": False}


class History(dict[str, Any]):
    """A training program's own kind of dictionary."""


class Config:
    """A training program's own object."""

    def __init__(self) -> None:
        self.lr = 0.1


class Model(nn.Module):
    """A network of somebody's own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.last = nn.Linear(4, 2)


def network() -> nn.Module:
    return litepose.build(litepose.SMALL.smallest)


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
def test_what_is_no_tensor_is_left_out(options: dict[str, bool], tmp_path: Path) -> None:
    """HRNet's files hold a numpy number, mmengine's objects of its own; a malicious one is not run either."""
    weights, path = network().state_dict(), tmp_path / "checkpoint.pth.tar"
    content = {
        "epoch": 3, "model": "pose_hrnet", "state_dict": weights, "perf": np.float64(0.5), "history": History(a=1),
        "meta": {"cfg": Config(), "seed": 1}, "message_hub": [Config(), Malicious(tmp_path / "executed")],
    }  # fmt: skip
    torch.save(content, path, **options)
    read = checkpoint.read(path)
    assert read["epoch"] == 3 and "perf" not in read and read["meta"]["seed"] == 1
    assert same(checkpoint.state_dict_of(read, "x"), dict(weights))
    assert checkpoint.load_checkpoint(network(), path) == checkpoint.Loaded((), ())
    assert not (tmp_path / "executed").exists()
    with pytest.raises(UserError, match="refused for safety"):
        checkpoint.read(path, strict=True)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source")
@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
def test_a_whole_model_becomes_its_state_dict_without_its_class(options: dict[str, bool], tmp_path: Path) -> None:
    module = ModuleType("somebodys_module")
    model, path = Model(), tmp_path / "model.pth"
    Model.__module__, module.Model = module.__name__, Model  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    try:
        torch.save({"model": model, "half": [torch.arange(4)[1::2]]}, path, **options)
    finally:
        del sys.modules[module.__name__]
        Model.__module__ = __name__
    read = checkpoint.read(path)
    assert same(read["model"], dict(model.state_dict())) and read["half"][0].tolist() == [1, 3]


def test_views_ties_and_types_survive(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "turned": base.t(), "part": base[1:, ::2], "half": base.half(), "whole": torch.tensor([2**40]), "none": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5), "yes": torch.tensor([True]), "parameter": nn.Parameter(base.clone()),
        "brain": base.bfloat16(),
    }  # fmt: skip
    torch.save({"state_dict": tensors, "perf": np.float32(1)}, tmp_path / "x.pt")
    assert same(checkpoint.read(tmp_path / "x.pt")["state_dict"], tensors)


def test_a_file_without_any_tensor_says_how_to_save_the_weights(tmp_path: Path) -> None:
    torch.save({"model": Malicious(tmp_path / "executed")}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match=r"refused for safety; save the weights alone.*model\.state_dict\(\)"):
        checkpoint.read(tmp_path / "evil.pt")
    torch.save({"state_dict": {"a": torch.ones(2)}, "perf": np.float64(1)}, tmp_path / "script.pt")
    with zipfile.ZipFile(tmp_path / "script.pt", "a") as archive:  # which makes it TorchScript's
        archive.writestr("script/constants.pkl", b"")
    with pytest.raises(UserError, match=r"script\.pt: "):
        checkpoint.read(tmp_path / "script.pt")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
def test_damaged_files_end_in_one_line(options: dict[str, bool], tmp_path: Path) -> None:
    torch.save(
        {"state_dict": {"a": torch.arange(50.0), "b": torch.ones(3)}, "perf": np.float64(1)},
        tmp_path / "x.pt",
        **options,
    )
    data, rng = (tmp_path / "x.pt").read_bytes(), np.random.default_rng(0)
    for case in range(150):
        spoiled = bytearray(data[: rng.integers(1, len(data))] if case % 3 == 0 else data)
        for place in rng.integers(0, len(spoiled), 4):
            spoiled[place] = rng.integers(0, 256)
        (tmp_path / "spoiled.pt").write_bytes(spoiled)
        try:
            checkpoint.read(tmp_path / "spoiled.pt")
        except UserError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "module._orig_mod.", "model.", "_orig_mod.module.", "net.", "ema_model.module."]
)
def test_prefixes_of_training_programs(prefix: str) -> None:
    source, target = network(), network()
    checkpoint.load_checkpoint(
        target, {"state_dict": {prefix + name: value for name, value in source.state_dict().items()}}
    )
    assert same(dict(target.state_dict()), dict(source.state_dict()))


@pytest.mark.parametrize("layout", ["state_dict_ema", "ema", "beside", "mmcv", "mmengine"])
def test_averaged_weights(layout: str) -> None:
    """Taken where there is nothing else; beside weights, the weights are taken."""
    source, other = network().state_dict(), network().state_dict()
    averaged = {"n_averaged": torch.tensor(7), **{f"module.{name}": value for name, value in source.items()}}
    content = {
        "state_dict_ema": {"epoch": 1, "state_dict_ema": averaged},
        "ema": {"ema": {"module": dict(source), "decay": 0.9}},
        "beside": {"state_dict": source, "state_dict_ema": other},
        "mmcv": {"state_dict": source | {f"ema_{name.replace('.', '_')}": value for name, value in other.items()}},
        "mmengine": {"state_dict": source, "ema_state_dict": {"steps": torch.tensor(3), **other}},
    }[layout]
    assert same(checkpoint.state_dict_of(content, "x"), dict(source))


# ---------------------------------------------------------------------------------------------------------- safetensors


def safetensors(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def test_safetensors_are_read(tmp_path: Path) -> None:
    source, header, data = network().state_dict(), {"__metadata__": {"format": "pt"}}, b""
    names = {torch.float32: "F32", torch.int64: "I64"}
    content: dict[str, Any] = dict(header)
    for name, tensor in source.items():
        raw = tensor.numpy().tobytes()
        content[name] = {
            "dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]
        }  # fmt: skip
        data += raw
    target = network()
    for name in ("x.safetensors", "x.bin"):
        checkpoint.load_checkpoint(target, safetensors(tmp_path / name, content, data))
        assert same(dict(target.state_dict()), dict(source))


@pytest.mark.parametrize(
    "change",
    [
        {"data_offsets": [0, 12]}, {"data_offsets": [-4, 12]}, {"data_offsets": [8, 24]}, {"shape": [-2, -2]},
        {"shape": [2**40, 2**40]}, {"dtype": "F4"}, {"shape": None}, {"data_offsets": [0]}, {"shape": [4.0]},
    ],
)  # fmt: skip
def test_safetensors_that_lie_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    path = safetensors(tmp_path / "x.safetensors", {"a": entry}, bytes(16))
    assert checkpoint.read(path)["a"].tolist() == [0, 0, 0, 0]
    with pytest.raises(UserError, match="is not a safetensors file, or is damaged"):
        checkpoint.read(safetensors(path, {"a": entry | change}, bytes(16)))


def test_a_safetensors_header_that_lies_is_refused(tmp_path: Path) -> None:
    for header, length in (({}, 10**6), ({}, 1), ([], None), ({"a": 3}, None)):
        with pytest.raises(UserError, match="is not a safetensors file"):
            checkpoint.read(safetensors(tmp_path / "x.safetensors", header, b"", length))
    (tmp_path / "x.safetensors").write_bytes(b"123")
    with pytest.raises(UserError, match="is not a safetensors file"):
        checkpoint.read(tmp_path / "x.safetensors")
