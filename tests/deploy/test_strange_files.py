"""ONNX files that are no exported network, or that never end: one line each."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from supernet.deploy.onnx_file import OnnxNetwork
from supernet.errors import UserError
from supernet.pipeline.weights import DESCRIPTION, run_of_weights

IMAGES = torch.zeros(2, 3, 8, 8)


def model(
    path: Path,
    shape: list[Any] | None = None,
    kind: int = TensorProto.FLOAT,
    nodes: list[Any] | None = None,
    output: tuple[int, list[Any]] = (TensorProto.FLOAT, ["b", 3, 8, 8]),
    inputs: int = 1,
    **facts: str,
) -> Path:
    """A file that answers with its input, changed as asked."""
    shape = ["b", 3, 8, 8] if shape is None else shape
    graph = helper.make_graph(
        nodes or [helper.make_node("Identity", ["images"], ["output"])],
        "net",
        [helper.make_tensor_value_info(name, kind, shape) for name in ("images", "more")[:inputs]],
        [helper.make_tensor_value_info("output", *output)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    for key, value in facts.items():
        made.metadata_props.add(key=key, value=value)
    onnx.save(made, path)
    return path


def endless() -> list[Any]:
    """A loop whose condition is always true."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["on"]), helper.make_node("Add", ["value", "value"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    return [
        helper.make_node("Constant", [], ["yes"], value=yes),
        helper.make_node("Loop", ["", "yes", "images"], ["output"], body=body),
    ]


def test_a_usual_file_runs(tmp_path: Path) -> None:
    assert OnnxNetwork(model(tmp_path / "x.onnx"))(IMAGES).shape == (2, 3, 8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": ["b", 3, 8]}, "the input is no batch of images"),
        ({"shape": []}, "the input is no batch of images"),
        ({"shape": ["b", 4, 8, 8]}, "the input is no batch of images"),
        ({"shape": [0, 3, 8, 8]}, "the input is no batch of images"),
        ({"inputs": 2}, "the input is no batch of images"),
        ({"kind": TensorProto.INT64, "output": (TensorProto.INT64, ["b", 3, 8, 8])}, "the input is not of float32"),
    ],
)
def test_another_input_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=f"x.onnx: is not an exported network .{message}.; write it with tools/export.py"
    ):
        OnnxNetwork(model(tmp_path / "x.onnx", **change))


def test_a_device_or_a_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_text("hello")
    with pytest.raises(UserError, match="x.onnx: is not an exported network .damaged, or of another kind"):
        OnnxNetwork(tmp_path / "x.onnx")
    (tmp_path / "z.onnx").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="z.onnx: no such file"):
        OnnxNetwork(tmp_path / "z.onnx")


def test_an_answer_of_another_type_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["images"], ["output"], to=TensorProto.INT64)]
    network = OnnxNetwork(model(tmp_path / "x.onnx", nodes=nodes, output=(TensorProto.INT64, ["b", 3, 8, 8])))
    with pytest.raises(UserError, match="does not answer with an array of numbers for each image"):
        network(IMAGES)


def test_what_fails_on_the_way_ends_in_one_line(tmp_path: Path) -> None:
    shape = onnx.numpy_helper.from_array(np.array([5, 7]), "shape")
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("Reshape", ["images", "shape"], ["output"]),
    ]
    network = OnnxNetwork(model(tmp_path / "x.onnx", nodes=nodes, output=(TensorProto.FLOAT, [5, 7])))
    with pytest.raises(UserError, match="x.onnx: cannot run on images of this size") as caught:
        network(IMAGES)
    assert "\n" not in str(caught.value)


def test_an_endless_loop_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supernet.deploy.onnx_file.SECONDS_PER_IMAGE", 0.0)
    network = OnnxNetwork(model(tmp_path / "x.onnx", nodes=endless()), seconds=0.5)
    started = time.monotonic()
    with pytest.raises(UserError, match="x.onnx: has not ended after 0.5 s; write it with tools/export.py"):
        network(IMAGES)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("text", ["{", "[]", "3", "", "[" * 100_000, json.dumps({"family": 3})])
def test_a_description_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    path = model(tmp_path / "x.onnx", **{DESCRIPTION: text})
    with pytest.raises(UserError, match="x.onnx: its description of the network is damaged; give --cfg and --superc"):
        run_of_weights(path)
