"""Evaluate a checkpoint by its dataset's official metric, or write the submission of a split whose annotations are not public.

An evaluation that was stopped goes on with the same command. With torchrun, several processes share the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..io.run_folder import WEIGHTS
from ..pipeline import inputs
from ..pipeline.evaluation import Evaluation
from ..pipeline.keys import provenance
from ..pipeline.process_group import process_group
from ..pipeline.progress import say
from ..pipeline.training import place
from ..pipeline.weights import network_of
from .command import parser, run_of, run_program

EXAMPLES = """  python valid.py --weights output/synthetic/litepose/subnets/S/retrained/weights.pt
  python valid.py --weights net.onnx DATASET.ROOT /data/crowdpose
  python valid.py --cfg experiments/coco/hrnet_w32_256x192.yaml --weights pose_hrnet_w32_256x192.pth
  torchrun --nproc_per_node 4 valid.py --weights output/synthetic/litepose/subnets/S/retrained/weights.pt"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    superconfig = "architecture of weights that do not say it: a JSON file or a published name"
    command = parser(__doc__, EXAMPLES, superconfig=superconfig, weights="what to evaluate")
    options = command.parse_args(arguments)
    run = run_of(options)
    network, arch = network_of(run, options.superconfig)
    path = Path(run.cfg.TEST.MODEL_FILE)
    split = run.cfg.DATASET.TEST
    kind = run.data.kind
    report = run.paths.detections(report_name(path), split, kind.submission_suffix)
    with process_group() as processes, processes.locked(report):
        place(network, run)
        dataset = processes.first(lambda: run.test)
        evaluator = None if run.data.withheld else run.evaluator(dataset)
        batch = run.cfg.TEST.IMAGES_PER_GPU  # of another size, a batch of that number is other images
        settings = {**provenance(inputs.evaluation(run, arch, path)), "images of a batch": batch}
        evaluation = Evaluation(report, settings, processes)
        results = evaluation.run(
            run.task,
            network,
            dataset,
            arch.input_hw,
            batch=batch,
            title=f"{'evaluating' if evaluator else 'predicting'} on {split}",
        )
        if processes.rank > 0:
            return
        kind.write_submission(report, results)
        if evaluator is None:
            say(f"{split} has no public annotations: no score is computed")
        else:
            say("  ".join(f"{name} {value:.4f}" for name, value in evaluator.evaluate(results).items()))
        say(f"detections: {report}")
        evaluation.close()


def report_name(weights: Path) -> str:
    """What the detections of a file of weights are called: S-retrained of ``subnets/S/retrained/weights.pt``."""
    if weights.name != WEIGHTS:
        return weights.stem
    folder = weights.resolve().parent
    return f"{folder.parent.name}-{folder.name}" if folder.name in ("retrained", "scratch") else folder.name


def program() -> None:
    """``python valid.py``."""
    run_program(main)
