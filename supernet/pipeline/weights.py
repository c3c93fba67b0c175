"""The network that TEST.MODEL_FILE holds: weights of an architecture, or a file that tools/export.py wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from search_spaces import FAMILIES

from ..deploy.onnx_file import SUFFIX, OnnxNetwork
from ..errors import UserError
from ..io import checkpoint
from .models import superconfig_of
from .run import Run


def network_of(run: Run, given: str | None) -> tuple[nn.Module, Any]:
    """The network of TEST.MODEL_FILE in evaluation mode, and its architecture.

    Args:
        run: the run.
        given: the superconfig of the command line. An exported file says its architecture itself.

    Raises:
        UserError: there is no such file, no superconfig, or the file holds another network.
    """
    if not run.cfg.TEST.MODEL_FILE:
        raise UserError("TEST.MODEL_FILE is empty; set it to the network's weights")
    path, superconfig = Path(run.cfg.TEST.MODEL_FILE), superconfig_of(run.cfg, given)
    if path.suffix == SUFFIX:
        return _exported(run, path, given)
    if superconfig is None:
        raise UserError(f"--superconfig is needed: the architecture of {path}")
    arch = run.architecture(superconfig)
    network = run.build(arch)
    checkpoint.load_checkpoint(network, path)
    return network.eval(), arch


def family_name_of(run: Run) -> str:
    """What the run's family is called."""
    return next(name for name, family in FAMILIES.items() if family is run.family)


def _exported(run: Run, path: Path, given: str | None) -> tuple[nn.Module, Any]:
    network = OnnxNetwork(path, device=run.device.type)
    facts, family, joints = network.facts, family_name_of(run), run.skeleton.num_joints
    if not {"family", "arch", "joints", "decoded"} <= facts.keys():
        raise UserError(f"{path}: does not say its architecture; write it with tools/export.py")
    if facts["family"] != family:
        raise UserError(f"{path}: is of the family {facts['family']}, SPACE.FAMILY is {family}; set SPACE.FAMILY")
    if facts["joints"] != str(joints):
        raise UserError(
            f"{path}: is for {facts['joints']} joints, DATASET.DATASET {run.cfg.DATASET.DATASET} has {joints}"
        )
    if facts["decoded"] == "true":
        raise UserError(f"{path}: answers with joints, and maps are needed here; export it without --decode")
    arch = run.family.from_json(json.loads(facts["arch"]))
    if given is not None and run.architecture(given) != arch:
        raise UserError(f"{path}: is of another architecture than --superconfig {given}; leave --superconfig out")
    return network.eval(), arch
