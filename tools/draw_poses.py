"""Draw the predictions of a network on images of its test split, below the annotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from supernet.cli.command import parser, run_of, run_program
from supernet.errors import UserError
from supernet.pipeline.training import place
from supernet.pipeline.weights import network_of
from supernet.pose.datasets.images import read_image
from supernet.pose.task import keypoints_by_image
from supernet.pose.visualisation import contact_sheet, draw_poses, save_image

EXAMPLES = """  python tools/draw_poses.py --out poses.png --weights output/synthetic/litepose/subnets/S/retrained/weights.pt
  python tools/draw_poses.py --cfg experiments/coco/hrnet_w32_256x192.yaml --weights pose_hrnet_w32_256x192.pth"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, predict, draw, print the file."""
    superconfig = "architecture of weights that do not say it: a JSON file or a published name"
    command = parser(__doc__, EXAMPLES, superconfig=superconfig, weights="of the network")
    command.add_argument("--out", type=Path, default=Path("poses.png"), metavar="FILE", help="the sheet (poses.png)")
    command.add_argument("--images", type=int, default=8, help="how many to show")
    command.add_argument("--score", type=float, default=0.3, help="draw people with at least this score")
    command.add_argument("--cell", type=int, default=256, help="side of an image in the sheet, pixels")
    options = command.parse_args(arguments)
    if options.images < 1:
        raise UserError(f"--images {options.images}: give 1 or more")
    run = run_of(options)
    network, arch = network_of(run, options.superconfig)
    place(network, run)

    annotated = [image for image in run.test.images() if len(image.keypoints_PK3)]
    shown = (annotated or list(run.test.images()))[: options.images]
    results = run.task.detect_all(network, run.test.subset(image.id for image in shown), arch.input_hw)
    found = keypoints_by_image(results, (image.id for image in shown), run.skeleton.num_joints, options.score)
    rows = [[image.keypoints_PK3 for image in shown]] if annotated else []
    rows.append([found[image.id] for image in shown])
    pixels = [read_image(image.path, image.size_wh) for image in shown]
    drawn = [draw_poses(image, people, run.skeleton) for row in rows for image, people in zip(pixels, row, strict=True)]
    save_image(options.out, contact_sheet(drawn, columns=len(shown), cell=options.cell))
    print(options.out)


if __name__ == "__main__":
    run_program(main)
