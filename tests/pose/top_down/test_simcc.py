"""Coordinate classification against mmpose's numbers: targets, loss and gradients, decoding, flip test, a whole training step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import search_spaces
from supernet.errors import UserError
from supernet.pose.keypoints import COCO
from supernet.pose.top_down.crop import center_scale, crop_matrix
from supernet.pose.top_down.decoding import DecodingSettings
from supernet.pose.top_down.simcc import (
    SimCCDecodingSettings,
    SimCCTargetSettings,
    decode_simcc,
    merge_mirrored_vectors,
    one_person_vectors,
    simcc_peaks,
    simcc_targets,
)
from supernet.pose.top_down.simcc_loss import SimCCLoss
from supernet.pose.top_down.task import one_person
from tests import reference

CODEC: dict[str, Any] = reference.load_json("rtmpose/facts/codec_golden")
TRAINING: dict[str, Any] = reference.load_json("rtmpose/facts/training_golden")
SIMCC = SimCCTargetSettings(sigma=6.0, normalized=True)


def targets_of(entry: dict[str, Any], settings: SimCCTargetSettings) -> tuple[NDArray[np.float32], ...]:
    """The targets of the record's keypoints."""
    encode = CODEC["encode"]
    keypoints = np.column_stack([np.array(encode["keypoints"], np.float32), np.array(encode["visible"], np.float32)])
    width, height = entry["codec"]["input_size"]
    return simcc_targets(keypoints, COCO, (height, width), settings)


@pytest.mark.parametrize("entry", CODEC["encode"]["results"], ids=lambda entry: entry["name"])
def test_targets(entry: dict[str, Any]) -> None:
    """Every bin that the record has, sums and places; sigma follows the input where the record is RTMPose's."""
    *targets, weights = targets_of(entry, SIMCC if "simcc" in entry["name"] else SimCCTargetSettings())
    assert [list(target[None].shape) for target in targets] == entry["shapes"]
    assert all(target.dtype == np.float32 for target in targets)
    for joint, wanted in enumerate(entry["keypoints"]):
        assert weights[joint] == np.float32(wanted["weight"])
        for axis, target in zip("xy", targets, strict=True):
            vector = target[joint]
            assert abs(vector.sum(dtype=np.float64) - wanted[f"{axis}_sum"]) <= 2e-6
            assert vector.argmax() == wanted[f"{axis}_argmax"] and abs(vector.max() - wanted[f"{axis}_max"]) <= 2e-8
            assert all(abs(float(vector[place]) - value) <= 2e-8 for place, value in wanted[f"{axis}_at"])


def vectors() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the record decodes."""
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((2, 5, 384)), rng.standard_normal((2, 5, 512))
    x[0, 0], y[0, 1] = -np.abs(x[0, 0]), -np.abs(y[0, 1])
    x[0, 2, 17] = x[0, 2, 33] = 9
    y[1, 3] = 0
    return x, y


def test_decoding() -> None:
    wanted = CODEC["decode"]
    places, scores = simcc_peaks(vectors())
    assert np.array_equal(places, wanted["keypoints"])
    assert np.abs(scores - wanted["scores"]).max() <= 1e-11


def test_flip_test() -> None:
    wanted, (x, y) = CODEC["flip"], (torch.from_numpy(vector) for vector in vectors())
    merged = merge_mirrored_vectors((x, y), (x.flip(0), y.flip(0)), wanted["flip_indices"], shift=False)
    for vector, samples in zip(merged, (wanted["x_samples"], wanted["y_samples"]), strict=True):
        assert all(abs(float(vector.flatten()[place]) - value) <= 1e-11 for place, value in samples)
    places, scores = simcc_peaks((merged[0].numpy(), merged[1].numpy()))
    assert np.array_equal(places, wanted["keypoints"])
    assert np.abs(scores - wanted["scores"]).max() <= 1e-11


def test_a_shifted_mirrored_target_is_the_target() -> None:
    """A joint at x has the bin 2 x; in the mirrored image it lies at W - 1 - x."""
    keypoints = np.array([[30.0, 10.0, 1], [50.5, 20.0, 1]], np.float32)
    mirrored = keypoints * np.array([-1, 1, 1], np.float32) + np.array([63, 0, 0], np.float32)
    both = [simcc_targets(joints, COCO, (32, 64), SimCCTargetSettings())[:2] for joints in (keypoints, mirrored)]
    first, second = ((torch.from_numpy(x)[None], torch.from_numpy(y)[None]) for x, y in both)
    shifted = merge_mirrored_vectors(first, second, (0, 1), shift=True)
    assert torch.equal(shifted[0][..., :-1], first[0][..., :-1]) and torch.equal(shifted[1], first[1])
    unshifted = merge_mirrored_vectors(first, second, (0, 1), shift=False)
    assert not torch.equal(unshifted[0][..., :-1], first[0][..., :-1])


def test_refining_finds_a_peak_between_bins() -> None:
    """Of a Gaussian's top to a 100th of a bin; at the ends and on plateaus the bin stays."""
    bins = np.arange(128)
    x = np.exp(-((bins - 40.3) ** 2) / (2 * 4.9**2))[None, None]
    y = np.exp(-((bins - 127.4) ** 2) / (2 * 4.9**2))[None, None]
    plain, refined = simcc_peaks((x, y))[0], simcc_peaks((x, y), refine=True)[0]
    assert plain.tolist() == [[[20.0, 63.5]]]
    assert abs(refined[0, 0, 0] * 2 - 40.3) <= 0.01 and refined[0, 0, 1] == 63.5
    flat = np.ones((1, 1, 8))
    assert simcc_peaks((flat, flat), refine=True)[0].tolist() == [[[0.0, 0.0]]]


@pytest.mark.parametrize("wanted", CODEC["loss"]["results"], ids=lambda wanted: wanted["name"])
def test_loss_and_gradients(wanted: dict[str, Any]) -> None:
    rng = np.random.default_rng(11)
    x, y = (torch.from_numpy(0.1 * rng.standard_normal((2, 12, bins))).requires_grad_() for bins in (384, 512))
    entry = CODEC["encode"]["results"][0]
    target_x, target_y, weights = (torch.from_numpy(part).double() for part in targets_of(entry, SimCCTargetSettings()))
    both = torch.stack([weights, weights / 2])
    batch = {"simcc_x": target_x.expand(2, -1, -1), "simcc_y": target_y.expand(2, -1, -1), "weights": both}
    given = wanted["args"]
    criterion = SimCCLoss(given["use_target_weight"], given.get("beta", 1.0), given.get("label_softmax", False))
    loss, parts = criterion([x, y], batch)
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.equal(parts["simcc"], loss.detach())
    assert abs(loss.item() - wanted["loss"]) <= 1e-11
    assert x.grad is not None and y.grad is not None
    assert abs(float(x.grad.norm()) - wanted["grad_x_norm"]) <= 1e-12
    assert abs(float(y.grad.norm()) - wanted["grad_y_norm"]) <= 1e-12
    assert all(abs(float(x.grad.flatten()[place]) - value) <= 1e-14 for place, value in wanted["grad_x"])


def test_unweighted_loss_and_distillation() -> None:
    """A teacher's own outputs cost nothing; without weights an unlabelled joint costs as much as any."""
    generator = torch.Generator().manual_seed(0)
    outputs = [torch.randn(2, 3, bins, generator=generator) for bins in (16, 24)]
    batch: dict[str, Tensor] = {"weights": torch.tensor([[1.0, 0.0, 1.0]] * 2)}
    batch |= {f"simcc_{axis}": torch.rand(outputs[at].shape, generator=generator) for at, axis in enumerate("xy")}
    assert float(SimCCLoss().distillation(outputs, outputs, batch).abs()) <= 1e-6
    assert float(SimCCLoss().distillation(outputs, outputs[::-1][::-1], batch).abs()) <= 1e-6
    assert SimCCLoss(weighted=False)(outputs, batch)[0] > SimCCLoss()(outputs, batch)[0] > 0
    with pytest.raises(ValueError, match="do not belong together"):
        SimCCLoss()(outputs, batch | {"simcc_x": torch.rand(2, 3, 15)})


def test_crop_and_the_way_back() -> None:
    """mmpose's matrices, and its way from the input to the image."""
    for entry in CODEC["crop"]["results"]:
        left, top, right, bottom = entry["box_xyxy"]
        width, height = entry["input_size_wh"]
        center, scale = center_scale((left, top, right - left, bottom - top), width / height)
        matrix = crop_matrix(center, scale, entry["rotation_deg"], (width, height))
        mapped = np.array(entry["points"]) @ matrix[:, :2].T + matrix[:, 2]
        assert np.abs(mapped - entry["mapped"]).max() <= 2e-4
        if entry["rotation_deg"] == 0 and ((mapped >= 0) & (mapped < (width, height))).all():
            bins = [np.rint(2 * mapped[:, axis]).astype(int) for axis in range(2)]
            x, y = (np.eye(2 * side)[which][None] for side, which in zip((width, height), bins, strict=True))
            found = decode_simcc((x, y), center[None], scale[None], SimCCDecodingSettings())
            bin_size = 0.25 * 200 * scale / (width, height)  # half a bin, pixels of the image
            assert (np.abs(found[0, :, :2] - entry["points"]) <= bin_size + 1e-3).all()


@pytest.mark.parametrize("name", ["rtmpose_t_coco_256x192", "simcc_mobilenetv2_coco_256x192"])
def test_a_training_step(name: str) -> None:
    """Outputs, loss, the norm of every gradient and running statistics in training mode, float64."""
    wanted = TRAINING["records"][name]
    network = search_spaces.published(name).double().train()
    keys = [[key, list(value.shape)] for key, value in network.state_dict().items()]
    golden = {"keys": keys, "weight_gain": 1.0}
    weights = reference.live_head(golden) if "live_head" in wanted["weights"] else reference.weights(golden)
    network.load_state_dict(weights)
    images = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 3, 256, 192)).astype(np.float32)).double()
    keypoints = (np.random.default_rng(2).random((2, 17, 2)) * [191, 255]).astype(np.float32)
    visible = np.ones((2, 17, 1), np.float32)
    visible[0, 0] = visible[1, 16] = 0
    rtmpose = name.startswith("rtmpose")
    settings = SimCCTargetSettings() if rtmpose else SIMCC
    people = [simcc_targets(person, COCO, (256, 192), settings) for person in np.concatenate([keypoints, visible], 2)]
    parts = [torch.from_numpy(np.stack(part)).double() for part in zip(*people, strict=True)]
    outputs = network(images)
    batch = dict(zip(("simcc_x", "simcc_y", "weights"), parts, strict=True))
    loss, _ = SimCCLoss(True, 10.0 if rtmpose else 1.0, rtmpose)(outputs, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    for output, samples in zip(outputs, (wanted["simcc_x"], wanted["simcc_y"]), strict=True):
        assert all(abs(output.flatten()[place].item() - value) <= 1e-9 for place, value in samples)
    assert abs(loss.item() / wanted["loss"] - 1) <= 1e-9
    norms = {key: float(value.grad.norm()) for key, value in network.named_parameters() if value.grad is not None}
    assert list(norms) == list(wanted["gradient_l2_norm"])
    for key, norm in wanted["gradient_l2_norm"].items():
        assert abs(norms[key] - norm) <= 1e-8 * norm + 1e-12, key
    state = network.state_dict()
    for key, (mean, norm) in wanted["running_stats_mean_and_l2_norm_after_one_step"].items():
        assert abs(float(state[key].mean()) - mean) <= 1e-9 and abs(float(state[key].norm()) - norm) <= 1e-9


def test_outputs_of_the_other_kind_are_refused() -> None:
    """Each way names the key that chooses between them."""
    maps, logits = torch.zeros(1, 17, 64, 48), [torch.zeros(1, 17, 384), torch.zeros(1, 17, 512)]
    with pytest.raises(UserError, match="MODEL.TARGET_TYPE is simcc, and the network makes heatmaps"):
        one_person_vectors(maps)
    with pytest.raises(UserError, match="classifies coordinates: write MODEL.TARGET_TYPE simcc"):
        one_person(logits)
    assert one_person(maps) is maps and one_person_vectors(logits) == tuple(logits)
    with pytest.raises(UserError, match="MODEL.SIMCC_SIGMA is -1"):
        SimCCTargetSettings(sigma=-1)
    with pytest.raises(UserError, match="LOSS.SIMCC_BETA is 0"):
        SimCCLoss(beta=0)
    assert DecodingSettings().refine and not SimCCDecodingSettings().refine
