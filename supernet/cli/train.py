"""Train the supernet stage by stage, or with --superconfig one architecture of the space.

A training that was stopped goes on with the same command. With torchrun, several processes share every step.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..io.run_folder import ARCHITECTURE
from ..pipeline.check import check_data, check_test_data
from ..pipeline.inputs import digest, network_training
from ..pipeline.models import MODEL, superconfig_of
from ..pipeline.process_group import ProcessGroup, process_group
from ..pipeline.progress import say
from ..pipeline.run import Run
from ..pipeline.train import backend_of, train_network, train_supernet
from .command import next_command, parser, run_of, run_program

EXAMPLES = """  python train.py --cfg experiments/synthetic/litepose.yaml
  python train.py --cfg experiments/coco/litepose_XS_photos.yaml --superconfig litepose-XS DATASET.ROOT /data/coco
  torchrun --nproc_per_node 4 train.py --cfg …"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    help_text = "architecture to train: a JSON file or a published name; without it, the supernet is trained"
    command = parser(__doc__, EXAMPLES, superconfig=help_text, dry_run=True)
    options = command.parse_args(arguments)
    run = run_of(options)
    if options.dry_run:
        return _show_plan(run, options)
    with process_group(backend_of(run)) as processes:
        _train(run, options, processes)


def _show_plan(run: Run, options: argparse.Namespace) -> None:
    from ..pipeline.dry_run import show_run, show_training  # which times steps of the trainings here

    superconfig = superconfig_of(run.cfg, options.superconfig)
    if superconfig is None:
        return show_run(run, search=False)
    show_training(run, run.architecture(superconfig), _folder_of(run, superconfig))


def _folder_of(run: Run, superconfig: str) -> Path:
    """Where one architecture is trained; search.py and weight_transfer.py call every one's file arch.json."""
    path = Path(superconfig)
    name = path.resolve().parent.name if path.name == ARCHITECTURE else path.stem
    return run.paths.trained(name)


def _train(run: Run, options: argparse.Namespace, processes: ProcessGroup) -> None:
    superconfig = superconfig_of(run.cfg, options.superconfig)
    processes.first(lambda: check_data(run, ["train"]))  # a synthetic dataset is drawn once
    if processes.rank == 0:
        check_test_data(run)
    if superconfig is None:
        path = train_supernet(run, processes)
        say(f"supernet: {path}\nnext: {next_command(run, 'search')}")
        return
    arch = run.architecture(superconfig)
    cfg, initial = run.cfg, run.cfg.MODEL.PRETRAINED or None
    lr_steps = cfg.TRAIN.LR_STEP if superconfig == MODEL else []  # somebody else's file: its own
    step = network_training(run, arch, initial=digest(initial or ""), lr_steps=lr_steps, processes=processes.size)
    path = train_network(
        run, arch, step, _folder_of(run, superconfig), initial=initial, whole=False, processes=processes
    )
    say(f"weights: {path}\nnext: {next_command(run, 'valid', TEST__MODEL_FILE=path)}")


def program() -> None:
    """``python train.py``."""
    run_program(main)
