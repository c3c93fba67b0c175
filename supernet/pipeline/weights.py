"""Open the network of TEST.MODEL_FILE: weights that describe themselves, weights with a superconfig, or an ONNX file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ..deploy.onnx_file import SUFFIX, OnnxNetwork
from ..errors import UserError
from ..io import checkpoint
from .description import Description
from .models import superconfig_of
from .run import Run

DESCRIPTION = "pose_supernet"  # the key of an ONNX file's metadata


def description_of(path: Path) -> Description | None:
    """What a file says about itself; None where it says nothing.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    if path.suffix == SUFFIX:
        facts = OnnxNetwork(path).facts
        if DESCRIPTION not in facts:
            return None
        try:
            value = json.loads(facts[DESCRIPTION])
        except (ValueError, RecursionError):
            value = None
        return Description.read(value if isinstance(value, dict) else {"": ""}, path)
    content = checkpoint.read(path)
    value = content.get("network") if isinstance(content, dict) else None
    return Description.read(value, path) if isinstance(value, dict) else None


def run_of_weights(path: Path, overrides: Sequence[str] = ()) -> Run:
    """The run of a file of weights that describes itself, with ``KEY VALUE`` pairs on top.

    Raises:
        UserError: it does not describe itself.
    """
    found = description_of(path)
    if found is None:
        raise UserError(
            f"{path}: does not say which network it holds; give --cfg, and --superconfig for its architecture"
        )
    return found.as_run(path, overrides)


def network_of(run: Run, given: str | None = None) -> tuple[nn.Module, Any]:
    """The network of TEST.MODEL_FILE in evaluation mode, and its architecture.

    Args:
        run: the run.
        given: the superconfig of the command line; weights that describe themselves need none.

    Raises:
        UserError: there is no such file, nothing says its architecture, or the file holds another network than the run's.
    """
    if not run.cfg.TEST.MODEL_FILE:
        raise UserError("TEST.MODEL_FILE is empty; set it to the network's weights")
    path = Path(run.cfg.TEST.MODEL_FILE)
    superconfig, found = superconfig_of(run.cfg, given), description_of(path)
    if found is not None:
        _check(run, found, path)
    elif path.suffix == SUFFIX:
        raise UserError(f"{path}: does not say its architecture; write it with tools/export.py")
    elif superconfig is None:
        raise UserError(f"--superconfig is needed: the architecture of {path}")
    arch = run.architecture(superconfig) if superconfig is not None else None
    if found is not None:
        own = run.family.from_json(found.arch)
        if given is not None and arch != own:
            raise UserError(f"{path}: is of another architecture than --superconfig {given}; leave --superconfig out")
        arch = own
    if path.suffix == SUFFIX:
        return _exported(run, path), arch
    network = run.build(arch)
    checkpoint.load_checkpoint(network, path)
    return network.eval(), arch


def _check(run: Run, found: Description, path: Path) -> None:
    """Refuse weights of another family or for other keypoints than the run's."""
    if found.family != run.family_name:
        raise UserError(
            f"{path}: is of the family {found.family}, SPACE.FAMILY is {run.family_name}; leave --cfg out, or set SPACE.FAMILY"
        )
    joints = list(found.keypoints["joints"])
    if joints != list(run.skeleton.joints):
        raise UserError(
            f"{path}: is for {len(joints)} joints, {found.keypoints['name']}'s; DATASET.DATASET {run.cfg.DATASET.DATASET} has "
            f"{run.skeleton.num_joints}, {run.skeleton.name}'s; leave --cfg out, or set DATASET.DATASET"
        )


def _exported(run: Run, path: Path) -> nn.Module:
    network = OnnxNetwork(path, device=run.device.type)
    if network.facts.get("decoded") == "true":
        raise UserError(f"{path}: answers with joints, and maps are needed here; export it without --decode")
    return network.eval()
