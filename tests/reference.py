"""Read the reference records in ``tests/data``, and regenerate the weights that the golden outputs belong to.

What the records are, and the rule of the weights: ``tests/data/README.md``.
"""

from __future__ import annotations

import io
import json
import lzma
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tests.paths import REFERENCE


def load_json(name: str) -> Any:
    """What a JSON file holds, such as ``evaluation/coco_gt``."""
    return json.loads(lzma.decompress((REFERENCE / f"{name}.json.xz").read_bytes()))


def load_arrays(name: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an ``.npz`` file by their names, such as ``evaluation/mpii_preds``."""
    with np.load(io.BytesIO(lzma.decompress((REFERENCE / f"{name}.npz.xz").read_bytes()))) as arrays:
        return {key: arrays[key] for key in arrays.files}


def networks() -> list[str]:
    """Names of the networks that have a golden record."""
    return sorted(path.name.removesuffix(".json.xz") for path in (REFERENCE / "networks").glob("*.json.xz"))


def record(name: str) -> dict[str, Any]:
    """The golden record of a network."""
    content: dict[str, Any] = load_json(f"networks/{name}")
    return content


def weights(golden: dict[str, Any]) -> dict[str, Tensor]:
    """A checkpoint of the original's layout, filled by the rule."""
    return {key: _tensor(key, tuple(shape), golden["weight_gain"]) for key, shape in golden["keys"]}


def live_head(golden: dict[str, Any]) -> dict[str, Tensor]:
    """The same, but with factors of RTMPose's head of order 1, so that its attention is felt in the outputs."""
    found = weights(golden)
    for key, shape in golden["keys"]:
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        if key in ("head.mlp.0.g", "head.gau.ln.g", "head.gau.res_scale.scale"):
            found[key] = torch.from_numpy((0.5 + rng.random(shape)).astype(np.float32))
        elif key in ("head.gau.gamma", "head.gau.beta"):
            found[key] = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    return found


def image(golden: dict[str, Any]) -> Tensor:
    """The input of the record, float64."""
    values = np.random.default_rng(0).standard_normal(golden["input_shape"]).astype(np.float32)
    return torch.from_numpy(values).double()


def worst(outputs: list[Tensor], golden: dict[str, Any]) -> float:
    """The largest difference to the recorded float64 samples, relative to max |out|."""
    assert len(outputs) == len(golden["outputs_float64"])
    differences = []
    for output, recorded in zip(outputs, golden["outputs_float64"], strict=True):
        flat = output.flatten()
        indices = [index for index, _ in recorded["samples"]]
        values = torch.tensor([value for _, value in recorded["samples"]], dtype=torch.float64)
        differences.append(float((flat[indices] - values).abs().max() / flat.abs().max()))
    return max(differences)


def _tensor(key: str, shape: tuple[int, ...], gain: float) -> Tensor:
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if key.endswith("running_mean"):
        values = 0.1 * rng.standard_normal(shape)
    elif key.endswith("running_var"):
        values = 0.5 + rng.random(shape)
    elif len(shape) >= 2:
        values = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:])) * gain
    elif key.endswith("weight"):
        values = 0.5 + rng.random(shape)
    else:
        values = 0.1 * rng.standard_normal(shape)
    return torch.from_numpy(np.asarray(values).astype(np.float32))
