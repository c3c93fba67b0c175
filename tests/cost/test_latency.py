"""The latency table: what it is fitted to, what it refuses, and the runtimes that it is measured with."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces import litepose
from supernet.cli.latency import main
from supernet.cost import latency
from supernet.cost.latency import LatencyModel, LatencyTable, Place
from supernet.deploy import onnx_file
from supernet.deploy.benchmark import latency_ms, measure
from supernet.deploy.runtimes import runner
from supernet.errors import UserError

PLACE = Place("cpu", "eager", 1, 1, "a machine")
SPACE = litepose.SMALL.restrict({"resolution": [128], "depth": 1})


@pytest.fixture(scope="module")
def model() -> LatencyModel[Any]:
    """A table of made-up times: 2 ms, 0.1 ms for a depthwise layer, 1 ns for an element of a 1×1 convolution."""
    table = LatencyTable(SPACE.fingerprint, PLACE)
    model = LatencyModel(litepose.build, SPACE, table)
    codes = SPACE.sample_codes(60, np.random.default_rng(0))
    names = [f"{kind} {unit}" for kind in latency.KINDS for unit in ("call", "output", "mac")]
    features = model._features(codes)[:, 1:]
    true = 2 + 0.1 * features[:, names.index("depthwise call")] + 1e-6 * features[:, names.index("pointwise output")]
    for row, ms in zip(codes[:40].tolist(), true, strict=False):
        table.fitted[tuple(row)] = ms
    for row, ms in zip(codes[40:].tolist(), true[40:], strict=True):
        table.checked[tuple(row)] = ms
    return model


def test_a_sum_over_blocks_is_found_again(model: LatencyModel[Any]) -> None:
    assert model.error().max() < 1e-6
    codes = SPACE.sample_codes(5000, np.random.default_rng(9))
    assert model.predict(codes).shape == (5000,) and model.predict(codes).min() > 2
    assert [row["block"] for row in model.rows] == ["network", *latency.KINDS]


def test_a_table_is_read_as_it_was_written(model: LatencyModel[Any], tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    model.table.save(path)
    assert LatencyTable.load(path, SPACE.fingerprint) == model.table
    with pytest.raises(UserError, match=f"a latency table of space {SPACE.fingerprint}, this is 0123; measure one"):
        LatencyTable.load(path, "0123")
    path.write_text(json.dumps({"format": 1, "space": "0123"}))
    with pytest.raises(UserError, match="not a latency table; measure one with tools/latency.py"):
        LatencyTable.load(path, "0123")


def test_blocks_that_were_never_measured_are_refused(model: LatencyModel[Any]) -> None:
    blind = LatencyModel.__new__(LatencyModel)
    blind.__dict__.update(model.__dict__, _fit=(np.ones(16), np.arange(16) < 7))
    codes = SPACE.sample_codes(3, np.random.default_rng(0))
    with pytest.raises(UserError, match="no depthwise layer measured; extend it with tools/latency.py"):
        blind.predict(codes)
    with pytest.raises(UserError, match="too few measurements; extend it with tools/latency.py"):
        LatencyModel(litepose.build, SPACE, LatencyTable(SPACE.fingerprint, PLACE)).predict(codes)


def test_one_command_measures_checks_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def fake(build: Any, space: Any, code: Any, place: Place, repeats: int) -> float:
        measured.append(code)
        return float(3 + sum(index for index in code if index > 0) / 100)

    monkeypatch.setattr("supernet.cli.latency.measure", fake)
    cfg, out = "experiments/synthetic/litepose.yaml", tmp_path / "latency.json"
    command = ["--cfg", cfg, "--out", str(out), "DEVICE", "cpu", "DATASET.ROOT", str(tmp_path)]
    main([*command, "--measure", "20", "--check", "5"])
    assert len(measured) == 25 and "5 other architectures of 3." in capsys.readouterr().out
    main([*command, "--measure", "20", "--check", "7"])
    assert len(measured) == 27
    with pytest.raises(UserError, match="measured at Place.*threads=1.*this is Place.*threads=2.*give another --out"):
        main([*command, "--threads", "2"])


def test_eager_computes_and_is_timed() -> None:
    network, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), torch.randn(2, 3, 8, 8)
    call = runner(network, images, "eager", threads=1)
    assert torch.equal(call(images), network.eval()(images)) and not call(images).requires_grad
    assert latency_ms(lambda _: time.sleep(0.002), images, threads=2, repeats=3) > 1.9
    assert 0 < measure(litepose.build, SPACE, SPACE.encode(SPACE.smallest).tolist(), PLACE, repeats=2) < 10_000


def test_onnxruntime_computes_the_same() -> None:
    network, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), torch.randn(2, 3, 8, 8)
    (out,) = runner(network, images, "onnxruntime", threads=1)(images)
    np.testing.assert_allclose(out, network(images).detach().numpy(), atol=1e-5)


def test_runtimes_that_cannot_run_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)
    with pytest.raises(UserError, match="runtime 'tensorrt' is not known; there are eager, compile, onnxruntime"):
        runner(network, images, "tensorrt", 1)

    def corrupt(network: Any) -> Any:
        raise RuntimeError("no compiler\nand a long story")

    monkeypatch.setattr(torch, "compile", lambda network: corrupt)
    with pytest.raises(
        UserError, match=r"torch.compile fails here \(no compiler\); install a C\+\+ compiler"
    ) as caught:
        runner(network, images, "compile", 1)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(UserError, match=r"ONNX files need onnxscript: run `pip install pose-supernet\[export\]`"):
        runner(network, images, "onnxruntime", 1)
