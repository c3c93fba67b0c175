"""Processor time of an evaluation by its parts: annotations, images, the network (untrained), the metrics. Top-down, one thread.

python tools/bench/evaluation.py --cfg experiments/lsp/hrnet.yaml [--mmacs 10] [KEY VALUE ...]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch

from supernet.config.loading import load_config
from supernet.pipeline.run import Run
from supernet.pose.datasets.images import read_image

DRAWN = 2000  # architectures, of which the one nearest to the wanted MACs is taken


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Print the processor seconds of a part."""
    started = time.process_time()
    yield
    print(f"{name:<44} {time.process_time() - started:7.2f} s")


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg", type=Path, required=True, help="a run of a top-down network")
    parser.add_argument("--mmacs", type=float, default=10.0, help="of the network, in 10^6")
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="KEY VALUE")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    run = Run(
        load_config(options.cfg, [*options.overrides, "THREADS", "1", "DEVICE", "cpu", "WORKERS", "0"]), options.cfg
    )
    with timed("annotations of the split to report"):
        test = run.test
    with timed("annotations of the training split, parts"):
        _ = run.train, run.search
    codes = np.stack([run.space.encode(run.space.sample(np.random.default_rng(seed))) for seed in range(DRAWN)])
    macs = run.costs.macs(codes)
    nearest = int(np.abs(macs - 1e6 * options.mmacs).argmin())
    arch = run.space.decode(codes[nearest])
    torch.manual_seed(0)
    network = run.build(arch).eval()
    print(
        f"network of {macs[nearest] / 1e6:.2f} MMACs, input {arch.input_hw[0]}×{arch.input_hw[1]}, {len(test)} people"
    )
    with timed("images read and decoded"):
        for person in test:
            read_image(person.path)
    with timed("images and crops"):
        for _ in run.task.calibration_batches(test, arch.input_hw, run.cfg.TEST.IMAGES_PER_GPU):
            pass
    with timed("network alone"), torch.inference_mode():
        batch = torch.zeros(run.cfg.TEST.IMAGES_PER_GPU, 3, *arch.input_hw).contiguous(
            memory_format=torch.channels_last
        )
        for _ in range(-(-len(test) // len(batch))):
            network(batch)
    with timed("evaluator prepared"):
        evaluator = run.evaluator(test)
    with timed("evaluation, everything of it"):
        metrics, results = run.task.evaluate(network, test, evaluator, arch.input_hw, batch=run.cfg.TEST.IMAGES_PER_GPU)
    with timed("metrics alone"):
        evaluator.evaluate(results)
    print("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


if __name__ == "__main__":
    main()
