"""Saved states with a wrong field: refused by name, and nothing is restored."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from supernet.errors import UserError
from supernet.training.trainer import Trainer
from tests.tiny_training import batches, training

Change = Callable[[dict[str, Any]], Any]
CHANGES: dict[str, tuple[Change, str]] = {
    "missing": (lambda s: s.pop("done"), "has not all of done, model"),
    "negative": (lambda s: s.update(done=-1), "'done' is -1, no number of steps"),
    "true": (lambda s: s.update(done=True), "'done' is True"),
    "text": (lambda s: s.update(done="3"), "'done' is '3'"),
    "no model": (lambda s: s.update(model=[1]), "'model' is no state dict"),
    "shape": (lambda s: s["model"].update(next(iter(s["model"].items()), None) and {first(s): torch.ones(2)}), "'model' has"),
    "type": (lambda s: s["model"].update({first(s): s["model"][first(s)].half()}), "'model' has .* torch.float16 as"),
    "extra": (lambda s: s["model"].update(x=torch.ones(1)), "'model' has x, which this network lacks"),
    "no average": (lambda s: s.update(average=None), "'average' is no state dict"),
    "no optimizer": (lambda s: s.update(optimizer=None), "'optimizer' is no state of an optimiser"),
    "groups": (lambda s: s["optimizer"].update(param_groups=[]), "'optimizer' has 0 groups, this one"),
    "group": (lambda s: s["optimizer"].update(param_groups=["x"]), "'optimizer' is of other parameters"),
    "rate": (lambda s: s["optimizer"]["param_groups"][0].update(lr="x"), "'optimizer' has lr 'x', this one"),
    "moments": (lambda s: s["optimizer"]["state"].update({0: {"exp_avg": torch.ones(3)}}), "a wrong exp_avg of parameter 0"),
    "number": (lambda s: s["optimizer"]["state"].update({99: {}}), "'optimizer' is of other parameters"),
    "scaler": (lambda s: s.update(scaler={"scale": "x"}), "'scaler' is no state of a loss scale"),
}  # fmt: skip


def first(state: dict[str, Any]) -> str:
    return next(iter(state["model"]))


def begun() -> Trainer[Any]:
    """A training of two steps, with an average."""
    trainer, plan = training(4)
    trainer.run(plan, batches(plan.steps(0)), lambda *_: trainer.done < 2)
    return trainer


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_field_is_refused_by_its_name(name: str) -> None:
    change, message = CHANGES[name]
    state = copy.deepcopy(begun().state_dict())
    change(state)
    fresh, _ = training(4)
    before = copy.deepcopy(fresh.state_dict())
    with pytest.raises(UserError, match=message):
        fresh.load_state_dict(state)
    assert str(fresh.state_dict()) == str(before)


def test_a_right_one_is_restored() -> None:
    trainer = begun()
    fresh, _ = training(4)
    fresh.load_state_dict(copy.deepcopy(trainer.state_dict()))
    assert fresh.done == 2 and str(fresh.state_dict()) == str(trainer.state_dict())
