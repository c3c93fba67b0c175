"""Cut one architecture out of a trained supernet, certify that it computes the same, and calibrate it.

With torchrun, several processes share the calibration images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..io.run_folder import ARCHITECTURE
from ..pipeline.extraction import extract, write_subnet
from ..pipeline.process_group import process_group
from ..pipeline.progress import say
from ..pipeline.run import Run
from ..pipeline.train import backend_of, load_supernet
from .command import next_command, parser, run_of, run_program

EXAMPLES = """  python weight_transfer.py --cfg experiments/crowd_pose/litepose.yaml --superconfig litepose-XS \\
      TEST.MODEL_FILE output/crowd_pose/litepose/supernet/weights.pt
  torchrun --nproc_per_node 4 weight_transfer.py --cfg …"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    command = parser(__doc__, EXAMPLES, superconfig="architecture to cut out: a JSON file or a published name")
    options = command.parse_args(arguments)
    if options.superconfig is None:
        command.error("--superconfig is needed: which architecture to cut out")
    run = run_of(options)
    source = supernet_file(run)
    arch = run.architecture(options.superconfig)
    supernet = load_supernet(run, source)
    network, certificate = extract(supernet, arch)
    path = Path(options.superconfig)
    folder = run.paths.subnet(path.resolve().parent.name if path.name == ARCHITECTURE else path.stem)
    with process_group(backend_of(run)) as processes, processes.locked(folder.path):
        write_subnet(run, folder, arch, network, certificate, source, processes)
    following = next_command(
        run, "train", "--superconfig", folder.architecture, MODEL__PRETRAINED=folder.weights, TEST__MODEL_FILE=""
    )
    say(
        f"{folder.weights}: {certificate['macs'] / 1e6:,.1f} MMACs, {certificate['params']:,} parameters, "
        f"difference to the supernet {certificate['difference']}, calibrated on {certificate['calibration_images']} images\n"
        f"next: {following}"
    )


def supernet_file(run: Run) -> Path:
    """TEST.MODEL_FILE, or else the supernet of the run folder."""
    path = Path(run.cfg.TEST.MODEL_FILE or run.paths.supernet_weights)
    if not path.is_file():
        raise UserError(f"{path}: no such supernet checkpoint; train it with train.py, or set TEST.MODEL_FILE")
    return path


def program() -> None:
    """``python weight_transfer.py``."""
    run_program(main)
