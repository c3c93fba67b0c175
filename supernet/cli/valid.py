"""Evaluate a checkpoint by its dataset's official metric, or write the submission of a split whose annotations are not public.

An evaluation that was stopped goes on with the same command. With torchrun, several processes share the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..io.files import sha256
from ..pipeline.evaluation import Evaluation
from ..pipeline.fit import WEIGHTS
from ..pipeline.process_group import process_group
from ..pipeline.progress import say
from ..pipeline.run import Run
from ..pipeline.training import place
from ..pipeline.weights import network_of
from ..pose.keypoints import MPII
from ..pose.metrics.submissions import write_coco, write_mpii
from .command import config_of, parser, run_program

EXAMPLES = """  python valid.py --cfg experiments/synthetic/litepose.yaml \\
      --superconfig output/synthetic/litepose/subnets/S/arch.json \\
      TEST.MODEL_FILE output/synthetic/litepose/subnets/S/weights.pt
  python valid.py --cfg experiments/synthetic/litepose.yaml TEST.MODEL_FILE exported.onnx
  torchrun --nproc_per_node 4 valid.py --cfg …"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    command = parser(__doc__, EXAMPLES, superconfig="the checkpoint's architecture: a JSON file or a published name")
    options = command.parse_args(arguments)
    run = Run(config_of(options), options.cfg)
    network, arch = network_of(run, options.superconfig)
    path = Path(run.cfg.TEST.MODEL_FILE)
    split = run.cfg.DATASET.TEST
    suffix = "-pred.mat" if run.skeleton is MPII else ".json"
    name = path.parent.name if path.name == WEIGHTS else path.stem
    report = run.folder / "results" / f"{name}-{split}{suffix}"
    with process_group() as processes:
        place(network, run)
        dataset = processes.first(lambda: run.test)
        evaluator = None if run.data.hidden else run.evaluator(dataset)
        evaluation = Evaluation(report, _settings(run, arch, path), processes)
        results = evaluation.run(
            run.task,
            network,
            dataset,
            arch.input_hw,
            batch=run.cfg.TEST.IMAGES_PER_GPU,
            title=f"{'evaluating' if evaluator else 'predicting'} on {split}",
        )
        if processes.rank > 0:
            return
        if run.skeleton is MPII:
            write_mpii(report, np.array([result["keypoints"] for result in results], np.float32).reshape(-1, 16, 3))
        else:
            results = [result | {"category_id": run.data.category_id} for result in results]
            write_coco(report, results)
        if evaluator is None:
            say(f"{split} has no public annotations: no score is computed")
        else:
            say("  ".join(f"{name} {value:.4f}" for name, value in evaluator.evaluate(results).items()))
        say(f"detections: {report}")
        evaluation.close()


def _settings(run: Run, arch: Any, weights: Path) -> dict[str, Any]:
    """Everything that what is found depends on."""
    settings = run.settings("DATASET", "MODEL", "TEST", "CHANNELS_LAST")
    del settings["TEST.MODEL_FILE"]
    boxes = run.cfg.TEST.COCO_BBOX_FILE and not run.cfg.TEST.USE_GT_BBOX and run.data.approach == "top-down"
    return settings | {
        "arch": run.family.to_json(arch),
        "device": run.device.type,
        "weights": sha256(weights),
        "boxes": sha256(run.data.boxes) if boxes else "",
    }


def program() -> None:
    """``python valid.py``."""
    run_program(main)
