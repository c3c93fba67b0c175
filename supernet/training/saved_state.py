"""Check a saved state of a training, field by field, before any of it is restored: a wrong one changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError

FIELDS = ("done", "model", "optimizer", "average", "scaler")


def check_state(
    state: Any,
    weights: Mapping[str, Tensor],
    average: Mapping[str, Tensor] | None,
    optimizer: torch.optim.Optimizer,
    scaler: Mapping[str, Any],
) -> None:
    """Check what :meth:`.trainer.Trainer.state_dict` made against the training that it is for.

    Args:
        state: what was saved.
        weights: of the model.
        average: the running average of them, None without one.
        optimizer: on the model's parameters.
        scaler: the state of the loss scale.

    Raises:
        UserError: a field is missing, or is not what the training has there; the line names it.
    """
    if not isinstance(state, Mapping) or any(name not in state for name in FIELDS):
        raise UserError(f"it has not all of {', '.join(FIELDS)}")
    if type(state["done"]) is not int or state["done"] < 0:
        raise UserError(f"'done' is {state['done']!r}, no number of steps")
    _check_tensors("model", state["model"], weights)
    if average is not None:
        _check_tensors("average", state["average"], average)
    _check_optimizer(state["optimizer"], optimizer)
    found = state["scaler"]
    if not isinstance(found, Mapping) or not all(_number(value) for value in found.values()):
        raise UserError("'scaler' is no state of a loss scale")
    if found and set(found) != set(scaler):
        raise UserError(f"'scaler' has not the fields {', '.join(scaler) or 'of this training, which has none'}")


def _check_tensors(field: str, found: Any, wanted: Mapping[str, Tensor]) -> None:
    """The same names, shapes and types."""
    if not isinstance(found, Mapping):
        raise UserError(f"'{field}' is no state dict")
    for name, tensor in wanted.items():
        other = found.get(name)
        if not isinstance(other, Tensor) or other.shape != tensor.shape or other.dtype != tensor.dtype:
            shape = f"{tuple(other.shape)} {other.dtype}" if isinstance(other, Tensor) else "no tensor"
            raise UserError(f"'{field}' has {shape} as {name}, this network {tuple(tensor.shape)} {tensor.dtype}")
    if extra := found.keys() - wanted.keys():
        raise UserError(f"'{field}' has {min(map(str, extra))}, which this network lacks")


def _check_optimizer(found: Any, optimizer: torch.optim.Optimizer) -> None:
    own = optimizer.state_dict()
    groups = found.get("param_groups") if isinstance(found, Mapping) else None
    if not isinstance(groups, list) or not isinstance(found.get("state"), Mapping):
        raise UserError("'optimizer' is no state of an optimiser")
    if len(groups) != len(own["param_groups"]):
        raise UserError(f"'optimizer' has {len(groups)} groups, this one {len(own['param_groups'])}")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for group, wanted in zip(groups, own["param_groups"], strict=True):
        if not isinstance(group, Mapping) or group.get("params") != wanted["params"]:
            raise UserError("'optimizer' is of other parameters")
        for name, value in wanted.items():
            if name not in group or not _alike(group[name], value):
                raise UserError(f"'optimizer' has {name} {group.get(name)!r}, this one {value!r}")
    for number, values in found["state"].items():
        if type(number) is not int or not 0 <= number < len(parameters) or not isinstance(values, Mapping):
            raise UserError("'optimizer' is of other parameters")
        for name, value in values.items():
            fits = isinstance(value, Tensor) and value.shape in (parameters[number].shape, torch.Size([]))
            if not isinstance(name, str) or not (fits or value is None or _number(value)):
                raise UserError(f"'optimizer' has a wrong {name} of parameter {number}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float)


def _alike(found: Any, wanted: Any) -> bool:
    """Whether two values are of one kind; what numbers they are the step itself sets, or provenance has compared."""
    if isinstance(wanted, list | tuple):
        return (
            isinstance(found, list | tuple)
            and len(found) == len(wanted)
            and all(_alike(a, b) for a, b in zip(found, wanted, strict=True))
        )
    if isinstance(wanted, bool) or wanted is None:  # of a fused optimiser on a GPU it is another one than on a CPU
        return isinstance(found, bool) or found is None
    return _number(found) and not isinstance(found, bool) if _number(wanted) else type(found) is type(wanted)
