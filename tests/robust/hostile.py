"""Hostile inputs by their kind and number: files of every kind that a program reads, damaged from seeds.

``HOSTILE[kind](case, folder)`` writes an input into the folder, and returns what reads it.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import scipy.io
import torch
import yaml
from onnx import TensorProto, helper

from search_spaces import litepose
from supernet.cli.demo import read_boxes
from supernet.cli.report import dataset_of, score_of
from supernet.config.loading import load_config
from supernet.config.ranges import RANGES
from supernet.cost.latency import LatencyTable
from supernet.deploy.onnx_file import OnnxNetwork
from supernet.io import checkpoint
from supernet.io.run_folder import RunFolder
from supernet.pipeline.description import Description
from supernet.pipeline.run import Run
from supernet.pipeline.stage_records import read_stages
from supernet.pipeline.training_log import TrainingLog
from supernet.pose.datasets.coco_format import PoseDataset
from supernet.pose.datasets.images import check_size, image_path, image_size, orientation, read_image
from supernet.pose.datasets.lsp import read_joints
from supernet.pose.datasets.people_of_images import detected_people
from supernet.pose.keypoints import COCO
from supernet.pose.metrics.mpii import MpiiEvaluator
from supernet.report.tables import read_comparison, read_evaluated, read_front, unmet_of
from supernet.search.journal import Journal
from supernet.search.ranking import read_standalone
from supernet.training.trainer import Trainer
from tests.robust.test_fuzz import ODD, rng_of, spoil, spoil_bytes, spoiled_json
from tests.tiny_training import batches, training

Read = Callable[[], object]
NAMES = (
    "",
    ".",
    "..",
    "/x",
    "../../evil",
    "a/b",
    "a\\b",
    "a\0",
    "a b",
    "S",
    "<script>",
    "x" * 300,
    "größe",
    ".x",
    "-x",
)


def of_boxes(case: int, folder: Path) -> Read:
    """A detector's boxes, and those of the demo."""
    rng, path = rng_of("boxes 2", case), folder / "boxes.json"
    box = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 9, 9], "score": 0.9, "file_name": "1.png"}
    path.write_bytes(spoiled_json([box, {**box, "image_id": 2}, {**box, "score": 0.2}], rng))
    if case % 2:
        return lambda: read_boxes(path, ["1.png", "2.png"])
    annotations = folder / "annotations.json"
    category = {"id": 1, "name": "person", "keypoints": list(COCO.joints), "skeleton": []}
    images = [{"id": id, "file_name": f"{id}.png", "width": 32, "height": 24} for id in (1, 2)]
    annotations.write_text(json.dumps({"images": images, "categories": [category]}))
    return lambda: list(detected_people(PoseDataset(annotations, folder, COCO), path, 0.1))


@lru_cache
def pictures() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    return [
        cv2.imencode(f".{suffix}", pixels)[1].tobytes()
        for suffix in ("png", "jpg", "bmp", "webp", "tiff", "ppm", "gif")
    ]


def of_images(case: int, folder: Path) -> Read:
    """Images of seven formats; of every third, four bytes of the head become a large number."""
    rng, data = rng_of("images 2", case), bytearray(pictures()[case % len(pictures())])
    if case % 3 == 0:
        place = int(rng.integers(0, min(len(data) - 4, 40)))
        large = (1, 20_000, 32_000, 65_535, 2**31 - 1, 2**32 - 1)[rng.integers(6)]
        data[place : place + 4] = struct.pack(">I" if rng.random() < 0.5 else "<I", large)
    else:
        data = bytearray(spoil_bytes(bytes(data), rng))
    (folder / "x").write_bytes(data)
    path = folder / "x"
    return (
        lambda: read_image(path),
        lambda: check_size(path, (32, 24)),
        lambda: (image_size(path), orientation(path)),
        lambda: read_image(path, (32, 24)),
    )[case % 4]


@lru_cache
def model() -> bytes:
    """A convolution."""
    graph = helper.make_graph(
        [helper.make_node("Conv", ["images", "weight"], ["output"], kernel_shape=[1, 1])],
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", 3, 8, 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["b", 2, 8, 8])],
        [onnx.numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "weight")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    made.metadata_props.add(key="pose_supernet", value='{"family": "litepose"}')
    content: bytes = made.SerializeToString()
    return content


def of_onnx(case: int, folder: Path) -> Read:
    """A network that is then run on an image."""
    path = folder / "x.onnx"
    path.write_bytes(spoil_bytes(model(), rng_of("onnx 2", case)))
    return lambda: OnnxNetwork(path, seconds=5.0)(torch.zeros(1, 3, 8, 8))


TABLES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "front.csv": ("name,macs,params,resolution,AP,arch\n1,100,10,64,0.5,{}\n2,200,20,64,0.6,[]\n", lambda f: read_front(f, "AP")),
    "search/found.csv": ("macs,AP\n1,0.5\n2,0.7\n", lambda f: read_evaluated(f, "found", "AP")),
    "comparison.csv": (
        "name,macs,params,resolution,ap_transferred,ap_calibrated,ap_retrained,ap_scratch\nS,1,2,64,0.1,0.2,0.3,\n",
        read_comparison,
    ),
    "budgets.csv": ('name,limit,arch,reason\nS,1,"{""a"": 1}",\nL,2,,none\n', unmet_of),
    "t.csv": ("macs,params,seed,search,test,arch\n1,1,0,1,1,{}\n2,1,0,1,1,[]\n", lambda f: read_standalone(f / "t.csv")),
    "log.csv": ("step,stage,loss\n20,all,0.5\n40,all,0.4\n60,all,0.2\n", lambda f: TrainingLog(f, 40).__exit__(None, None, None)),
}  # fmt: skip


def of_tables(case: int, folder: Path) -> Read:
    """The tables and logs of a run folder."""
    name, (text, read) = list(TABLES.items())[case % len(TABLES)]
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(spoil_bytes(text.encode(), rng_of("tables 2", case)))
    return lambda: read(folder)


HEADER = {"format": 2, "space": "s", "seed": 0, "settings": {"images": 9}}
RECORD = {
    "key": '{"a":1}', "arch": {"a": 1}, "algorithm": "random", "macs": 5, "metrics": {"AP": 0.5, "AR": None}, "seconds": 1.0,
    "costs": {"params": 3}, "stage": "full",
}  # fmt: skip


def of_journals(case: int, folder: Path) -> Read:
    """A journal that a search goes on with."""
    rng, path = rng_of("journals 2", case), folder / "journal.jsonl"
    path.unlink(missing_ok=True)
    records = [RECORD, {**RECORD, "key": '{"a":2}', "arch": {"a": 2}}]
    lines: list[Any] = [HEADER, *records]
    if case % 2:
        lines[rng.integers(3)] = spoil(lines[rng.integers(3)], rng, ODD)
        path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    else:
        path.write_bytes(spoil_bytes(("\n".join(map(json.dumps, lines)) + "\n").encode(), rng))
    return lambda: Journal(path, space="s", seed=0, settings={"images": 9}, to_json=lambda arch: arch).records


def of_latency(case: int, folder: Path) -> Read:
    """A table of latencies."""
    place = {"device": "cpu", "runtime": "eager", "threads": 1, "batch": 1, "machine": "m"}
    rows = [{"code": [0, 1, -1], "ms": 2.0}, {"code": [1, 1, 2], "ms": 3.0}]
    data = {"format": 1, "space": "s", "place": place, "fitted": rows, "checked": rows[:1]}
    (folder / "latency.json").write_bytes(spoiled_json(data, rng_of("latency 2", case)))
    return lambda: LatencyTable.load(folder / "latency.json", "s")


@lru_cache
def matlab(compress: bool, joints: bool) -> bytes:
    buffer = io.BytesIO()
    truth = {
        "dataset_joints": np.array(["rank"] * 16, dtype=object)[None], "jnt_missing": np.zeros((16, 3)),
        "pos_gt_src": np.ones((16, 2, 3)), "headboxes_src": np.ones((2, 2, 3)),
    }  # fmt: skip
    scipy.io.savemat(buffer, {"joints": np.ones((3, 14, 4))} if joints else truth, do_compression=compress)
    return buffer.getvalue()


def of_matlab(case: int, folder: Path) -> Read:
    """Annotations of LSP and of MPII."""
    joints, path = bool(case // 2 % 2), folder / "x.mat"
    path.write_bytes(spoil_bytes(matlab(bool(case % 2), joints), rng_of("matlab 2", case)))
    return lambda: read_joints(path) if joints else MpiiEvaluator(path, range(3), 3)


def of_descriptions(case: int, folder: Path) -> Read:
    """What weights say about themselves; it becomes a run."""
    keypoints = {
        "name": "coco",
        "joints": list(COCO.joints),
        "flip_index": list(COCO.flip_index),
        "sigmas": [0.1] * 17,
        "limbs": [],
    }
    value = {
        "family": "litepose", "arch": litepose.to_json(litepose.SMALL.smallest), "keypoints": keypoints, "approach": "bottom-up",
        "input_hw": [128, 128], "mean": [0.4] * 3, "std": [0.2] * 3, "colours": "RGB", "run": "a/b", "format": 1,
        "config": {"SPACE": {"FAMILY": "litepose"}, "TEST": {"IMAGES_PER_GPU": 8}, "SEARCH": {"BUDGETS": {"S": 4e7}}},
    }  # fmt: skip
    path = folder / "x.pt"
    checkpoint.save(
        path, {"state_dict": {}, "network": spoil(json.loads(json.dumps(value)), rng_of("descriptions 2", case), ODD)}
    )

    def read() -> None:
        content = checkpoint.read(path)["network"]
        _ = Description.read(content if isinstance(content, dict) else {}, path).as_run(path).folder

    return read


def of_keys(case: int, folder: Path) -> Read:
    """``KEY VALUE`` pairs: any number for a key, any name for a budget, a stage or a folder."""
    rng = rng_of("keys 2", case)
    odd = (*ODD, *NAMES, -(10**9), 10**9, 2**63, -1e-9, 0.5)
    value = odd[rng.integers(len(odd))]
    match case % 4:
        case 0:
            pairs = [list(RANGES)[rng.integers(len(RANGES))].replace("STAGES.", "STAGES"), str(value)]
        case 1:
            pairs = ["SEARCH.BUDGETS", yaml.safe_dump({str(value): 4e7})]
        case 2:
            pairs = ["SUPERNET.STAGES", yaml.safe_dump([{"name": str(value), "steps": 3}])]
        case _:
            pairs = [("OUTPUT_DIR", "DATASET.TEST", "DATASET.ROOT", "DEVICE")[rng.integers(4)], str(value)]

    def read() -> None:
        cfg = load_config(None, pairs)
        run = Run(cfg, folder / "run.yaml")
        for name in cfg.SEARCH.BUDGETS:
            assert run.paths.subnet(name).weights.resolve().is_relative_to(run.folder.resolve())
        found = run.paths.detections("weights", cfg.DATASET.TEST, ".json")
        assert found.resolve().is_relative_to(run.folder.resolve())
        _ = run.device

    return read


def of_run_folders(case: int, folder: Path) -> Read:
    """The files beside the tables: configuration, stages of a subnet; names of subnets and of images."""
    rng = rng_of("run folders 2", case)
    name = NAMES[rng.integers(len(NAMES))]
    record = {"made_with": {"weights": {"a": 1}, "evaluation": {}}, "metrics": {"AP": 0.5}}
    stages = {"macs": 3, "params": 4, "stages": {"calibrated": record, "transferred": record}}
    config = {"DATASET": {"DATASET": "coco", "SYNTHETIC": {"TRAIN": 3}}, "TEST": {"SCORE": "AP"}}
    match case % 4:
        case 0:
            return lambda: RunFolder(folder).subnet(name)
        case 1:
            (folder / "metrics.json").write_bytes(spoiled_json(stages, rng))
            return lambda: read_stages(folder / "metrics.json")
        case 2:
            (folder / "config.yaml").write_bytes(spoil_bytes(yaml.safe_dump(config).encode(), rng))
            return lambda: (dataset_of(folder), score_of(folder))
        case _:
            return lambda: image_path(folder, name)


@lru_cache
def begun() -> Trainer[Any]:
    """A training of two steps."""
    trainer, plan = training(4)
    trainer.run(plan, batches(plan.steps(0)), lambda *_: trainer.done < 2)
    return trainer


def of_states(case: int, folder: Path) -> Read:
    """Checkpoints of a training, with wrong fields."""
    odd = (*ODD, torch.zeros(3), torch.zeros(1).expand(9), torch.zeros(2, 3, dtype=torch.complex64))
    spoilt = spoil({"trainer": begun().state_dict()}, rng_of("states 2", case), odd)
    checkpoint.save(folder / "x.pt", spoilt if isinstance(spoilt, dict) else {"trainer": spoilt})
    return lambda: training(4)[0].load_state_dict(checkpoint.read(folder / "x.pt", strict=True).get("trainer"))


HOSTILE: dict[str, tuple[Callable[[int, Path], Read], int, int]] = {  # cases of the default suite, and of the long form
    "boxes": (of_boxes, 20, 380),
    "images": (of_images, 70, 630),
    "onnx": (of_onnx, 15, 285),
    "tables": (of_tables, 36, 364),
    "journals": (of_journals, 30, 370),
    "latency": (of_latency, 20, 280),
    "matlab": (of_matlab, 40, 360),
    "descriptions": (of_descriptions, 20, 280),
    "keys": (of_keys, 60, 540),
    "run folders": (of_run_folders, 40, 260),
    "states": (of_states, 10, 140),
}
