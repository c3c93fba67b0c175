"""Exported networks: the same numbers and scores as PyTorch, open shapes, joints in the graph, 8 bits, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from torch import Tensor, nn

from search_spaces import hrnet, litepose
from supernet.cli import demo, export, valid
from supernet.cli.command import run_program
from supernet.deploy import onnx_file
from supernet.deploy.onnx_file import OnnxNetwork, write_onnx
from supernet.deploy.quantisation import quantise
from supernet.errors import UserError
from supernet.io.files import sha256
from supernet.pose.synthetic.dataset import make_synthetic
from tests.deploy.test_fusion import difference, unsettled


@dataclass(frozen=True)
class Place:
    """A synthetic dataset, weights and a configuration of a small network for each way, and what was exported of them."""

    folder: Path

    def arguments(self, kind: str, *more: object) -> list[str]:
        given = ["--cfg", self.folder / f"{kind}.yaml", *more, "OUTPUT_DIR", self.folder / "output"]
        return [str(value) for value in given]

    def exporting(self, kind: str, *more: object) -> list[str]:
        return self.arguments(
            kind,
            "--superconfig",
            self.folder / f"{kind}.json",
            "--out",
            self.folder / f"{kind}.onnx",
            "--images",
            3,
            *more,
        )

    def certificate(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / f"{kind}.certificate.json").read_text())
        return found


NETWORKS: dict[str, tuple[Any, Any, str]] = {
    "people": (hrnet, replace(hrnet.SMALL.smallest, resolution=(96, 64)), "coco"),
    "crowd": (litepose, litepose.SMALL.restrict({"resolution": [128]}).smallest, "coco_kpt"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("export")
    make_synthetic(folder / "data", train=2, val=3, width=128, height=128, seed=2)
    for kind, (family, arch, reader) in NETWORKS.items():
        (folder / f"{kind}.json").write_text(json.dumps(family.to_json(arch)))
        torch.save(unsettled(family.build(arch, joints=17)).state_dict(), folder / f"{kind}.pt")
        settings = {
            "DEVICE": "cpu", "WORKERS": 0, "THREADS": 1, "MODEL": {"NUM_JOINTS": 17},
            "DATASET": {"ROOT": str(folder / "data" / "coco"), "DATASET": reader, "NUM_JOINTS": 17, "SEARCH_IMAGES": 0,
                        "TRAIN": "train2017", "TEST": "val2017", "COLOR_RGB": True, "CALIBRATION_IMAGES": 2},
            "SPACE": {"FAMILY": family.__name__.rpartition(".")[2]},
            "TEST": {"MODEL_FILE": str(folder / f"{kind}.pt"), "USE_GT_BBOX": True, "FLIP_TEST": True, "POST_PROCESS": True,
                     "WITH_HEATMAPS": [True, True], "WITH_AE": [True, False], "DETECTION_THRESHOLD": 0.0,
                     "IMAGES_PER_GPU": 2},
        }  # fmt: skip
        (folder / f"{kind}.yaml").write_text(yaml.safe_dump(settings))
    place = Place(folder)
    # a fixed batch of two and 8 bits for the crowd, a batch of any size for people
    export.main(place.exporting("crowd", "--batch", 2, "--int8", 2, "--repeats", 1, "--no-compile"))
    export.main(place.exporting("people", "--dynamic", "batch", "--repeats", 0))
    return place


def evaluated(
    made: Place, kind: str, capsys: pytest.CaptureFixture[str], *more: object
) -> tuple[str, list[dict[str, Any]]]:
    """The line of scores, and what was found."""
    valid.main(made.arguments(kind, *more))
    printed = capsys.readouterr().out.splitlines()
    file = Path(next(line.removeprefix("detections: ") for line in printed if line.startswith("detections: ")))
    return next(line for line in printed if line.startswith("AP ")), json.loads(file.read_text())


@pytest.mark.parametrize("kind", NETWORKS)
def test_valid_finds_the_same_with_the_exported_file(
    kind: str, made: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    before, wanted = evaluated(made, kind, capsys, "--superconfig", made.folder / f"{kind}.json")
    after, found = evaluated(made, kind, capsys, "TEST.MODEL_FILE", made.folder / f"{kind}.onnx")
    assert after == before
    assert len(found) == len(wanted) > 0
    for one, other in zip(wanted, found, strict=True):
        assert one["image_id"] == other["image_id"]
        np.testing.assert_allclose(one["keypoints"], other["keypoints"], atol=1e-2)
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_certificate(kind: str, made: Place) -> None:
    found, file = made.certificate(kind), made.folder / f"{kind}.onnx"
    assert found["difference"] <= found["largest_difference"] == 1e-4
    assert (found["sha256"], found["source_sha256"]) == (sha256(file), sha256(made.folder / f"{kind}.pt"))
    family, arch, _ = NETWORKS[kind]
    assert family.from_json(found["arch"]) == arch
    graph = onnx.load(file)
    assert found["opset"] == graph.opset_import[0].version
    assert [output.name for output in graph.graph.output] == found["outputs"]
    assert "BatchNormalization" not in {node.op_type for node in graph.graph.node}
    assert found["params"] == sum(parameter.numel() for parameter in family.build(arch, joints=17).parameters())
    assert found["macs"] > 1e6


def test_runtimes_are_measured_beside_one_another(made: Place) -> None:
    latency = made.certificate("crowd")["latency"]
    assert (latency["threads"], latency["batch"]) == (1, 2)
    assert [row["runtime"] for row in latency["rows"]] == [
        "eager", "eager, BatchNorm folded", "onnxruntime", "onnxruntime int8"
    ]  # fmt: skip
    assert all(row["ms"] > 0 and row["ratio"] > 0 for row in latency["rows"]) and latency["rows"][0]["ratio"] == 1
    assert "latency" not in made.certificate("people")


def test_eight_bits(made: Place, capsys: pytest.CaptureFixture[str]) -> None:
    file = made.folder / "crowd-int8.onnx"
    certificate = made.certificate("crowd")["int8"]
    assert certificate["sha256"] == sha256(file) and certificate["images"] == 2
    assert 1e-4 < certificate["difference"] < 0.5
    assert file.stat().st_size < 0.7 * (made.folder / "crowd.onnx").stat().st_size
    weights = [entry for entry in onnx.load(file).graph.initializer if len(entry.dims) == 4]
    kinds = {entry.data_type for entry in weights}
    assert {onnx.TensorProto.INT8, onnx.TensorProto.FLOAT} == kinds  # the last layers stay as they are
    _, found = evaluated(made, "crowd", capsys, "TEST.MODEL_FILE", file)
    assert found


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_demo_draws_the_same(kind: str, made: Place, tmp_path: Path) -> None:
    outputs = []
    for name, more in (("pt", ["--superconfig", made.folder / f"{kind}.json"]), ("onnx", [])):
        image = made.folder / "data" / "coco" / "images" / "val2017"
        out = ["--input", image, "--out", tmp_path / name, "--score", -1]
        demo.main(made.arguments(kind, *more, *out, "TEST.MODEL_FILE", made.folder / f"{kind}.{name}"))
        outputs.append(json.loads((tmp_path / name / "poses.json").read_text())["images"])
    assert len(outputs[0]) == 3 and any(image["people"] for image in outputs[0])
    for one, other in zip(*outputs, strict=True):
        assert len(one["people"]) == len(other["people"])
        for person, again in zip(one["people"], other["people"], strict=True):
            np.testing.assert_allclose(person["keypoints"], again["keypoints"], atol=2e-2)


def test_joints_in_the_graph(
    made: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "joints.onnx"
    torch.manual_seed(0)
    tiny = nn.Sequential(nn.Conv2d(3, 8, 5, 4, 2), nn.ReLU(), nn.Conv2d(8, 17, 3, 1, 1))
    monkeypatch.setattr(export, "network_of", lambda run, given: (tiny, NETWORKS["people"][1]))
    export.main([*made.exporting("people", "--decode", "--repeats", 0), "--out", str(file)])
    certificate = json.loads((tmp_path / "joints.certificate.json").read_text())
    assert certificate["outputs"] == ["joints", "confidence"] and certificate["moved"] <= 0.01
    joints, confidence = OnnxNetwork(file)(torch.zeros(1, 3, 96, 64))
    assert joints.shape == (1, 17, 2) and confidence.shape == (1, 17)
    assert "export it without --decode" in refused(
        capsys, valid.main, made.arguments("people", "TEST.MODEL_FILE", file)
    )


# --------------------------------------------------------------------------------------------------------------- shapes


@pytest.fixture(scope="module")
def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()


def test_a_batch_is_cut_and_filled_up(made: Place) -> None:
    exported_network = OnnxNetwork(made.folder / "crowd.onnx", threads=1)
    assert exported_network.shape == (2, 3, 128, 128) and exported_network.facts["family"] == "litepose"
    family, arch, _ = NETWORKS["crowd"]
    network = unsettled(family.build(arch, joints=17))
    network.load_state_dict(torch.load(made.folder / "crowd.pt", weights_only=True))
    images = torch.randn(5, 3, 128, 128)
    with torch.no_grad():
        assert difference(network(images), exported_network(images)) < 1e-4
    message = r"crowd.onnx: takes images of 128 x 128, this one is 192 x 128; export it with --dynamic size"
    with pytest.raises(UserError, match=message):
        exported_network(torch.randn(1, 3, 192, 128))


def test_every_size_where_it_is_left_open(small: nn.Module, tmp_path: Path) -> None:
    write_onnx(small, torch.randn(1, 3, 64, 64), tmp_path / "b.onnx", ["maps"], {}, "size")
    network = OnnxNetwork(tmp_path / "b.onnx")
    assert network.shape == (None, 3, None, None)
    for shape in ((1, 3, 32, 32), (3, 3, 96, 64)):
        images = torch.randn(shape)
        with torch.no_grad():
            assert difference(small(images), network(images)) < 1e-5
    quantise(tmp_path / "b.onnx", tmp_path / "c.onnx", [images])
    assert OnnxNetwork(tmp_path / "c.onnx")(images).shape == network(images).shape


#: What a family's networks cannot leave open.
FIXED = {"transpose": "size"}  # its positions are a tensor of the weights


# -------------------------------------------------------------------------------------------------------------- refused


def refused(capsys: pytest.CaptureFixture[str], main: Any, arguments: list[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        run_program(main, arguments)
    assert stopped.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_what_cannot_be_exported_is_said_in_one_line(
    made: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def line(kind: str, *more: object) -> str:
        return refused(capsys, export.main, made.exporting(kind, *more))

    assert "crowd_pose" not in (bottom_up := line("crowd", "--decode")) and "coco_kpt is bottom-up" in bottom_up
    assert "no DARK; set TEST.BLUR_KERNEL 0" in line("people", "--decode", "TEST.BLUR_KERNEL", 11)
    assert "net.pth has to end in .onnx" in line("crowd", "--out", tmp_path / "net.pth")
    assert "--images: '0': it takes a whole number, 1 to" in line("crowd", "--images", 0)
    assert "is exported already" in refused(
        capsys, export.main,
        made.arguments("crowd", "--out", tmp_path / "a.onnx", "TEST.MODEL_FILE", made.folder / "crowd.onnx"),
    )  # fmt: skip
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name == "onnxscript" else name)
    assert "need onnxscript: run `pip install pose-supernet[export]`" in line("crowd")


def test_the_difference_is_a_part_of_the_largest_value(small: nn.Module) -> None:
    class Other(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            found: Tensor = small(images)
            return found + 0.003 * found.abs().max()

    other: Any = Other()
    assert export.compared(small, other, [torch.randn(2, 3, 32, 32)]) == {"difference": pytest.approx(0.003, rel=1e-3)}
    assert export.compared(small, other, [torch.randn(2, 3, 32, 32)] * 2)["difference"] > export.LARGEST_DIFFERENCE


def test_a_file_that_differs_is_not_kept(
    made: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def copied(network: nn.Module, images: Tensor, path: Path, *_: object) -> int:
        path.write_bytes((made.folder / "people.onnx").read_bytes())
        return 20

    monkeypatch.setattr(export, "write_onnx", copied)
    monkeypatch.setattr(export, "compared", lambda *_: {"difference": 2e-4})
    arguments = [*made.exporting("people"), "--out", str(tmp_path / "net.onnx")]
    assert "net.onnx: differs from PyTorch by 2.0e-04 of the largest value" in refused(capsys, export.main, arguments)
    assert not list(tmp_path.iterdir())


def test_a_network_of_one_size(
    made: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class OneSize(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images + torch.zeros(1, 3, 96, 64)

    monkeypatch.setattr(export, "network_of", lambda run, given: (OneSize(), NETWORKS["people"][1]))
    line = refused(capsys, export.main, made.exporting("people", "--dynamic", "size"))
    assert "takes images of 96 x 64 only; write --dynamic batch" in line


def test_files_that_are_no_such_network(made: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def line(kind: str, file: Path, *more: object) -> str:
        return refused(capsys, valid.main, made.arguments(kind, "TEST.MODEL_FILE", file, *more))

    crowd, people = made.folder / "crowd.onnx", made.folder / "people.onnx"
    assert "crowd.onnx: is of the family litepose, SPACE.FAMILY is hrnet" in line("people", crowd)
    assert "none.onnx: no such file; write it with tools/export.py" in line("crowd", tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    assert "bad.onnx: is not an exported network (damaged, or of another kind)" in line("crowd", tmp_path / "bad.onnx")
    other = tmp_path / "other.json"
    other.write_text(json.dumps(hrnet.to_json(replace(NETWORKS["people"][1], resolution=(128, 96)))))
    assert "is of another architecture than --superconfig" in line("people", people, "--superconfig", other)
    crowdpose = ["DATASET.DATASET", "crowdpose", "MODEL.NUM_JOINTS", 14]
    assert "people.onnx: is for 17 joints, coco's; DATASET.DATASET crowdpose has 14" in line(
        "people", people, *crowdpose
    )
    stranger = onnx.load(crowd)
    del stranger.metadata_props[:]
    onnx.save(stranger, tmp_path / "stranger.onnx")
    assert "stranger.onnx: does not say its architecture" in line("crowd", tmp_path / "stranger.onnx")
    assert "--superconfig is needed: the architecture of" in line("crowd", made.folder / "crowd.pt")
