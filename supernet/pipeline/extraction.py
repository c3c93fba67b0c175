"""Extract one architecture from a trained supernet, certify that it computes the same, and calibrate it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..cost.macs import count
from ..errors import UserError
from ..io import checkpoint
from ..io.files import sha256, write_atomically
from ..io.run_folder import SubnetFolder
from ..sharing.calibration import calibrate
from ..sharing.supernet import Supernet
from .description import described
from .process_group import SINGLE_PROCESS, ProcessGroup
from .run import Run
from .training import place


def extract(supernet: Supernet[Any], arch: Any) -> tuple[nn.Module, dict[str, Any]]:
    """The extracted network, not yet calibrated, and its certificate.

    Raises:
        UserError: when the extracted network does not compute exactly what the supernet computes.
    """
    network = supernet.extract(arch)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, *arch.input_hw, generator=generator)
    with torch.inference_mode():
        pairs = zip(supernet(images, arch), network(images), strict=True)
        difference = max(float((shared - own).abs().max()) for shared, own in pairs)
    if difference != 0.0:
        raise UserError(f"the extracted network differs from the supernet by {difference}; report this with your --cfg")
    cost = count(network, tuple(images.shape))
    return network, {"difference": difference, "input": list(images.shape), "macs": cost.macs, "params": cost.params}


def calibrated(run: Run, network: nn.Module, arch: Any, processes: ProcessGroup = SINGLE_PROCESS) -> int:
    """Calibrate a network in place on DATASET.CALIBRATION_IMAGES training images; returns how many were used."""
    place(network, run)
    images, batch = processes.first(lambda: run.calibration), run.cfg.TRAIN.IMAGES_PER_GPU
    mine = images[processes.part(len(images), batch)]
    return calibrate(network, run.task.calibration_batches(mine, arch.input_hw, batch))


def write_subnet(
    run: Run,
    folder: SubnetFolder,
    arch: Any,
    network: nn.Module,
    certificate: dict[str, Any],
    source: Path,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> None:
    """Calibrate, complete the certificate, and write ``arch.json``, ``weights.pt`` and ``certificate.json``.

    Args:
        run: the run.
        folder: of the subnet.
        arch: the architecture.
        network: extracted, changed in place.
        certificate: of :func:`extract`, completed here.
        source: the file of the supernet.
        processes: that share the images.
    """
    certificate |= {
        "calibration_images": calibrated(run, network, arch, processes),
        "source": str(source),
        "source_sha256": sha256(source),
        "config": str(run.source),
    }
    if processes.rank > 0:
        return
    write_atomically(folder.architecture, json.dumps(run.family.to_json(arch)) + "\n")
    content = {"state_dict": checkpoint.packed(network.state_dict()), "arch": run.family.to_json(arch)}
    checkpoint.save(folder.weights, content | {"network": described(run, arch)})
    write_atomically(folder.certificate, json.dumps(certificate, indent=2) + "\n")
