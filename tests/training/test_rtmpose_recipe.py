"""RTMPose's optimisation against mmpose's numbers: parameter groups, learning rate, averaged weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import search_spaces
from supernet.training.averaging import averaging_decay
from supernet.training.schedule import flat_cosine
from supernet.training.trainer import Trainer
from supernet.training.weight_decay import decay_groups
from tests import reference

CODEC: dict[str, Any] = reference.load_json("rtmpose/facts/codec_golden")
GROUPS: dict[str, Any] = reference.load_json("rtmpose/facts/training_golden")[
    "optimizer_groups_by_original_constructor"
]


def test_parameter_groups() -> None:
    """Biases and BatchNorm's parameters do not decay; scale norm's, the attention's and the residual's factors do."""
    network = search_spaces.published("rtmpose_m_coco_256x192")
    names = {parameter: name for name, parameter in network.named_parameters()}
    for group in decay_groups(network, 0.05):
        wanted, found = GROUPS["m"][str(group["weight_decay"])], [names[value] for value in group["params"]]
        assert len(found) == wanted["count"]
        assert {name for name in found if name.startswith("head.")} == set(wanted["head"])
        kinds = {".".join(name.rsplit(".", 2)[-2:]) for name in found if name.startswith("backbone.")}
        assert kinds == set(wanted["backbone_kinds"])


def test_learning_rate() -> None:
    """Flat after the warm-up, half a cosine over the second half."""
    steps = 74 * 420
    curve = flat_cosine(4e-3, warmup=999 / steps)
    for step, wanted in CODEC["schedule"]["lr_at"]:
        assert curve(step / steps) == pytest.approx(wanted, rel=1e-9)


def test_averaged_weights() -> None:
    """Decay of mmpose, and what the trainer makes of it: the first step copies, buffers are averaged as well."""
    for done, momentum in CODEC["ema"]["momentum_at"]:
        assert 1 - averaging_decay(1 - 2e-4, done, 2000) == pytest.approx(1.0 if done == 0 else momentum, rel=1e-9)
    model = nn.BatchNorm1d(2)
    trainer: Any = Trainer(
        lambda images, _: model(images),
        model,
        None,  # type: ignore[arg-type]
        torch.optim.SGD(model.parameters(), lr=1.0),
        lambda batch: batch,
        ema=1 - 2e-4,
        ema_gamma=2000,
    )
    for done, (value, wanted) in enumerate([(3.0, 3.0), (5.0, 3.0 + 2 * CODEC["ema"]["momentum_at"][1][1])]):
        with torch.no_grad():
            model.running_mean.fill_(value)  # type: ignore[union-attr]
            model.weight.fill_(value)
        trainer.done = done
        trainer._update_average()
        for name in ("weight", "running_mean"):
            assert trainer.average[name][0].item() == pytest.approx(wanted, rel=1e-6)
