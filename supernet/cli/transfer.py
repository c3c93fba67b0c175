"""Cut one architecture out of a trained supernet, certify that it computes the same, and calibrate it.

With torchrun, several processes share the calibration images.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..cost.macs import count
from ..errors import UserError
from ..io import checkpoint
from ..io.files import sha256, write_atomically
from ..pipeline.fit import WEIGHTS
from ..pipeline.process_group import SINGLE_PROCESS, ProcessGroup, process_group
from ..pipeline.progress import say
from ..pipeline.run import Run
from ..pipeline.training import place
from ..sharing.calibration import calibrate
from ..sharing.supernet import Supernet
from .command import config_of, parser, run_program
from .train import backend_of, load_supernet

EXAMPLES = """  python weight_transfer.py --cfg experiments/crowd_pose/litepose.yaml --superconfig litepose-XS \\
      TEST.MODEL_FILE output/crowd_pose/litepose/supernet/weights.pt
  torchrun --nproc_per_node 4 weight_transfer.py --cfg …"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    command = parser(__doc__, EXAMPLES, superconfig="architecture to cut out: a JSON file or a published name")
    options = command.parse_args(arguments)
    if options.superconfig is None:
        command.error("--superconfig is needed: which architecture to cut out")
    run = Run(config_of(options), options.cfg)
    source = supernet_file(run)
    arch = run.architecture(options.superconfig)
    supernet = load_supernet(run, source)
    network, certificate = cut(run, supernet, arch)
    path = Path(options.superconfig)
    name = path.resolve().parent.name if path.name == "arch.json" else path.stem
    folder = run.folder / "subnets" / name
    with process_group(backend_of(run)) as processes:
        finish(run, folder, arch, network, certificate, source, processes)
    say(
        f"{folder / 'weights.pt'}: {certificate['macs'] / 1e6:,.1f} MMACs, {certificate['params']:,} parameters, "
        f"difference to the supernet {certificate['difference']}, calibrated on {certificate['calibration_images']} images\n"
        f"next: python train.py --cfg {options.cfg} --superconfig {folder / 'arch.json'} MODEL.PRETRAINED {folder / 'weights.pt'}"
    )


def supernet_file(run: Run) -> Path:
    """TEST.MODEL_FILE, or else the supernet of the run folder."""
    path = Path(run.cfg.TEST.MODEL_FILE or run.folder / "supernet" / WEIGHTS)
    if not path.is_file():
        raise UserError(f"{path}: no such supernet checkpoint; train it with train.py, or set TEST.MODEL_FILE")
    return path


def cut(run: Run, supernet: Supernet[Any], arch: Any) -> tuple[nn.Module, dict[str, Any]]:
    """The extracted network, not yet calibrated, and its certificate.

    Raises:
        UserError: when the extracted network does not compute exactly what the supernet computes.
    """
    network = supernet.extract(arch)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, *arch.input_hw, generator=generator)
    with torch.inference_mode():
        difference = max(
            float((shared - own).abs().max())
            for shared, own in zip(supernet(images, arch), network(images), strict=True)
        )
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


def finish(
    run: Run,
    folder: Path,
    arch: Any,
    network: nn.Module,
    certificate: dict[str, Any],
    source: Path,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> None:
    """Calibrate, complete the certificate, and write ``arch.json``, ``weights.pt`` and ``certificate.json``."""
    certificate |= {
        "calibration_images": calibrated(run, network, arch, processes),
        "source": str(source),
        "source_sha256": sha256(source),
    }
    if processes.rank > 0:
        return
    described = run.family.to_json(arch)
    write_atomically(folder / "arch.json", json.dumps(described) + "\n")
    weights = checkpoint.packed(network.state_dict())
    checkpoint.save(folder / "weights.pt", {"state_dict": weights, "arch": described})
    write_atomically(folder / "certificate.json", json.dumps(certificate, indent=2) + "\n")


def program() -> None:
    """``python weight_transfer.py``."""
    run_program(main)
