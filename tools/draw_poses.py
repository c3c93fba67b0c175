"""Draw the predictions of a network on images of its test split, below the annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from supernet.cli.command import parser, run_of, run_program
from supernet.pipeline.training import place
from supernet.pipeline.weights import network_of
from supernet.pose.bottom_up.inference import predict
from supernet.pose.datasets.images import read_image
from supernet.pose.visualisation import contact_sheet, draw_poses, save_image

EXAMPLES = """  python tools/draw_poses.py --cfg experiments/synthetic/litepose.yaml --out poses.png \\
      --superconfig output/synthetic/litepose/subnets/S/arch.json \\
      TEST.MODEL_FILE output/synthetic/litepose/subnets/S/retrained/weights.pt"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, predict, draw, print the file."""
    command = parser(__doc__, EXAMPLES, superconfig="the checkpoint's architecture: a JSON file or a published name")
    command.add_argument("--out", type=Path, default=Path("poses.png"), metavar="FILE", help="the sheet (poses.png)")
    command.add_argument("--images", type=int, default=8, help="how many to show")
    command.add_argument(
        "--score", type=float, default=0.3, help="draw people with at least this mean confidence value"
    )
    command.add_argument("--cell", type=int, default=256, help="side of an image in the sheet, pixels")
    options = command.parse_args(arguments)
    run = run_of(options)
    network, arch = network_of(run, options.superconfig)
    place(network, run).eval()

    wanted = run.test.annotated()[: options.images]
    images = [read_image(image.path) for image in wanted]
    settings = replace(run.task.inference, input_size=arch.input_hw[0])
    with torch.inference_mode():
        found = predict(network, images, settings, device=run.device, channels_last=run.cfg.CHANNELS_LAST)
    labelled = [
        draw_poses(image, np.stack([person.keypoints_K3 for person in entry.people]), run.skeleton)
        for image, entry in zip(images, wanted, strict=True)
    ]
    drawn = [
        draw_poses(image, people.keypoints[people.scores >= options.score], run.skeleton)
        for image, people in zip(images, found, strict=True)
    ]
    save_image(options.out, contact_sheet(labelled + drawn, columns=len(images), cell=options.cell))
    print(options.out)


if __name__ == "__main__":
    run_program(main)
