"""Judge a checkpoint by its dataset's official metric."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .. import checkpoint
from ..errors import UserError
from ..files import write_atomically
from .command import config_of, parser, run
from .progress import Progress, say
from .setting import Setting
from .train import place

EXAMPLES = """  python valid.py --cfg experiments/synthetic/litepose.yaml \\
      --superconfig output/synthetic/litepose/subnets/S/arch.json \\
      TEST.MODEL_FILE output/synthetic/litepose/subnets/S/weights.pt"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    command = parser(__doc__, EXAMPLES, superconfig="the checkpoint's architecture: a JSON file or a published name")
    options = command.parse_args(arguments)
    if options.superconfig is None:
        command.error("--superconfig is needed: the architecture of the checkpoint")
    setting = Setting(config_of(options), options.cfg)
    if not setting.cfg.TEST.MODEL_FILE:
        raise UserError("TEST.MODEL_FILE is empty; set it to the checkpoint to judge")
    path, arch = Path(setting.cfg.TEST.MODEL_FILE), setting.architecture(options.superconfig)
    network = setting.build(arch)
    checkpoint.load_checkpoint(network, path)
    place(network, setting)
    dataset = setting.test
    with Progress(f"judging on {setting.cfg.DATASET.TEST}", len(dataset)) as progress:
        metrics, results = setting.task.evaluate(
            network,
            dataset,
            setting.judge(dataset),
            arch.input_hw[0],
            batch=setting.cfg.TEST.IMAGES_PER_GPU,
            on_progress=progress.to,
        )
    report = setting.folder / "results" / f"{path.parent.name}-{setting.cfg.DATASET.TEST}.json"
    write_atomically(report, json.dumps(results) + "\n")
    say("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    say(f"detections: {report}")


def program() -> None:
    """``python valid.py``."""
    run(main)
